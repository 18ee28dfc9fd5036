"""Signals that are meant for the program reach it once, whoever sent them, and to whom.

A terminal's Ctrl-C and a launcher that ends a whole process group reach the program by themselves, because it is in
our group; a signal sent to us alone must be forwarded. A sentinel tells the two apart: a process in our group that
does nothing but report the signals that it gets. What reaches it too has reached the program already.
"""

import contextlib
import os
import select
import signal
from collections.abc import Callable
from itertools import pairwise
from types import FrameType

FORWARDED = tuple(
    found
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if (found := getattr(signal, name, None)) is not None
)
PATIENCE_SECONDS = 0.25
"""How long the sentinel may take to report a signal that was sent to the whole group, on a busy machine too; a signal
to us alone is forwarded so much later."""
MOST_DESCRIPTORS = 1024


class Sentinel:
    """The process that reports signals sent to the group. It ends when this process does."""

    def __init__(self) -> None:
        alive, self._alive = os.pipe()
        self._reports, reporting = os.pipe()
        os.set_blocking(reporting, False)
        self._pid = os.fork()
        if self._pid == 0:
            _be_sentinel(alive, reporting)
        os.close(alive)
        os.close(reporting)

    def got_it_too(self, number: int) -> bool:
        """Whether the signal `number` that this process got was sent to the whole group."""
        patience = PATIENCE_SECONDS
        while select.select([self._reports], [], [], patience)[0]:
            found = os.read(self._reports, 64)
            if not found:
                return False
            if number in found:
                return True
            patience = PATIENCE_SECONDS / 2
        return False

    def end(self) -> None:
        for descriptor in (self._alive, self._reports):
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _be_sentinel(alive: int, reporting: int) -> None:
    """Never returns. It holds no other file open, so that whoever waits for a file's end is not kept waiting."""
    try:
        bounds = [-1, *sorted((alive, reporting)), MOST_DESCRIPTORS]
        for below, above in pairwise(bounds):
            os.closerange(below + 1, above)
        for number in FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _nothing)
        # The number of each signal is written there by the handler itself.
        signal.set_wakeup_fd(reporting, warn_on_full_buffer=False)
        while os.read(alive, 1):
            pass
    finally:
        os._exit(0)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler, so that the signal neither ends us nor is ignored by the program that we start."""


class Forwarding:
    """While it lasts, signals to this process go to the program. `pid` is asked only when one comes.

    `wakes` is readable after any signal, the program's end included.
    """

    def __init__(self, send: Callable[[int], None], resized: Callable[[], None]) -> None:
        self._send, self._resized = send, resized
        self.wakes, self._wake = os.pipe()
        for descriptor in (self.wakes, self._wake):
            os.set_blocking(descriptor, False)
        self._sentinel = Sentinel()
        self._before = {number: signal.getsignal(number) for number in (*FORWARDED, signal.SIGCHLD, signal.SIGWINCH)}
        self._wake_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.signal(signal.SIGWINCH, self._on_resize)
        for number in FORWARDED:
            # What was ignored when we were started (nohup) stays ignored, for the program too.
            if self._before[number] is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if not self._sentinel.got_it_too(number):
            self._send(number)

    def _on_resize(self, number: int, _frame: FrameType | None) -> None:
        # The size is ours to hand on, so the program must look again, even if the terminal told it already.
        self._resized()
        self._send(number)

    def heard(self) -> None:
        """Empty `wakes`."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wakes, 4096)

    def end(self) -> None:
        """Everything as it was before."""
        signal.set_wakeup_fd(self._wake_before)
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._sentinel.end()
        for descriptor in (self.wakes, self._wake):
            os.close(descriptor)
