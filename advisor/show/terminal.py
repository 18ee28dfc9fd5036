"""The console, and how figures are written on it.

Results go to stdout, talk to stderr; NO_COLOR and pipes are respected.
"""

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from advisor.facts import Value
from advisor.rule import show

GIB = 1024**3
WIDEST = 100


def out() -> Console:
    """The console for results."""
    return _console(stderr=False)


def talk() -> Console:
    """The console for progress and remarks."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    console = Console(stderr=stderr, highlight=False)
    # Piped output keeps one width everywhere, so that it can be compared; a terminal is used up to a readable width.
    console.width = min(console.width, WIDEST) if stream.isatty() else 80
    return console


def size(value: int | None) -> str:
    """Bytes in GiB (MiB below a tenth of one); a dash where unknown."""
    if value is None:
        return "-"
    if abs(value) < GIB / 10:
        return f"{value / 1024**2:,.0f} MiB"
    return f"{value / GIB:,.1f} GiB"


def seconds(value: float | None) -> str:
    """A duration with three significant digits."""
    if value is None:
        return "-"
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:,.3g} s"


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
