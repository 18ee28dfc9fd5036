"""A measuring process may do anything; what comes back is figures or a failure that says where and why."""

import base64
import json
import os
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.run.figures import Failed, Measured, Measurement
from advisor.run.measure import error_in, measure, measured_from, without_secrets

RUN = {
    "seconds": 2.0, "ttft_seconds": 0.1, "decode_tokens_per_second": 60.0, "total_tokens_per_second": 50.0,
    "neighbour_cores": 0.0, "disturbed": False,
}  # fmt: skip
RESIDENT = {"peak_bytes": 300, "anonymous_bytes": 200, "file_bytes": 100, "cuda": None}
ANSWER: dict[str, Any] = {
    "load": {"seconds": 1.5, "peak_is_of_load": True, **RESIDENT},
    "warmup_seconds": 3.0,
    "runs": [RUN, RUN],
    "memory": {**RESIDENT, "peak_bytes": 400},
    "tokens": [[1, 2], [3, 4]],
    "logits": {
        "prompts": [0, 1],
        "vocabulary": 2,
        "float32": base64.b64encode(array("f", [1, 2, 3, 4]).tobytes()).decode(),
    },
    "versions": {"torch": "2.13.0"},
    "device": "cpu",
    "threads": 2,
}
SAY = "import json, os, signal, sys, time\nprint(json.dumps({'stage': 'load'}), flush=True)\n"


def done_by(tmp_path: Path, program: str, limit_seconds: float = 20.0, heard: Any = lambda _: None) -> Measurement:
    """What `measure` makes of a child that runs `program`."""
    worker = tmp_path / "child.py"
    worker.write_text(SAY + program)
    return measure(sys.executable, "", True, 1.0, limit_seconds, heard=heard, worker=worker)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL, as the kernel does when memory runs out"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV, a crash in compiled code"),
        ("sys.exit(3)", "exit code 3"),
        ("raise RuntimeError('no room\\nsecond line')", "RuntimeError: no room"),
        ("print('RuntimeError: printed only', file=sys.stderr); raise KeyError('x')", "KeyError: 'x'"),
        ("os._exit(0)", "exit code 0"),
        ("open(sys.argv[2], 'w').write('{half')", "no JSON"),
        ("open(sys.argv[2], 'w').write('{}')", "cannot be read (KeyError"),
        ("open(sys.argv[2], 'w').write('[]')", "no JSON object"),
        ("open(sys.argv[2], 'wb').write(bytes(range(256)))", "no JSON"),
    ],
)
def test_every_end_has_its_reason(tmp_path: Path, program: str, reason: str) -> None:
    failed = done_by(tmp_path, program)
    assert isinstance(failed, Failed)
    assert reason in failed.reason
    assert failed.stage == "load"


def test_a_child_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    program = (
        "import subprocess\n"
        f"started = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(mark)!r}, 'w').write(str(started.pid))\ntime.sleep(60)"
    )
    failed = done_by(tmp_path, program, limit_seconds=3.0)
    assert isinstance(failed, Failed)
    assert failed.reason == "no answer within 3 s"
    assert ends_soon(int(mark.read_text()))


def ends_soon(process: int) -> bool:
    """Whether a process is gone within two seconds; one that nobody has waited for yet counts as gone."""
    for _ in range(40):
        try:
            if Path(f"/proc/{process}/stat").read_text().split()[2] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_noise_on_the_way_is_no_progress(tmp_path: Path) -> None:
    heard: list[str] = []
    program = (
        "print('not json'); print('[1]'); print('{\"stage\": 5}'); print('{\"other\": 1}'); "
        'print(\'{"stage": "wait"}\'); print(\'{"stage": "wait"}\'); '
        'print(\'{"stage": "run", "number": 1}\'); print(\'{"stage": "run", "number": 2}\')'
    )
    done_by(tmp_path, program, heard=heard.append)
    assert heard == ["load", "wait", "run 1", "run 2"]


def test_figures_come_back_as_values(tmp_path: Path) -> None:
    measured = done_by(tmp_path, f"open(sys.argv[2], 'w').write({json.dumps(ANSWER)!r})")
    assert isinstance(measured, Measured)
    assert measured.seconds == 2.0
    assert measured.peak_bytes == 400
    assert measured.first_seconds == (3.0,)
    assert measured.logits is not None
    assert list(measured.logits.row(1)) == [3.0, 4.0]


def test_an_interpreter_that_is_not_there_is_a_failure() -> None:
    failed = measure("/no/such/python", "", True, 1.0, 5.0)
    assert isinstance(failed, Failed)
    assert "No such file" in failed.reason


@pytest.mark.parametrize(
    "damage",
    [
        {"runs": []},
        {"runs": [{**RUN, "seconds": 0.0}]},
        {"runs": [{"seconds": 1.0}]},
        {"runs": 5},
        {"load": None},
        {"tokens": [["a"]]},
        {"logits": {"prompts": [0, 1, 2], "vocabulary": 2, "float32": "AAAA"}},
        {"logits": {"prompts": [0], "vocabulary": 2, "float32": "not base64!"}},
        {"versions": []},
    ],
)
def test_an_answer_that_is_not_as_agreed_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        measured_from({**ANSWER, **damage})


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    done_by(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert os.listdir(tmp_path / "tmp") == []


TRACE = "Traceback (most recent call last):\n  File x, line 1\n    f()\n"


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (TRACE + "torch.OutOfMemoryError: no memory. Tried\nmore\n", "torch.OutOfMemoryError: no memory. Tried"),
        (TRACE + "KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("ValueError: early\n" + TRACE + "KeyError: 'late'\n", "KeyError: 'late'"),
        (TRACE + "ValueError: first\n\nDuring handling\n\n" + TRACE + "OSError: second\nhint: x\n", "OSError: second"),
        ("Killed\n", "exit code 137"),
        ("", "exit code 137"),
    ],
)  # fmt: skip
def test_the_reason_is_the_exception_that_ended_it(log: str, found: str) -> None:
    assert error_in(log, "exit code 137") == found


def test_a_signal_is_the_reason_whatever_the_log_says() -> None:
    assert error_in(TRACE + "ValueError: x\n", "killed by SIGKILL") == "killed by SIGKILL"


@given(st.text(max_size=500))
def test_any_log_gives_a_short_reason(log: str) -> None:
    assert 0 < len(error_in(log, "exit code 1")) <= 300


def test_secrets_are_blotted_out() -> None:
    token, password = "hf_" + "a1B2" * 8, "letmein99"
    shown = without_secrets(f"401 for {token} at https://user:{password}@host/x")
    assert token not in shown and password not in shown
    assert "401 for ***" in shown and "@host/x" in shown
