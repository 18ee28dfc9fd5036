"""Child processes: start one in the target interpreter, wait with a time limit, end what was started, never hang.

The programs that run there (`inside_*.py`, `run/worker.py`) use nothing of this package, because the target
environment need not have it installed. They answer with one JSON object in a file that they replace whole.
A guard of our own (inside_guard.py) stands between: when we end, killed or not, it ends the child and its descendants.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from advisor import scratch

GUARD = Path(__file__).with_name("inside_guard.py")
TAIL_BYTES = 200_000
_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 5.0
_NOT_STARTED = 127


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
    try:
        with scratch.folder() as place:
            return _run(python, program, place, request, limit_seconds, environment or {}, heard)
    except OSError as error:
        return Died(f"temporary files cannot be kept: {error.strerror or error}", "", 0.0)


def _run(
    python: str,
    program: Path,
    place: Path,
    request: Mapping[str, Any],
    limit_seconds: float,
    environment: Mapping[str, str],
    heard: Callable[[dict[str, Any]], None],
) -> Outcome:
    """Run `program` with its files in `place`.

    Raises:
        OSError: the request or the log cannot be written.
    """
    (place / "request.json").write_text(json.dumps(request), encoding="utf-8")
    started = time.monotonic()
    words = [python, str(program), str(place / "request.json"), str(place / "answer.json")]
    with (place / "log").open("wb") as log:
        try:
            process = _start(words, place, log, {**os.environ, **environment})
        except OSError as error:
            return Died(f"{python}: {error.strerror or error}", "", 0.0)
        missing: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            missing.append(str(message["not_started"])) if "not_started" in message else heard(message)

        try:
            in_time = _listen(process, started + limit_seconds, hear)
        finally:
            _end(process)
    seconds = time.monotonic() - started
    if missing and process.returncode == _NOT_STARTED:
        return Died(f"{python}: {missing[0]}", "", 0.0)
    return _outcome(process, place, in_time, limit_seconds, seconds)


def _start(
    words: Sequence[str], place: Path, log: BinaryIO, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a program; on POSIX systems under the guard, in a session of its own."""
    posix = os.name == "posix"
    # A program that embeds Python may name no interpreter; its children then go without a guard.
    guarded = posix and bool(sys.executable)
    guard = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), str(place)] if guarded else []
    return subprocess.Popen(
        [*guard, *words],
        stdin=subprocess.PIPE if guarded else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        env=dict(environment),
        start_new_session=posix,
    )


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
    """End the child and all that it started; only what was started here."""
    if process.poll() is None and process.stdin is not None:
        # The guard knows descendants that left the process group.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            os.write(process.stdin.fileno(), b"e")
            process.wait(timeout=_PATIENCE_SECONDS)
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    # A process that sleeps in the kernel (a hung driver, a lost network disk) ends when the kernel lets go of it.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_PATIENCE_SECONDS)
    for pipe in (process.stdout, process.stdin):
        if pipe is not None:
            pipe.close()


def _outcome(
    process: "subprocess.Popen[bytes]", place: Path, in_time: bool, limit_seconds: float, seconds: float
) -> Outcome:
    if not place.is_dir():
        return Died("its temporary folder was removed while it ran", "", seconds)
    log = _tail(place / "log")
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


def _tail(log: Path) -> str:
    """The end of what the child printed; empty where the log is gone."""
    try:
        return log.read_bytes()[-TAIL_BYTES:].decode("utf-8", errors="replace")
    except OSError:
        return ""


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
