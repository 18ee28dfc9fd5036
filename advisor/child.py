"""Child processes: start one in the target interpreter, wait with a time limit, end what was started, never hang.

The programs that run there (`inside_*.py`, `run/worker.py`) use nothing of this package, because the target
environment need not have it installed. They answer with one JSON object in a file that they replace whole.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TAIL_BYTES = 200_000
_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Answered:
    """The child wrote its answer and ended well."""

    answer: dict[str, Any]
    log: str
    seconds: float


@dataclass(frozen=True)
class Died:
    """The child ended without an answer: `reason` in one line, `log` is what it printed last."""

    reason: str
    log: str
    seconds: float


Outcome = Answered | Died


def run(
    python: str,
    program: Path,
    request: Mapping[str, Any],
    limit_seconds: float,
    environment: Mapping[str, str] | None = None,
    heard: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Outcome:
    """Run `program` with `request` as JSON; `heard` gets each JSON line of progress that it prints to stdout.

    The child gets no standard input (libraries ask questions there), a process group of its own, and is ended with
    everything it started when the limit runs out or this process is interrupted.
    """
    with tempfile.TemporaryDirectory(prefix="perf-advisor-") as folder:
        place = Path(folder)
        (place / "request.json").write_text(json.dumps(request), encoding="utf-8")
        started = time.monotonic()
        with (place / "log").open("wb") as log:
            try:
                process = subprocess.Popen(
                    [python, str(program), str(place / "request.json"), str(place / "answer.json")],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, **(environment or {})},
                    start_new_session=os.name == "posix",
                )
            except OSError as error:
                return Died(f"{python}: {error.strerror or error}", "", 0.0)
            try:
                in_time = _listen(process, started + limit_seconds, heard)
            finally:
                _end(process)
        seconds = time.monotonic() - started
        return _outcome(process, place, in_time, limit_seconds, seconds)


def _listen(process: "subprocess.Popen[bytes]", deadline: float, heard: Callable[[dict[str, Any]], None]) -> bool:
    """Pass progress on until the child ends; False when the deadline passes first."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    pending = b""
    while True:
        ended = process.poll() is not None
        part = process.stdout.read()
        *lines, pending = (pending + (part or b"")).split(b"\n")
        for line in lines:
            if message := _message(line):
                heard(message)
        if ended:
            return True
        if time.monotonic() > deadline:
            return False
        if not part:
            time.sleep(_POLL_SECONDS)


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the child and its process group; only what was started here."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    # A process that sleeps in the kernel (a hung driver, a lost network disk) ends when the kernel lets go of it.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_PATIENCE_SECONDS)
    if process.stdout is not None:
        process.stdout.close()


def _outcome(
    process: "subprocess.Popen[bytes]", place: Path, in_time: bool, limit_seconds: float, seconds: float
) -> Outcome:
    raw = (place / "log").read_bytes()[-TAIL_BYTES:]
    log = raw.decode("utf-8", errors="replace")
    if not in_time:
        return Died(f"no answer within {limit_seconds:.0f} s", log, seconds)
    answer = place / "answer.json"
    if process.returncode != 0 or not answer.exists():
        return Died(_ending(process.returncode, log), log, seconds)
    try:
        found = json.loads(answer.read_text(encoding="utf-8"))
    except ValueError:
        return Died("the answer is no JSON", log, seconds)
    if not isinstance(found, dict):
        return Died("the answer is no JSON object", log, seconds)
    return Answered(found, log, seconds)


def _ending(code: int | None, log: str) -> str:
    if code is None:
        return "it hangs in the kernel and cannot be ended"
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        likely = {"SIGKILL": ", as the kernel does when memory runs out", "SIGSEGV": ", a crash in compiled code"}
        return f"killed by {name}{likely.get(name, '')}"
    last = [line.strip() for line in log.splitlines() if line.strip()]
    return f"exit code {code}" + (f": {last[-1][:300]}" if last else "")


def target_python(given: str | None) -> str:
    """The interpreter whose environment counts: the one given, else the active virtual environment's, else ours."""
    if given:
        return given
    active = os.environ.get("VIRTUAL_ENV")
    if active:
        found = Path(active) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if found.exists():
            return str(found)
    return sys.executable
