"""What fits, and which layers go where: the tables of a plan for the question whether a model fits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from advisor.plan import Plan
from advisor.show.terminal import GIB, size


def tables(plan: Plan) -> Iterator[RenderableType]:
    """The fit table and the split; nothing where the plan has neither."""
    rows = plan.limits.get("fit_table") or ()
    if rows and rows[0]["cells"]:
        yield Text(_title(plan, rows), style="bold")
        yield _table(rows)
        yield Text(_legend(rows), style="dim")
        yield from _needs(rows)
        yield ""
    shares = plan.limits.get("split") or ()
    if sum(1 for share in shares if share["weights_bytes"]) > 1:
        yield Text(f"Where the weights go: {split(shares)}.\n")


def _legend(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the words in the cells mean, of those that stand there."""
    words = " ".join(_cell(cell, row["band"]) for row in rows for cell in row["cells"]).split()
    told = ["tight: not at the upper end of the band."] if "tight" in words else []
    told += ["+RAM: the rest of the weights in RAM, fetched for every token."] if "+RAM" in words else []
    return " ".join([*told, "By formula, other knobs as planned."])


def _title(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> str:
    prompts = plan.workload.batch * plan.workload.concurrency
    free = size(rows[0]["cells"][0]["available_bytes"])
    return f"GiB by length of prompt + answer, {prompts} at a time (free: {free})"


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("weights", no_wrap=True)
    for cell in rows[0]["cells"]:
        table.add_column(_tokens(cell["context_tokens"]), justify="right", no_wrap=True)
    for row in rows:
        mark = " *" if row["needs"] else ""
        table.add_row(row["weights"] + mark, *(_cell(cell, row["band"]) for cell in row["cells"]))
    return table


def _tokens(count: int) -> str:
    return f"{count // 1024}k" if count % 1024 == 0 else f"{count:,}"


def _cell(cell: Mapping[str, Any], band: Sequence[float] | None) -> str:
    total, free = cell["total_bytes"], cell["available_bytes"]
    if total is None:
        return "-"
    verdict = {True: "fits", False: "no", None: "?"}[cell["fits"]]
    if cell["fits"] and free is not None and total * (band[1] if band else 1.0) > free:
        verdict = "tight"
    return f"{total / GIB:,.1f}{' +RAM' if cell.get('spills') else ''} {verdict}"


def _needs(rows: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    for package in sorted({row["needs"] for row in rows if row["needs"]}):
        yield Text(f"* needs {package}, which is not installed here.", style="dim")


def split(shares: Sequence[Mapping[str, Any]]) -> str:
    """`GPU 0: embedding, layers 0-21 (9.6 GiB); GPU 1: layers 22-31, head (6.2 GiB); CPU: -`."""
    return "; ".join(f"{_place(share['device'])}: {_held(share)}" for share in shares)


def _place(device: str) -> str:
    return f"GPU {device}" if device.isdigit() else {"cpu": "CPU"}.get(device, device)


def _held(share: Mapping[str, Any]) -> str:
    first, last = share["first_layer"], share["last_layer"]
    parts = ["embedding"] if share["embedding"] else []
    if first is not None:
        parts.append(f"layer {first}" if first == last else f"layers {first}-{last}")
    parts += ["head"] if share["head"] else []
    return f"{', '.join(parts)} ({size(share['weights_bytes'])})" if parts else "-"
