"""The part of docs/accuracy.md on what applying does to a user's setup, from what bench/no_harm.py left."""

import statistics
from collections import Counter
from typing import Any

Row = dict[str, Any]


def section(found: dict[str, Any]) -> str:
    """The whole section of one result."""
    machine, rows = found["machine"], found["rows"]
    held = [row for row in rows if row["outcome"] == "holds"]
    speeds = [row["again"]["gain"] for row in held if row["again"]["gain"] and row["goal"] not in ("memory", "fit")]
    middle = f"{statistics.median(speeds):.2f}" if speeds else "unknown"
    harmed = sum(row["harmed"] for row in rows)
    ends = Counter(row["outcome"] for row in rows)
    listed = ", ".join(f"{ends[name]} {name}" for name in ("holds", "no-gain", "failed") if ends[name])
    return f"""
## Plans applied on a CPU

`bench/no_harm.py`, {machine["host.cpu"]}, torch {machine["torch.version"]}, transformers
{machine["transformers.version"]}: {len(rows)} of its {found["cases"]} plans for small random-weight models,
diagnosed and applied as the commands do. What was kept was measured against the user's own setup once more, in fresh
processes. **{harmed} of {len(rows)} ended slower (or larger, where memory is the goal) than the user's own setup beyond
the noise.** Outcomes: {listed}. Where a plan held for speed, the median gain measured again is {middle}. "Gain" is what
`apply` found, "again" the measurement afterwards, with what the same setup varied by in it.

| model, workload and the user's own setup | outcome | gain | again | varies by | kept of steps |
|---|---|---:|---:|---:|---:|
{"".join(_line(row) for row in rows)}"""


def _line(row: Row) -> str:
    again = row["again"] or {}
    gain, measured, noise = row["speedup"], again.get("gain"), again.get("noise")
    shown = ["", "", ""]
    if row["outcome"] == "holds":
        shown = [
            "it did not run before" if gain is None else f"{gain:.2f}",
            "" if measured is None else f"{measured:.2f}",
            "" if noise is None else f"{noise:.0%}",
        ]
    return f"| {row['case']} | {row['outcome']} | {' | '.join(shown)} | {len(row['kept'])} of {len(row['steps'])} |\n"
