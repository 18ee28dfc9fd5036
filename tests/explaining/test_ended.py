"""How a program ended, in words and as text to be read."""

import signal

import pytest

from advisor import errorbook, rulebook
from advisor.explaining import explain
from advisor.explaining.ended import ending
from advisor.passing import Ended
from advisor.probe.kills import Killed
from advisor.reading import read

GIB = 1024**3
RULES = errorbook.load(rulebook.shipped() / "errors", kept=False)
BY_KERNEL = Killed(group=1, machine=1, limit_bytes=2 * GIB)
NOT_BY_KERNEL = Killed(group=0, machine=0, limit_bytes=None)
UNREADABLE = Killed(group=None, machine=None, limit_bytes=None)


def ended(code: int, number: int | None = None, said: str = "", peak: int | None = None) -> Ended:
    return Ended(code, number, said, 1.0, peak)


def test_a_kill_by_the_kernel_is_a_shortage_of_host_memory() -> None:
    found = ending("python x.py", ended(137, 9, peak=3 * GIB), BY_KERNEL)
    diagnosis = explain(found.text, "x", None, RULES)
    assert (diagnosis.kind, diagnosis.cause) == ("killed", "host_ram")
    assert "whose limit is 2.00 GiB" in found.remarks[0]
    assert "3.00 GiB of host memory" in found.remarks[1]


def test_a_kill_inside_a_shell_shows_in_its_code() -> None:
    assert explain(ending("sh x.sh", ended(137), BY_KERNEL).text, "x", None, RULES).kind == "killed"


def test_a_kill_by_somebody_else_is_no_shortage() -> None:
    found = ending("python x.py", ended(137, 9), NOT_BY_KERNEL)
    assert not explain(found.text, "x", None, RULES).recognized
    assert "somebody else" in found.remarks[0]


def test_where_no_counter_can_be_read_that_is_said() -> None:
    found = ending("python x.py", ended(137, 9), UNREADABLE)
    assert explain(found.text, "x", None, RULES).kind == "killed"
    assert "cannot be read" in found.remarks[0]


def test_a_worker_that_the_kernel_killed_is_told_although_the_program_failed_otherwise() -> None:
    found = ending("python x.py", ended(1, None, "RuntimeError: a worker is gone"), BY_KERNEL)
    assert found.remarks[0].startswith("While it ran, the kernel's out-of-memory killer ended a process")


def test_a_bus_error_leaves_no_word_of_its_own() -> None:
    found = ending("python x.py", ended(128 + signal.SIGBUS, signal.SIGBUS), NOT_BY_KERNEL)
    assert explain(found.text, "x", None, RULES).kind == "disk_or_shm"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE])
def test_an_end_on_purpose_is_no_failure_to_explain(number: int) -> None:
    assert ending("x", ended(128 + number, number), UNREADABLE).wanted
    assert ending("x", ended(128 + number), UNREADABLE).wanted


@pytest.mark.parametrize("code", [1, 2, 163, 200, 255])
def test_other_codes_are_no_signals_that_somebody_sent(code: int) -> None:
    found = ending("x", ended(code), UNREADABLE)
    assert found.failed
    assert not found.wanted


def test_a_limit_on_addresses_is_told() -> None:
    found = ending("x", Ended(1, None, "MemoryError", 1.0, None, 2 * GIB), UNREADABLE)
    assert found.remarks == ("It was allowed 2.00 GiB of addresses (ulimit -v).",)


def test_settings_of_the_command_line_count_as_in_force() -> None:
    said = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    found = ending("python train.py --bf16 --gradient_checkpointing", ended(1, None, said), UNREADABLE)
    shown = read(found.text).facts
    assert shown.value("text.settings") == ("bf16", "gradient_checkpointing")
    assert shown.text("text.phase") is None, "the script's name is no call"
