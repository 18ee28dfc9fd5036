"""What `--tune` tried, on the screen: setups by what they change, the quickest first."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from advisor.plan import Plan
from advisor.show.terminal import seconds, settings
from advisor.tuning import Tuned


def screen(plan: Plan, tuned: Tuned) -> RenderableType:
    """A row for each setup that was tried, and what follows from it."""
    if not tuned.tried:
        return Group(Text(f"Nothing was tried: {tuned.reason}.", style="yellow"), "")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("tried", overflow="fold")
    table.add_column("one request", justify="right", no_wrap=True)
    table.add_column("predicted", justify="right", no_wrap=True, style="dim")
    for setup, found in sorted(tuned.tried.items(), key=lambda pair: pair[1] or float("inf")):
        change = settings(plan.baseline.difference(setup)) or "your setup as it is"
        name = f"{change} (the plan)" if setup == plan.setup else change
        result = "failed" if found is None else seconds(found)
        style = "green" if setup == tuned.winner else ""
        table.add_row(name, result, seconds(tuned.predicted.get(setup)), style=style)
    return Group(table, *_remarks(plan, tuned), "")


def _remarks(plan: Plan, tuned: Tuned) -> list[Text]:
    said = f"{len(tuned.tried)} of {len(tuned.predicted)} setups tried in {tuned.seconds:.0f} s, from short runs."
    lines = [Text(said, style="dim")]
    if tuned.winner == plan.setup:
        lines.append(Text("The plan's own setup is the quickest."))
    elif tuned.winner is not None and tuned.winner not in tuned.tried:
        change = settings(plan.baseline.difference(tuned.winner))
        lines.append(Text(f"Expected to be quicker still, by the same setup uncompiled: {change}"))
    return lines
