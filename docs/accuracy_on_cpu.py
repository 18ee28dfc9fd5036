"""The part of docs/accuracy.md on speed on a CPU, from what bench/cpu_speed.py left; make_accuracy.py puts it in."""

import statistics
from collections.abc import Sequence
from typing import Any

FIGURES = {
    "ttft_seconds": "time to first token",
    "decode_tokens_per_second": "decoding, tokens a second",
    "total_tokens_per_second": "in all, tokens a second",
}
WAYS = {
    "predicted": "from the machine's constants",
    "learnt": "with own runs of the other shapes",
    "before": "the same setup measured before",
}
"""What stands beside a measured figure in a row of the result."""
Row = dict[str, Any]


def decoding(rows: Sequence[Row]) -> list[tuple[str, dict[str, float]]]:
    """The two ways to predict decoding, each with its errors, as the table of goals takes them."""
    figure = "decode_tokens_per_second"
    return [(f"six shapes on a CPU, {WAYS[way]}", errors(rows, figure, way)) for way in ("predicted", "learnt")]


def errors(rows: Sequence[Row], figure: str, way: str) -> dict[str, float]:
    """Of the runs that were not disturbed throughout: how far `way` is from what was measured."""
    counted = [row for row in rows if row["runs"] > row["disturbed_runs"] and row.get(way)]
    found = sorted(abs(row[way][figure] / row["measured"][figure] - 1) for row in counted)
    tail = {f"p{share}": found[min(len(found) - 1, len(found) * share // 100)] for share in (90, 95)}
    return {"count": len(found), "median": statistics.median(found), **tail}


def section(found: dict[str, Any]) -> str:
    """The whole section of one result."""
    machine, rows = found["machine"], found["rows"]
    named = {
        "CPU": "host.cpu",
        "cores": "host.cores_usable",
        "torch": "torch.version",
        "transformers": "transformers.version",
    }
    about = ", ".join(
        f"{name} {machine[fact]['value']}" for name, fact in named.items() if "value" in machine.get(fact, {})
    )
    ways = {way: words for way, words in WAYS.items() if any(row.get(way) for row in rows)}
    lines = "".join(
        f"| {words} | {' | '.join(_cell(errors(rows, figure, way)) for way in ways)} |\n"
        for figure, words in FIGURES.items()
    )
    return f"""
## Speed on a CPU

`bench/cpu_speed.py`, {about}.
Models with random weights ({", ".join(dict.fromkeys(row["model"] for row in rows))}), in fp32 and bf16, one prompt and
eight. First what a plan says: predicted from what was measured of the machine, never of these models. Then what it
says once `apply` has measured the other five shapes here, so that the shape that is judged is left out. The last column
is no prediction: how far the same setup, measured undisturbed at another time on this shared virtual machine, lies from
this measurement. Part of every error is that the machine does not repeat itself; the rest, mostly of bf16 with one
prompt predicted too fast, is not explained. {len(rows)} setups were run; left out
are those of which every run was disturbed.

| median / 90 % below | {" | ".join(ways.values())} |
|---|{"---:|" * len(ways)}
{lines}"""


def _cell(found: dict[str, float]) -> str:
    return f"{found['median']:.1%} / {found['p90']:.1%} of {found['count']}"
