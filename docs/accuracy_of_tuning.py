"""The part of docs/accuracy.md on what tuning finds, from what bench/tuning.py left; make_accuracy.py puts it in."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

SIDES = {"tuned": "found by `--tune`", "plan": "the plan without tuning", "naive": "library defaults, float32, loop"}
GOALS = {"tuned": 0.97, "plan": 0.93}
MOST_TIME = 0.10
CASES = 12
PRICE = 1.15
"""What a setup whose outputs change must be faster by (`WORTH_A_LOSS` in advisor/merit.py)."""
Case = Mapping[str, Any]


def done(found: Mapping[str, Any]) -> dict[str, Case]:
    """The cases whose every step was run."""
    return {name: case for name, case in found["cases"].items() if "finals" in case["done"]}


def spent(case: Case) -> float:
    """Seconds that the grid of a case took."""
    return float(sum(cell["process_seconds"] for cell in case["cells"].values()))


def seconds(case: Case, priced: bool) -> dict[str, float]:
    """Seconds of a request by setup, from the side-by-side runs; `priced` makes changed outputs dearer."""
    found = {}
    for label, rows in case["finals"].items():
        if all("failed" not in row for row in rows):
            lossy = priced and _setup(case, label).get("quantization") not in (None, "none")
            found[label] = statistics.median(row["request_seconds"] for row in rows) * (PRICE if lossy else 1.0)
    return found


def _setup(case: Case, label: str) -> Mapping[str, Any]:
    tuned: Mapping[str, Any] = case["tuned"]["setup"] if label not in case["cells"] else case["cells"][label]["setup"]
    return tuned


def ratios(case: Case, priced: bool = False) -> dict[str, float]:
    """The best of the grid over each side, in seconds of a request."""
    found = seconds(case, priced)
    best = min(value for label, value in found.items() if label in case["cells"])
    labels = {"tuned": case["tuned"]["label"], "plan": case["plan"], "naive": "naive"}
    return {side: best / found[label] for side, label in labels.items()}


def share_of_time(case: Case) -> float:
    return float(case["tuned"]["seconds"]) / spent(case)


def middle(values: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


def section(found: Mapping[str, Any]) -> str:
    """The whole section of one result."""
    cases, machine = done(found), found["machine"]
    named = {"CPU": "host.cpu", "cores": "host.cores_usable", "torch": "torch.version"}
    told = {name: machine.get(fact, {}).get("value") for name, fact in named.items()}
    about = ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
    return f"""
## What tuning finds

`bench/tuning.py`, {about}.
Four models with random weights and three workloads; each grid holds {_sizes(cases)} setups (type, attention,
quantization, compilation, threads, batches), each measured in a process of its own. A figure is the best of the grid
over the setup named, in seconds of a request: 1 is the best, above 1 lies a setup that is no member of the grid. The
machine's speed drifts within minutes, so all figures come from measuring the best ones again, side by side in turn.
Three cases are not blind as to the plan, which at first reached 0.84, 0.83 and 0.62 in them: the grids of llama-20m
with one prompt and with eight showed that 4-bit weights of narrow layers were predicted too fast, which was then
measured apart and corrected; that of gemma3-270m with one prompt that the output projection beside quantized layers
counted as 16 bits wide where it is kept in float32. What tuning found is as it was measured before these corrections.
{"" if len(cases) == CASES else f"{len(cases)} of {CASES} cases were run to the end so far."}

| case | setups | best of the grid | {" | ".join(SIDES.values())} | grid's seconds | tuning's |
|---|---:|---|{"---:|" * len(SIDES)}---:|---:|
{"".join(_row(name, case) for name, case in cases.items())}
| geometric mean of {len(cases)} cases | reached | goal |
|---|---:|---:|
{"".join(_means(list(cases.values())))}
"As judged" counts a setup whose outputs change (quantized weights) as {PRICE} times its seconds, as the planner and
tuning do: such a setup must be that much faster to be taken. Tuning's seconds are those of the search, its process from
start to end; proving the winner beside the user's own setup is what `apply` does anyway.
"""


def _sizes(cases: Mapping[str, Case]) -> str:
    counts = sorted(len(case["cells"]) for case in cases.values())
    return f"{counts[0]} to {counts[-1]}"


def _row(name: str, case: Case) -> str:
    best = min((value, label) for label, value in seconds(case, False).items() if label in case["cells"])[1]
    figures = " | ".join(f"{value:.2f}" for value in ratios(case).values())
    times = f"{spent(case):.0f} | {case['tuned']['seconds']:.0f}"
    return f"| {name} | {len(case['cells'])} | {best} | {figures} | {times} |\n"


def _means(cases: Sequence[Case]) -> list[str]:
    lines = []
    for priced, words in ((False, ""), (True, ", as judged")):
        for side, said in SIDES.items():
            goal = f"at least {GOALS[side]}" if side in GOALS else ""
            lines.append(f"| {said}{words} | {middle([ratios(case, priced)[side] for case in cases]):.3f} | {goal} |\n")
    time = sum(float(case["tuned"]["seconds"]) for case in cases) / sum(spent(case) for case in cases)
    lines.append(f"| tuning's seconds over the grid's | {time:.1%} | at most {MOST_TIME:.0%} |\n")
    return lines
