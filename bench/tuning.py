"""What tuning finds against the whole grid: `python bench/tuning.py RESULT.json [--steps STEP ...] [--for-seconds N]`.

Four random-weight models of 20 to 600 million parameters x three workloads. A call goes on where the last one stopped,
so that the bench can run in blocks. The steps of each case:

    grid    every setup of a case in a process of its own, by the recipe and the worker of `apply`
    tune    what `apply --tune` would find of the same case, and the seconds that it takes
    finals  the best of the grid, the plan, what tuning found and the naive setup side by side, twice, in turn

The speed of a machine drifts within minutes: ratios are taken from the finals alone, where all sides were measured in
turn. RESULT.json is written after every setup. `--device cuda` runs the same on a GPU, with three shipped shapes and
longer workloads.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tuning_cases as cases

import advisor
from advisor import applying, probe, tuning
from advisor.errors import Mistake
from advisor.facts import to_json
from advisor.plan import Plan
from advisor.probe import speed
from advisor.run.figures import Failed, Measured
from advisor.run.measure import measure
from advisor.run.recipe import recipe
from advisor.setup import Setup, read_change
from advisor.workload import Workload

RUN_SECONDS, LIMIT_SECONDS, PATIENCE_SECONDS = 1.0, 180.0, 10.0
SHARE = 0.09
"""Of the grid's seconds, what tuning is given; a run that is under way when they end is not cut off."""
ROUNDS, FINAL_SECONDS, BEST_OF_GRID = 2, 2.0, 2
MOST_TRIES = 2
"""Processes for one setup, where other programs disturbed every run of the one before."""
COMPILED_CODE = "TORCHINDUCTOR_CACHE_DIR"
NOT_DONE = 3
"""Exit code of a call that ended before its step was done."""


class DisturbedError(Exception):
    """Nothing can be measured now."""


@dataclass
class Bench:
    """The state of one call: results so far, where they are written, and when no further setup begins."""

    place: Path
    models: Path
    machine: Path
    device: str
    ends: float
    result: dict[str, Any]

    @property
    def late(self) -> bool:
        return time.monotonic() > self.ends

    def write(self) -> None:
        applying.write_export(self.place, json.dumps(self.result, indent=1) + "\n")

    def case(self, name: str) -> dict[str, Any]:
        return self.result["cases"].setdefault(name, {"done": [], "cells": {}})  # type: ignore[no-any-return]


def plan_of(bench: Bench, shape: str, workload: Workload) -> Plan:
    """The plan for somebody who runs the naive setup today; no dry run, whose memory figures are not needed here."""
    sizes = ("goal", "batch", "prompt_tokens", "new_tokens", "repeats", "quantize", "mixed_lengths")
    told = {name: getattr(workload, name) for name in sizes}
    stated = {**cases.NAIVE, "device": bench.device}
    model = bench.models / shape if bench.device == "cpu" else shape
    return advisor.diagnose(model, setup=stated, machine=bench.machine, dry_run=False, **told)


def cell(plan: Plan, setup: Setup, run_seconds: float = RUN_SECONDS) -> dict[str, Any]:
    """One setup measured in a fresh process: seconds of a request, and of the whole process.

    Raises:
        DisturbedError: no run of several processes was left alone by other programs.
    """
    text = recipe(applying.subject(plan, None), setup)
    for _ in range(MOST_TRIES):
        began = time.monotonic()
        found = measure(sys.executable, text, True, run_seconds, LIMIT_SECONDS, PATIENCE_SECONDS)
        if isinstance(found, Failed) or found.quiet:
            return {**figures(found), "process_seconds": time.monotonic() - began, "at": time.time()}
    raise DisturbedError("other programs kept the processor busy all the time")


def figures(found: Measured | Failed) -> dict[str, Any]:
    """What is kept of a measurement."""
    match found:
        case Failed(stage, reason):
            return {"failed": f"{stage}: {reason}"}
        case Measured():
            told = found.to_json()
            names = ("request_seconds", "first_request_seconds", "load_seconds", "spread", "runs", "disturbed_runs")
            return {name: told[name] for name in names}
    raise AssertionError("a measurement is one of the two")


def grid(bench: Bench, name: str, plan: Plan) -> bool:
    """Measure what is not measured yet of a case; whether all is."""
    case = bench.case(name)
    case["workload"] = plan.workload.to_json()
    setups = cases.grid(plan.baseline, plan.workload, bench.device)
    if plan.setup not in setups.values():
        setups["plan"] = plan.setup
    case["plan"] = next(label for label, setup in setups.items() if setup == plan.setup)
    for label, setup in setups.items():
        if label in case["cells"]:
            continue
        if bench.late:
            return False
        case["cells"][label] = {"setup": set_knobs(setup), **cell(plan, setup)}
        bench.write()
        print(f"{name}: {label}: {shown(case['cells'][label])}", flush=True)
    return True


def shown(found: dict[str, Any]) -> str:
    said = found.get("failed") or f"{found['request_seconds']:.3f} s"
    return f"{said} (process {found['process_seconds']:.0f} s)"


def tune(bench: Bench, name: str, plan: Plan) -> bool:
    """Let `apply --tune` try, with the share of the grid's seconds that is allowed; whether it was done."""
    case = bench.case(name)
    if "grid" not in case["done"] or bench.late:
        return False
    before = os.environ[COMPILED_CODE]
    with tempfile.TemporaryDirectory(prefix="perf-advisor-bench-") as folder:
        os.environ[COMPILED_CODE] = folder
        found = tuning.tune(plan, sys.executable, None, print, SHARE * spent(case))
    os.environ[COMPILED_CODE] = before
    case["tuned"] = {**found.to_json(plan.baseline), "setup": set_knobs(found.winner or plan.setup)}
    print(f"{name}: {found.seconds:.0f} s of {spent(case):.0f} s", flush=True)
    return True


def spent(case: Mapping[str, Any]) -> float:
    """Seconds that the grid of a case took."""
    return float(sum(found["process_seconds"] for found in case["cells"].values()))


def finals(bench: Bench, name: str, plan: Plan) -> bool:
    """Measure the best ones again, in turn; whether all is done."""
    case = bench.case(name)
    if "tune" not in case["done"]:
        return False
    setups = finalists(case, plan)
    for number in range(ROUNDS):
        for label, setup in list(setups.items())[:: 1 if number % 2 == 0 else -1]:
            rows = case.setdefault("finals", {}).setdefault(label, [])
            if len(rows) > number or (rows and label == "naive"):
                continue
            if bench.late:
                return False
            rows.append(cell(plan, setup, FINAL_SECONDS))
            bench.write()
            print(f"{name}: final: {label}: {shown(rows[-1])}", flush=True)
    return True


def finalists(case: dict[str, Any], plan: Plan) -> dict[str, Setup]:
    """The naive setup, the plan, what tuning found, and the two best of the grid; each setup once."""
    setups = {**cases.grid(plan.baseline, plan.workload, str(plan.baseline.device)), "plan": plan.setup}
    ran = {label: found["request_seconds"] for label, found in case["cells"].items() if "failed" not in found}
    labels = dict.fromkeys(("naive", case["plan"], *sorted(ran, key=ran.__getitem__)[:BEST_OF_GRID]))
    found = {label: setups.get(label) or of_json(case["cells"][label]["setup"]) for label in labels}
    tuned = of_json(case["tuned"]["setup"])
    same = next((label for label, setup in {**setups, **found}.items() if setup == tuned and label != "plan"), None)
    case["tuned"]["label"] = same or "tuned"
    return {**found, case["tuned"]["label"]: tuned}


def set_knobs(setup: Setup) -> dict[str, Any]:
    return {knob: value for knob, value in setup.to_json().items() if value is not None}


def of_json(data: dict[str, Any]) -> Setup:
    mistakes: list[Mistake] = []
    setup = Setup().changed(read_change(data, "setup", mistakes))
    assert not mistakes, mistakes
    return setup


def lines(found: Mapping[str, Any]) -> list[str]:
    """A line for each case that is done, and the geometric means."""
    rows = {name: ratios(case) for name, case in found.items() if "finals" in case["done"]}
    said = [
        f"{name:26} " + "  ".join(f"{side} {value:.2f}" for side, value in row.items()) for name, row in rows.items()
    ]
    for side in ("tuned", "plan", "naive", "share of time"):
        if rows:
            middle = math.exp(statistics.fmean(math.log(row[side]) for row in rows.values()))
            said.append(f"{side}: {middle:.3f}")
    return said


def ratios(case: Mapping[str, Any]) -> dict[str, float]:
    """The best over each side in seconds of a request, from the finals; and tuning's share of the grid's seconds."""
    seconds = {
        label: statistics.median(one["request_seconds"] for one in rows)
        for label, rows in case["finals"].items()
        if all("failed" not in one for one in rows)
    }
    best = min(value for label, value in seconds.items() if label in case["cells"])
    sides = {"tuned": case["tuned"]["label"], "plan": case["plan"], "naive": "naive"}
    found = {side: best / seconds[label] for side, label in sides.items()}
    return {**found, "share of time": case["tuned"]["seconds"] / spent(case)}


STEPS = {"grid": grid, "tune": tune, "finals": finals}


def go_on(bench: Bench, wanted: Sequence[str], only: Sequence[str] | None = None) -> bool:
    """The wanted steps of every case that are not done, case by case; whether all are."""
    for shape, kind, workload in cases.of_device(bench.device):
        name = f"{shape}, {kind}"
        if only and name not in only:
            continue
        missing = [step for step in wanted if step not in bench.case(name)["done"]]
        if not missing:
            continue
        plan = plan_of(bench, shape, workload)
        for step in missing:
            if not STEPS[step](bench, name, plan):
                return False
            bench.case(name)["done"].append(step)
            bench.write()
    return True


def machine_at(place: Path, result: dict[str, Any]) -> Path:
    """The machine as a file; it is looked at once, in the first call, and stays what the result says it was."""
    if "machine" not in result:
        found = probe.machine(sys.executable)
        found |= speed.constants(sys.executable, found, lambda line: print(line, file=sys.stderr))
        result["machine"] = to_json(found)
    place.write_text(json.dumps({"schema": 1, "facts": result["machine"]}), encoding="utf-8")
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--steps", nargs="*", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases alone, like: 'llama-20m, one prompt'")
    parser.add_argument("--models", type=Path, help="where the model folders lie or are made (default: temporary)")
    parser.add_argument("--for-seconds", type=float, default=7200.0, help="begin no further setup after this long")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perf-advisor-bench-")))
        models = options.models or temporary / "models"
        # Every setup of the grid compiles anew, as a user's first run does; the finals find what it compiled.
        os.environ[COMPILED_CODE] = str(models / "compiled")
        if options.device == "cpu":
            cases.made(models)
        before = json.loads(options.result.read_text(encoding="utf-8")) if options.result.exists() else {"cases": {}}
        ends = time.monotonic() + options.for_seconds
        machine = machine_at(temporary / "machine.json", before)
        bench = Bench(options.result, models, machine, options.device, ends, before)
        try:
            done = go_on(bench, options.steps, options.only)
        except DisturbedError as error:
            print(error, file=sys.stderr)
            done = False
        print("\n".join(lines(bench.result["cases"])))
        if not done:
            raise SystemExit(NOT_DONE)


if __name__ == "__main__":
    main()
