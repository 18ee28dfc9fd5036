"""The steps one after another, each with its measured share beside the predicted one, as bars from now to the end."""

from collections.abc import Iterator

from rich.bar import Bar
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from advisor.run.applied import Applied
from advisor.run.figures import Measured, Measurement
from advisor.run.shares import Share
from advisor.run.verify import request_seconds
from advisor.show.terminal import factor, seconds, size

BAR = 12


def waterfall(applied: Applied) -> Iterator[RenderableType]:
    """The table; nothing where the steps were not measured one by one."""
    if not applied.shares:
        return
    before, after = (_seconds(side, applied) for side in (applied.baseline, applied.comparison.plan))
    known = [one for share in applied.shares.values() for one in (share.from_seconds, share.to_seconds) if one]
    most = max([*known, before or 0, after or 0])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("step by step", overflow="fold")  # it gives way where the screen is narrow: figures never do
    table.add_column("a request", width=BAR)
    for title, style in (("", ""), ("measured", ""), ("predicted", "dim"), ("memory", "")):
        table.add_column(title, justify="right", no_wrap=True, style=style)
    table.add_column("")
    table.add_row("now", _bar(most, 0, before), seconds(before), "", "", "", "")
    for rule, share in applied.shares.items():
        low, high = sorted((share.from_seconds or 0, share.to_seconds or share.from_seconds or 0))
        kept = any(choice.kept for choice in applied.choices if choice.step.rule == rule)
        table.add_row(
            Text(rule, style="" if kept else "dim"),
            _bar(most, low, high, "green" if kept else "yellow"),
            *_figures(share),
            Text("kept", style="green") if kept else Text("back", style="yellow"),
        )
    if any(choice.kept for choice in applied.choices):
        whole = before / after if before and after else None
        table.add_row("together", _bar(most, 0, after), seconds(after), factor(whole), "", "", "")
    yield table
    yield ""


def _figures(share: Share) -> Iterator[str]:
    yield seconds(share.to_seconds)
    yield factor(share.speed)
    yield factor(share.predicted_speed)
    sign = "+" if (share.memory_bytes or 0) > 0 else ""
    yield sign + size(share.memory_bytes)


def _seconds(measurement: Measurement, applied: Applied) -> float | None:
    return request_seconds(measurement, applied.aim) if isinstance(measurement, Measured) else None


def _bar(most: float, begin: float, end: float | None, color: str = "default") -> RenderableType:
    return Bar(most, begin, end, width=BAR, color=color) if end else Text("")
