"""Predicted against measured speed on this machine: `python bench/cpu_speed.py [RESULT.json]`.

Two small models with random weights, two types, one and eight prompts, each in a fresh process by the same recipe and
worker that `apply` uses. Prints a table and the median error; writes the rows with machine and versions. A few minutes
on an idle machine; rows that other programs disturbed are marked and not counted.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from advisor import applying, baseline, child, probe
from advisor import run as running
from advisor.estimate import formula
from advisor.facts import Facts, to_json
from advisor.plan import ModelReference
from advisor.probe import model as models
from advisor.probe import speed
from advisor.run.figures import Failed, Measured
from advisor.run.measure import measure
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.workload import Workload

SIZES = ("20m", "150m")
TYPES = ("float32", "bfloat16")
BATCHES = (1, 8)
PROMPT_TOKENS, NEW_TOKENS = 128, 32
RUN_SECONDS, PATIENCE_SECONDS, LIMIT_SECONDS = 5.0, 20.0, 600.0
FIGURES = ("ttft_seconds", "decode_tokens_per_second", "total_tokens_per_second")


def made(size: str, folder: Path) -> tuple[ModelReference, Facts]:
    """A model of this size in `folder`, and what the probe says of it."""
    program = Path(running.__path__[0]) / "inside_demo_model.py"
    match child.run(sys.executable, program, {"folder": str(folder / size), "size": size}, LIMIT_SECONDS):
        case child.Died(reason):
            raise SystemExit(f"{size}: the model cannot be made: {reason}")
    return models.find(str(folder / size), sys.executable)


def row(reference: ModelReference, model: Facts, machine: Facts, dtype: str, batch: int) -> dict[str, Any]:
    """Predicted and measured figures of one setup."""
    workload = Workload(batch=batch, prompt_tokens=PROMPT_TOKENS, new_tokens=NEW_TOKENS)
    setup, _ = baseline.baseline({"dtype": dtype}, machine, model)
    told = formula.estimate(model, machine, workload, setup)
    text = recipe(Subject(reference, workload, random_weights=False), setup)
    found = measure(sys.executable, text, True, RUN_SECONDS, LIMIT_SECONDS, PATIENCE_SECONDS)
    about = {"dtype": dtype, "batch": batch}
    match found:
        case Failed(stage, reason):
            return {**about, "failed": f"{stage}: {reason}"}
        case Measured():
            measured = found.to_json()
    return {
        **about,
        "disturbed_runs": measured["disturbed_runs"],
        "runs": measured["runs"],
        "predicted": {name: getattr(told.speed, name) for name in FIGURES} | {"bytes": told.memory.total_bytes},
        "measured": {name: measured[name] for name in FIGURES} | {"bytes": measured["peak_bytes"]},
    }


def main() -> None:
    machine = probe.machine(sys.executable)
    machine = machine | speed.constants(sys.executable, machine, lambda line: print(line, file=sys.stderr))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            reference, model = made(size, Path(folder))
            for dtype in TYPES:
                for batch in BATCHES:
                    rows.append({"model": size, **row(reference, model, machine, dtype, batch)})
                    print(shown(rows[-1]), flush=True)
    counted = [entry for entry in rows if "measured" in entry and entry["runs"] > entry["disturbed_runs"]]
    errors = {name: sorted(abs(error(entry, name)) for entry in counted) for name in (*FIGURES, "bytes")}
    for name, found in errors.items():
        print(f"{name:26} median {statistics.median(found):6.1%}   worst {found[-1]:6.1%}   of {len(found)}")
    if len(sys.argv) > 1:
        applying.write_export(
            Path(sys.argv[1]), json.dumps({"machine": to_json(machine), "rows": rows}, indent=1) + "\n"
        )


def error(entry: dict[str, Any], name: str) -> float:
    """Predicted over measured, less one."""
    return float(entry["predicted"][name] / entry["measured"][name] - 1)


def shown(entry: dict[str, Any]) -> str:
    about = f"{entry['model']:>5} {entry['dtype']:>8} batch {entry['batch']}"
    if "failed" in entry:
        return f"{about}  failed: {entry['failed']}"
    names = (*FIGURES, "bytes")
    pairs = [f"{name.split('_')[0]} {entry['measured'][name]:.3g} ({error(entry, name):+.0%})" for name in names]
    return f"{about}  " + "  ".join(pairs) + f"  {entry['disturbed_runs']} of {entry['runs']} disturbed"


if __name__ == "__main__":
    main()
