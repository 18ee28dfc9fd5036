"""Faults of a measuring process: each ends with a verdict, nothing lives on, nothing stays on disk."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from advisor import applying, child, cli, scratch
from advisor.applying import Budget, apply
from advisor.facts import Facts, Known
from advisor.plan import Effect, Estimate, Memory, ModelReference, Plan, Speed, Step
from advisor.planfile import write
from advisor.run.measure import measure
from advisor.setup import Setup
from advisor.workload import Workload

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX systems")

UNKNOWN = Estimate(Memory(*[None] * 8), Speed(None, None, None), "formula", None, None)
NOW = Setup(device="cpu", dtype="float32", attn_implementation="sdpa", batching="padded", compile="none")
RUN = {
    "seconds": 2.0, "ttft_seconds": 0.1, "decode_tokens_per_second": 60.0, "total_tokens_per_second": 50.0,
    "neighbour_cores": 0.0, "disturbed": False,
}  # fmt: skip
RESIDENT = {"peak_bytes": 300, "anonymous_bytes": 200, "file_bytes": 100, "cuda": None}
ANSWER: dict[str, Any] = {
    "load": {"seconds": 1.5, "peak_is_of_load": True, **RESIDENT}, "warmup_seconds": 3.0, "runs": [RUN, RUN],
    "memory": RESIDENT, "tokens": [[1, 2]], "logits": None, "versions": {}, "device": "cpu", "threads": 1,
}  # fmt: skip
# Notes its own number and those of two children (one in a session of its own), then does what the case says.
WORKER = """
import ctypes, json, os, pathlib, resource, shutil, signal, subprocess, sys, time
def note(number):
    with open({notes!r}, "a") as file:
        file.write(str(number) + "\\n")
note(os.getpid())
request = json.load(open(sys.argv[1]))
print(json.dumps({{"stage": "warm-up"}}), flush=True)
if "bfloat16" in request["recipe"]:
    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    note(subprocess.Popen(sleep).pid)
    note(subprocess.Popen(sleep, start_new_session=True).pid)
    {fault}
json.dump({answer!r}, open(sys.argv[2], "w"))
"""
FAULTS = {
    "killed": ("os.kill(os.getpid(), signal.SIGTERM)", "killed by SIGTERM"),
    "killed by the kernel": ("os.kill(os.getpid(), signal.SIGKILL)", "as the kernel does when memory runs out"),
    "hung": ("time.sleep(60)", "no answer within 2 s"),
    "hung and deaf": ("[signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; time.sleep(60)", "no answer within 2 s"),
    "out of memory": ("resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2); bytearray(1 << 33)", "MemoryError"),
    "segfault": ("resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); ctypes.string_at(8)", "SIGSEGV"),
    "abort": ("resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()", "SIGABRT"),
    "disk full": (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192,) * 2); pathlib.Path(sys.argv[2]).write_text('x' * 9999)",
        "File too large",
    ),
    "folder gone": ("shutil.rmtree(pathlib.Path(sys.argv[1]).parent); sys.exit()", "temporary folder was removed"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files, empty again after each test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    assert list(folder.iterdir()) == []


def plan() -> Plan:
    change: dict[str, Any] = {"dtype": "bfloat16"}
    step = Step("fp32-weights", "2-precision", "about", change, Effect(None, None, None), "measured", (), (), 1)
    parts: dict[str, Any] = {
        "model": ModelReference("folder", "model", None, False), "model_facts": Facts(), "workload": Workload(),
        "machine": Facts({"transformers.version": Known("5.22.2", "metadata")}), "baseline": NOW,
        "baseline_sources": {}, "baseline_estimate": UNKNOWN, "setup": NOW.changed(change), "estimate": UNKNOWN,
        "steps": (step,), "notes": (), "decisions": (), "questions": (), "limits": {}, "passed_over": (),
    }  # fmt: skip
    return Plan(**parts)


def faulty(tmp_path: Path, fault: str) -> tuple[Path, Path]:
    """A measuring program that has the fault where weights are bfloat16, and the file with its processes' numbers."""
    worker, notes = tmp_path / "worker.py", tmp_path / "numbers"
    worker.write_text(WORKER.format(notes=str(notes), fault=fault, answer=ANSWER))
    return worker, notes


def alive(notes: Path, seconds: float = 3.0) -> list[int]:
    """Which of the noted processes still live after `seconds`; one that nobody has waited for yet does not."""
    numbers = [int(line) for line in notes.read_text().split()]
    assert numbers
    for _ in range(int(seconds / 0.05)):
        left = [number for number in numbers if lives(number)]
        if not left:
            break
        time.sleep(0.05)
    return left


def lives(number: int) -> bool:
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_with_a_verdict_and_no_orphan(
    name: str, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, reason = FAULTS[name]
    worker, notes = faulty(tmp_path, fault)
    monkeypatch.setattr(applying, "measure", partial(measure, worker=worker))
    applied = apply(plan(), sys.executable, budget=Budget(limit_seconds=2.0 if "hung" in name else 30.0, retries=0))
    assert applied.outcome == "no-gain"
    assert applied.setup == NOW
    assert applied.comparison.verdict.word == "fails"
    assert reason in applied.comparison.verdict.reason
    assert json.dumps(applied.to_json(), allow_nan=False)
    assert alive(notes) == []


STORY = """
import sys
from pathlib import Path
from advisor import child, cli
from advisor.commands import rule
request = {{"recipe": "bfloat16"}}
rule.run = lambda _: child.run(sys.executable, Path({worker!r}), request, 60, heard=lambda m: print(m, flush=True))
sys.exit(cli.main(["rule"]))
"""


@pytest.mark.usefixtures("signals_as_usual")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_whatever_ends_us_ends_all_that_we_started(number: signal.Signals, tmp_path: Path, place: Path) -> None:
    worker, notes = faulty(tmp_path, "time.sleep(60)")
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + STORY.format(
        worker=str(worker)
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as us:
        assert us.stdout is not None and b"warm-up" in us.stdout.readline()
        wait_for(lambda: len(notes.read_text().split()) == 3)
        us.send_signal(number)
        code = us.wait(timeout=20)
    expected = {signal.SIGINT: cli.INTERRUPTED, signal.SIGKILL: -9}
    assert code == expected.get(number, 128 + number)
    assert alive(notes) == []
    wait_for(lambda: not list(place.iterdir()))


def wait_for(condition: Any, seconds: float = 5.0) -> None:
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about in time")


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_a_guard_that_is_killed_with_us_leaves_no_child_and_the_next_start_sweeps(tmp_path: Path, place: Path) -> None:
    worker, notes = faulty(tmp_path, "time.sleep(60)")
    program = STORY.format(worker=str(worker))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as us:
        assert us.stdout is not None and us.stdout.readline()
        inner = psutil.Process(int(notes.read_text().split()[0]))
        wait_for(lambda: len(notes.read_text().split()) == 3)
        guard = inner.parent()
        assert guard is not None and guard.ppid() == us.pid
        started = inner.children()
        us.kill()
        guard.kill()
    wait_for(lambda: not lives(inner.pid))
    for one in started:  # the kernel ends the child alone; what it started is ended here
        one.kill()
    assert len(list(place.iterdir())) == 1
    scratch.sweep.cache_clear()
    with scratch.folder() as mine:
        assert list(place.iterdir()) == [mine]


def test_a_sweep_touches_nothing_that_lives_or_is_not_ours(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / scratch.ALIVE).touch()
    strangers = [place / "perf-advisor-notes", place / "perf-advisor-1-unmarked", place / "perf-advisor-2-link"]
    for stranger in strangers[:2]:
        stranger.mkdir()
    (place / "perf-advisor-notes" / scratch.ALIVE).touch()
    strangers[2].symlink_to(other)
    with scratch.folder() as mine:
        left = place / "perf-advisor-3-abandoned"
        left.mkdir()
        (left / scratch.ALIVE).touch()
        scratch.sweep.cache_clear()
        scratch.sweep(str(place))
        assert mine.exists() and not left.exists() and all(stranger.exists() for stranger in strangers)
        assert (other / scratch.ALIVE).exists()
    for stranger in strangers[:2]:
        for inner in stranger.iterdir():
            inner.unlink()
        stranger.rmdir()
    strangers[2].unlink()


@pytest.mark.parametrize("error", ["No space left on device", "No such file or directory"])
def test_without_room_for_temporary_files_there_is_a_reason(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> str:
        raise OSError(28, error)

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    found = child.run(sys.executable, Path("program.py"), {}, 5)
    assert isinstance(found, child.Died)
    assert found.reason == f"temporary files cannot be kept: {error}"


def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> Path:
    """A plan file whose bfloat16 weights have the fault."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    monkeypatch.setattr(applying, "measure", partial(measure, worker=faulty(tmp_path, fault)[0]))
    write(plan(), tmp_path / "plan.json")
    return tmp_path / "plan.json"


def test_a_plan_that_is_deleted_meanwhile_is_verified_all_the_same(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = told(tmp_path, monkeypatch, "")
    path.write_text(path.read_text())
    monkeypatch.setattr(
        applying, "measure", partial(measure, worker=faulty(tmp_path, f"pathlib.Path({str(path)!r}).unlink(True)")[0])
    )
    assert cli.main(["apply", "--plan", str(path), "--json", "--python", sys.executable]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "no-gain"
    assert not path.exists()


@pytest.mark.parametrize("option", ["--export", "--report"])
def test_a_result_that_cannot_be_written_is_refused_before_anything_runs(
    option: str, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = told(tmp_path, monkeypatch, "")
    assert cli.main(["apply", "--plan", str(path), option, str(tmp_path / "no" / "file")]) == 2
    captured = capsys.readouterr()
    assert option in captured.err and "cannot be written" in captured.err
    assert not (tmp_path / "numbers").exists()


@pytest.mark.parametrize("option", ["--export", "--report"])
def test_a_result_is_shown_before_it_is_written(
    option: str, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is there at the start and gone at the end: the figures are not lost with it."""
    path = told(tmp_path, monkeypatch, "")
    out = tmp_path / "out"
    out.mkdir()
    fault = f"pathlib.Path({str(out)!r}).exists() and pathlib.Path({str(out)!r}).rmdir()"
    monkeypatch.setattr(applying, "measure", partial(measure, worker=faulty(tmp_path, fault)[0]))
    assert cli.main(["apply", "--plan", str(path), "--json", "--python", sys.executable, option, str(out / "x")]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["outcome"] == "no-gain"
    assert "cannot be written" in captured.err
