"""Continuous batching beside padded batches: `python bench/continuous_cpu.py RESULT.json [--only SHAPE ...]`.

Prompts of mixed lengths, 8 and 16 of them, two types, random weights, on a CPU; what runs is the recipe of `apply`.
The prediction comes from what was measured of the machine, never of these models. Four minutes a shape on two cores;
a run that was ended goes on with the rows that RESULT.json lacks, `--again` predicts anew what stands there.
"""

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpu_speed import SHAPES, TYPES, described

from advisor import applying, baseline, probe
from advisor.estimate import formula
from advisor.facts import Facts, Vocabulary, from_json, to_json
from advisor.plan import ModelReference
from advisor.probe import speed
from advisor.run.figures import Failed
from advisor.run.measure import measure
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.setup import Setup
from advisor.vocabulary import DECLARATIONS
from advisor.workload import Workload

# Half of them in flight, and all; a few new tokens, and as many as prompts are long; steps that split prompts.
CASES: dict[str, tuple[int, int, dict[str, Any]]] = {
    "8 prompts": (8, 32, {}),
    "16 prompts": (16, 32, {}),
    "16 prompts, 4 in flight": (16, 32, {"batch_size": 4}),
    "16 prompts, small steps": (16, 96, {"max_batch_tokens": 256}),
}
PROMPT_TOKENS = 128
BATCHING = ("padded", "continuous")
RUN_SECONDS, LIMIT_SECONDS, PATIENCE_SECONDS = 3.0, 120.0, 5.0


def situation(case: str, dtype: str, batching: str, machine: Facts, model: Facts) -> tuple[Workload, Setup]:
    """What is asked of the model, and how; padded batches know no steps."""
    prompts, new, knobs = CASES[case]
    load = Workload(batch=prompts, prompt_tokens=PROMPT_TOKENS, new_tokens=new, mixed_lengths=True, repeats=True)
    mine = {name: value for name, value in knobs.items() if batching == "continuous" or name == "batch_size"}
    return load, baseline.baseline({"dtype": dtype, "batching": batching, **mine}, machine, model)[0]


def predicted(model: Facts, machine: Facts, load: Workload, setup: Setup) -> float | None:
    """New tokens a second over the whole request."""
    return formula.estimate(model, machine, load, setup).speed.total_tokens_per_second


def row(name: str, case: str, dtype: str, batching: str, machine: Facts, model: Facts) -> dict[str, Any]:
    """One setup, measured as `apply` does.

    Raises:
        SystemExit: the recipe failed.
    """
    load, setup = situation(case, dtype, batching, machine, model)
    subject = Subject(ModelReference("shape", name, None, True), load, True, SHAPES[name])
    found = measure(
        sys.executable, recipe(subject, setup), batching == "padded", RUN_SECONDS, LIMIT_SECONDS, PATIENCE_SECONDS
    )
    if isinstance(found, Failed):
        raise SystemExit(f"{name}, {dtype}, {case}, {batching}: {found.reason}\n{found.log}")
    figures = {"seconds": found.seconds, "total_tokens_per_second": found.total_tokens_per_second}
    told = {"model": name, "dtype": dtype, "case": case, "batching": batching}
    counts = {"runs": len(found.runs), "disturbed_runs": found.disturbed_runs}
    return {**told, **counts, "measured": figures, "predicted": predicted(model, machine, load, setup)}


def shown(entry: dict[str, Any]) -> str:
    measured, told = entry["measured"]["total_tokens_per_second"], entry["predicted"]
    about = f"{entry['model']:>10} {entry['dtype']:>8} {entry['case']:>24} {entry['batching']:>10}"
    share = (
        "  no prediction" if told is None else f"  predicted {told:7.1f}  predicted / measured {told / measured:4.2f}"
    )
    return f"{about}  measured {measured:7.1f}{share}  {entry['disturbed_runs']} of {entry['runs']} disturbed"


def again(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a result with today's predictions, from the machine and the models as they were recorded."""
    vocabulary = Vocabulary(DECLARATIONS)
    machine = from_json(result["machine"], vocabulary, "the recorded machine")
    models = {name: from_json(facts, vocabulary, name) for name, facts in result["models"].items()}
    rows = []
    for entry in result["rows"]:
        model = models[entry["model"]]
        told = situation(entry["case"], entry["dtype"], entry["batching"], machine, model)
        rows.append({**entry, "predicted": predicted(model, machine, *told)})
    return rows


def missing(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Shape, type, case and way of batching of every row that is not there yet."""
    there = {(entry["model"], entry["dtype"], entry["case"], entry["batching"]) for entry in rows}
    wanted = itertools.product(names, TYPES, CASES, BATCHING)
    return [told for told in wanted if told not in there]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result")
    parser.add_argument("--only", nargs="+", choices=list(SHAPES), default=["llama-20m", "qwen2-150m"])
    parser.add_argument("--again", action="store_true", help="predict anew and print, measure and write nothing")
    options = parser.parse_args()
    place = Path(options.result)
    if options.again:
        print("\n".join(map(shown, again(json.loads(place.read_text(encoding="utf-8"))))))
        return
    machine = probe.machine(sys.executable)
    machine = machine | speed.constants(sys.executable, machine, lambda line: print(line, file=sys.stderr))
    result = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {"models": {}, "rows": []}
    result["machine"] = to_json(machine)
    for name, dtype, case, batching in missing(options.only, result["rows"]):
        with tempfile.TemporaryDirectory() as folder:
            model = described(SHAPES[name], Path(folder))
        result["models"][name] = to_json(model)
        result["rows"].append(row(name, case, dtype, batching, machine, model))
        print(shown(result["rows"][-1]), flush=True)
        applying.write_export(place, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
