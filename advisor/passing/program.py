"""Start the program, hand on what it prints and what is sent to it, wait for its end.

Standard input is the program's own: it is never read here. On systems without pseudo-terminals both outputs go
through pipes (`elsewhere.py`).
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from advisor.passing.signals import Forwarding
from advisor.passing.streams import STDERR, STDOUT, Stream, open_streams, take_sizes

AFTERWARDS_SECONDS, AFTER_SUCCESS_SECONDS = 1.0, 0.1
"""How long output of processes that a program left behind is waited for; what they print later is still handed on."""
NOT_FOUND, NOT_RUNNABLE = 127, 126
"""Exit codes of shells for a command that there is not, or that cannot be run."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Ended:
    """The program's end. `code` is the exit code as a shell tells it, `signal` what ended it, if anything did.

    `said` is the beginning and end of its output, standard error last; `peak_bytes` the largest resident size of the
    largest of its processes (None where the system does not tell), `address_limit_bytes` what it was allowed of
    addresses (None: no limit).
    """

    code: int
    signal: int | None
    said: str
    seconds: float
    peak_bytes: int | None
    address_limit_bytes: int | None = None


@dataclass(frozen=True)
class NotStarted:
    """The program could not be started: the exit code that a shell gives, and why."""

    code: int
    reason: str


def run(words: Sequence[str]) -> Ended | NotStarted:
    """Run a command to its end, as if it had been started without us."""
    if os.name != "posix":
        from advisor.passing import elsewhere

        return elsewhere.run(words)
    started = time.monotonic()
    streams: list[Stream] = []
    program = _Receiver()
    # First, so that the process that it forks holds none of the streams open.
    forwarding = Forwarding(program.send, lambda: take_sizes(streams))
    try:
        streams += open_streams()
        found = _start(words, streams)
        if isinstance(found, NotStarted):
            return found
        program.began(found)
        _follow(found, streams, forwarding)
        return _ended(found.returncode, streams, time.monotonic() - started)
    finally:
        forwarding.end()
        _leave(streams)


class _Receiver:
    """Whom signals are forwarded to; those that come before it has begun are kept for it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def began(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        for number in self._early:
            self.send(number)

    def send(self, number: int) -> None:
        if self._process is None:
            self._early.append(number)
        elif self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


def _start(words: Sequence[str], streams: Sequence[Stream]) -> "subprocess.Popen[bytes] | NotStarted":
    ends = {name: stream.write_end for stream in streams for name in stream.names}
    try:
        # Files that we were given beyond the three (a build's job server, `<(...)` of a shell) are the program's too.
        return subprocess.Popen(
            list(words), stdout=ends[STDOUT], stderr=ends[STDERR], close_fds=False, preexec_fn=_end_with(os.getpid())
        )
    except FileNotFoundError as error:
        return NotStarted(NOT_FOUND, f"{error.filename or words[0]}: not found")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return NotStarted(NOT_RUNNABLE, f"{words[0]}: {reason}")
    finally:
        for end in set(ends.values()):
            os.close(end)


def _end_with(parent: int) -> Callable[[], None] | None:
    """On Linux, what makes the program end when we are killed, as it would have been itself."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)

    return ask


def _follow(process: "subprocess.Popen[bytes]", streams: Sequence[Stream], forwarding: Forwarding) -> None:
    """Copy until the program has ended and nothing more comes, or only from processes that it left behind."""
    deadline: float | None = None
    while process.poll() is None or any(stream.open for stream in streams):
        if deadline is None and process.poll() is not None:
            deadline = time.monotonic() + (AFTERWARDS_SECONDS if process.returncode else AFTER_SUCCESS_SECONDS)
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        reading = {stream.read_end: stream for stream in streams if stream.open}
        ready = select.select([*reading, forwarding.wakes], [], [], patience)[0]
        if not ready and deadline is not None:
            return
        for end in ready:
            if end == forwarding.wakes:
                forwarding.heard()
            elif not reading[end].pass_on():
                reading[end].close()


def _ended(code: int, streams: Sequence[Stream], seconds: float) -> Ended:
    """Peak memory is the kernel's count over the children that were waited for; the sentinel is too small to matter."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    said = "\n".join(text for stream in streams if (text := stream.tail.text()))
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return Ended(
        code=128 - code if code < 0 else code,
        signal=-code if code < 0 else None,
        said=said,
        seconds=seconds,
        # Kilobytes on Linux, bytes on macOS: getrusage(2) of each.
        peak_bytes=(peak if sys.platform == "darwin" else peak * 1024) or None,
        address_limit_bytes=None if limit == resource.RLIM_INFINITY else limit,
    )


def _leave(streams: Sequence[Stream]) -> None:
    """Processes that the program left behind may still print: a copy of us hands that on until they end too."""
    left = [stream for stream in streams if stream.open]
    if left and os.fork() == 0:
        try:
            for descriptor in {0, STDOUT, STDERR} - {stream.target for stream in left}:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            while left:
                ready = select.select([stream.read_end for stream in left], [], [])[0]
                left = [stream for stream in left if stream.read_end not in ready or stream.pass_on()]
        finally:
            os._exit(0)
    for stream in streams:
        stream.close()
