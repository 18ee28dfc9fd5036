"""The console, and how figures are written on it.

Results go to stdout, talk to stderr; NO_COLOR and pipes are respected.
"""

import io
import sys
from collections.abc import Mapping
from typing import IO, TextIO, cast

from rich.console import Console
from rich.markup import escape

from advisor.facts import Value
from advisor.rule import show

GIB = 1024**3
WIDEST, PIPED = 100, 80
"""Columns: the most that are read with ease on a terminal, and those of a pipe or file."""


def out() -> Console:
    """The console for results."""
    return _console(stderr=False)


def talk() -> Console:
    """The console for progress and remarks."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    if not stream.isatty():
        # Piped output keeps one width everywhere, so that it can be compared.
        return Console(file=cast("IO[str]", _Trimmed(stream)), highlight=False, width=PIPED)
    console = Console(stderr=stderr, highlight=False)
    console.width = min(console.width, WIDEST)
    return console


class _Trimmed(io.TextIOBase):
    """A pipe's lines without the blanks with which rich fills them up to the width."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""

    def write(self, text: str) -> int:
        *whole, self._line = (self._line + text).split("\n")
        self._stream.write("".join(f"{line.rstrip(' ')}\n" for line in whole))
        return len(text)

    def flush(self) -> None:
        self._stream.write(self._line)
        self._line = ""
        self._stream.flush()


def size(value: int | None, decimals: int = 1) -> str:
    """Bytes in GiB (MiB below a tenth of one); a dash where unknown."""
    if value is None:
        return "-"
    if abs(value) < GIB / 10:
        return f"{value / 1024**2:,.0f} MiB"
    return f"{value / GIB:,.{decimals}f} GiB"


def told_apart(limit: int | None, *values: int | None) -> list[str]:
    """The sizes of `limit` and `values`, with as many decimals as it takes (three at most, which is 1 MiB) to see on
    which side of the limit each one lies."""
    for decimals in (1, 2, 3):
        shown = [size(value, decimals) for value in (limit, *values)]
        if not any(text == shown[0] and value != limit for text, value in zip(shown[1:], values, strict=True)):
            break
    return shown


def seconds(value: float | None) -> str:
    """A duration with three significant digits."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f} s"
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def rate(value: float | None) -> str:
    """Tokens per second."""
    if value is None:
        return "-"
    return f"{value:,.0f} tok/s" if value >= 100 else f"{value:.3g} tok/s"


def factor(value: float | None) -> str:
    """A ratio as `x2.9`; a dash where unknown."""
    return "-" if value is None else f"x{value:.2f}"


def settings(change: Mapping[str, Value]) -> str:
    """Knobs as they are written in a rule: `dtype: bfloat16, batch_size: 8`."""
    return escape(", ".join(f"{name}: {show(value)}" for name, value in change.items()))
