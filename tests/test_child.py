"""Child processes end in every case, and say how."""

import json
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from advisor import child
from advisor.child import Answered, Died

ANSWER = "import json, sys; request = json.load(open(sys.argv[1]))\n"


def program(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "inside.py"
    path.write_text(ANSWER + textwrap.dedent(text))
    return path


def outcome(tmp_path: Path, text: str, limit: float = 20.0) -> child.Outcome:
    return child.run(sys.executable, program(tmp_path, text), {"number": 7}, limit)


def test_an_answer_comes_back(tmp_path: Path) -> None:
    found = outcome(tmp_path, "json.dump({'twice': request['number'] * 2}, open(sys.argv[2], 'w'))")
    assert isinstance(found, Answered)
    assert found.answer == {"twice": 14}


def test_progress_is_heard_and_noise_is_not(tmp_path: Path) -> None:
    text = """
    print("loading the model: 50 %")
    print(json.dumps({"stage": "load"}), flush=True)
    print(json.dumps(["no object"]))
    json.dump({}, open(sys.argv[2], "w"))
    """
    heard: list[object] = []
    child.run(sys.executable, program(tmp_path, text), {}, 20.0, heard=heard.append)
    assert heard == [{"stage": "load"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL, as the kernel does when memory runs out"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV, a crash in compiled code"),
        ("raise RuntimeError('CUDA out of memory')", "exit code 1: RuntimeError: CUDA out of memory"),
        ("sys.exit(3)", "exit code 3"),
        ("pass", "exit code 0"),
        ("open(sys.argv[2], 'w').write('{')", "no JSON"),
        ("open(sys.argv[2], 'w').write('[1]')", "no JSON object"),
    ],
)
def test_whatever_happens_is_told(tmp_path: Path, text: str, told: str) -> None:
    found = outcome(tmp_path, text)
    assert isinstance(found, Died)
    assert told in found.reason


def test_the_traceback_is_kept(tmp_path: Path) -> None:
    found = outcome(tmp_path, "raise ValueError('which one')")
    assert "Traceback" in found.log
    assert "which one" in found.log


def test_a_child_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    text = """
    import subprocess, time
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(json.dumps({"id": grandchild.pid}), flush=True)
    time.sleep(60)
    """
    heard: list[dict[str, int]] = []
    started = time.monotonic()
    found = child.run(sys.executable, program(tmp_path, text), {}, 2.0, heard=heard.append)
    assert isinstance(found, Died)
    assert found.reason == "no answer within 2 s"
    assert time.monotonic() - started < 10
    assert _gone(heard[0]["id"])


def _gone(process: int) -> bool:
    for _ in range(50):
        if not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def test_questions_of_a_library_get_no_answer(tmp_path: Path) -> None:
    found = outcome(tmp_path, "input('Do you wish to run the custom code? [y/N]')")
    assert isinstance(found, Died)
    assert "EOFError" in found.reason


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    found = child.run("/no/such/python", program(tmp_path, ""), {}, 5.0)
    assert isinstance(found, Died)
    assert "No such file" in found.reason


def test_the_active_environment_is_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert child.target_python(None) == sys.executable
    assert child.target_python("/usr/bin/python3") == "/usr/bin/python3"
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    assert child.target_python(None) == str(python)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "gone"))
    assert child.target_python(None) == sys.executable


def test_a_long_log_keeps_its_end(tmp_path: Path) -> None:
    found = outcome(tmp_path, "print('x' * 1_000_000, file=sys.stderr); sys.exit('the end')")
    assert found.log.rstrip().endswith("the end")
    assert len(found.log) <= child.TAIL_BYTES
    assert json.dumps(found.log)
