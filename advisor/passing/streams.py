"""What stands in for a program's standard output and error: a terminal where ours is one, else a pipe.

Where both of ours are the same file (one terminal, or `2>&1`), the program gets one stand-in for both, so that the
order of what it prints is kept. The stand-in terminal changes no byte: what ends a line is decided by the real one.
"""

import contextlib
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from advisor.passing.tail import Tail

STDOUT, STDERR = 1, 2
PIECE_BYTES = 64 * 1024
Size: TypeAlias = tuple[int, int]


@dataclass
class Stream:
    """One way from the program to us: `read_end` is ours, `write_end` the program's, `target` where it goes on to."""

    read_end: int
    write_end: int
    target: int
    names: tuple[int, ...]
    terminal: bool
    tail: Tail
    open: bool = True

    def pass_on(self) -> bool:
        """Copy what is there; False when nothing will come any more."""
        try:
            piece = os.read(self.read_end, PIECE_BYTES)
        except OSError as error:
            # The other side of a pseudo-terminal that nobody holds open reads as EIO on Linux.
            if error.errno == errno.EIO:
                piece = b""
            else:
                raise
        self.tail.add(piece)
        return bool(piece) and self._written(piece)

    def _written(self, piece: bytes) -> bool:
        """Whether the reader of our output took it. If it has gone away, the program finds its own output closed."""
        rest = memoryview(piece)
        while rest:
            try:
                rest = rest[os.write(self.target, rest) :]
            except OSError as error:
                if error.errno in (errno.EPIPE, errno.EIO, errno.EBADF):
                    return False
                if error.errno != errno.EAGAIN:
                    raise
                _wait_until_writable(self.target)
        return True

    def close(self) -> None:
        if self.open:
            os.close(self.read_end)
            self.open = False


def take_sizes(streams: Sequence[Stream]) -> None:
    """Give each stand-in the size of the real terminal."""
    for stream in streams:
        if stream.terminal and stream.open:
            with contextlib.suppress(OSError):
                _copy_size(stream.target, stream.read_end)


def open_streams() -> list[Stream]:
    """One stream for each of our two outputs, or one for both. What was closed when we were started leads nowhere."""
    for closed in (number for number in range(3) if not _is_open(number)):
        # The lowest free number is given out: this one.
        os.dup2(os.open(os.devnull, os.O_RDWR), closed)
    if _same_file(STDOUT, STDERR):
        return [_open(STDOUT, (STDOUT, STDERR))]
    return [_open(STDOUT, (STDOUT,)), _open(STDERR, (STDERR,))]


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _same_file(first: int, second: int) -> bool:
    try:
        one, two = os.fstat(first), os.fstat(second)
    except OSError:
        return False
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def _open(target: int, names: tuple[int, ...]) -> Stream:
    terminal = os.isatty(target)
    read_end, write_end = _terminal(target) if terminal else os.pipe()
    return Stream(read_end, write_end, target, names, terminal, Tail())


def _terminal(target: int) -> tuple[int, int]:
    """A pseudo-terminal like `target`, but one that passes every byte on as it is."""
    import termios

    ours, programs = os.openpty()
    mode = termios.tcgetattr(target)
    mode[1] &= ~termios.OPOST
    # Nothing is typed into it, and nothing that is must come back as output.
    mode[3] &= ~(termios.ECHO | termios.ECHONL)
    termios.tcsetattr(programs, termios.TCSANOW, mode)
    with contextlib.suppress(OSError):
        _copy_size(target, ours)
    return ours, programs


def _copy_size(source: int, to: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(to, termios.TIOCSWINSZ, fcntl.ioctl(source, termios.TIOCGWINSZ, b"\0" * 8))


def _wait_until_writable(target: int) -> None:
    """Wait where somebody made our output non-blocking."""
    import select

    select.select([], [target], [], 1.0)
