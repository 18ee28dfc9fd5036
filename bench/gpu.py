"""Predicted before measured, on a GPU: `python bench/gpu.py RESULT.json [--shapes NAME ...] [--seconds N]`.

Ten shapes from 0.6 to 32 billion parameters with random weights, attention eager, sdpa and sdpa with a compiled static
cache, weights in bf16, int8 and nf4: memory that the allocator gave out, that it took from the device, and that the
process holds there; decoding and time to first token. Each setup runs in a fresh process by the same recipe and worker
that `apply` uses, and is predicted before it starts, memory by dry run where one tells. What is predicted not to fit is
not run, and listed. RESULT.json is written after every setup; what stands there is not run again, so that a bench that
was ended goes on where it stopped. Without a GPU only `--device cpu` runs, which tries the program and not the GPU.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from advisor import applying, baseline, probe, subjects
from advisor.conflicts import conflict
from advisor.errors import PlanError
from advisor.estimate import devices, formula
from advisor.estimate.dryrun import ask
from advisor.estimate.dryrun import estimate as dryrun
from advisor.facts import Facts, to_json
from advisor.plan import Estimate
from advisor.probe import model as models
from advisor.probe import shapes, speed
from advisor.run.figures import Failed, Measured
from advisor.run.measure import measure
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.setup import Setup
from advisor.workload import Workload

SHAPES = (
    *("qwen3-0.6b", "llama-3.2-1b", "qwen2.5-1.5b", "llama-3.2-3b", "gemma-3-4b", "mistral-7b-v0.3", "llama-3.1-8b"),
    *("qwen2.5-14b", "mistral-small-24b", "qwen2.5-32b"),
)
WAYS: Mapping[str, Mapping[str, str]] = {
    "eager": {"attn_implementation": "eager", "compile": "none"},
    "sdpa": {"attn_implementation": "sdpa", "compile": "none"},
    "compiled static": {"attn_implementation": "sdpa", "cache_implementation": "static", "compile": "generate"},
}
WEIGHTS = {"bf16": "none", "int8": "bnb_int8", "nf4": "bnb_nf4"}
WORKLOAD = Workload(batch=1, prompt_tokens=512, new_tokens=64)
RUN_SECONDS, LIMIT_SECONDS = 5.0, 580.0
SPEEDS = ("ttft_seconds", "decode_tokens_per_second", "total_tokens_per_second")
BYTES = ("allocated_bytes", "reserved_bytes", "process_bytes")


def setups(machine: Facts, model: Facts, device: str) -> dict[str, Setup]:
    """Every setup by its name; those whose knobs do not go together are left out."""
    plain, _ = baseline.baseline({"dtype": "bfloat16", "device": device}, machine, model)
    found = {
        f"{way}, {kept}": plain.changed({**knobs, "quantization": scheme})
        for kept, scheme in WEIGHTS.items()
        for way, knobs in WAYS.items()
    }
    return {name: setup for name, setup in found.items() if conflict(setup) is None}


def predicted(name: str, model: Facts, machine: Facts, asked: Mapping[str, Setup]) -> dict[str, Estimate]:
    """The estimate of every setup, memory by dry run where one tells; one child process for all."""
    config = shapes.load(name).config
    versions = {part: version for part in ("torch", "transformers") if (version := machine.text(f"{part}.version"))}
    rough = {setup: formula.estimate(model, machine, WORKLOAD, setup) for setup in asked.values()}
    found = dryrun.closer(
        model, machine, WORKLOAD, rough, lambda cases: ask.ask(config, cases, sys.executable, versions)
    )
    return {key: found[setup] for key, setup in asked.items()}


def row(subject: Subject, setup: Setup, told: Estimate, device: str) -> dict[str, Any]:
    """Predicted and measured figures of one setup, or why it was not measured."""
    memory, basis = told.memory, {"basis": told.basis, "basis_note": told.basis_note}
    about = {
        **basis,
        "predicted": {**{name: getattr(told.speed, name) for name in SPEEDS}, "bytes": memory.total_bytes},
    }
    about["predicted"]["allocated_bytes"] = allocated(told)
    if memory.fits is False:
        return {**about, "not_run": "is predicted not to fit"}
    try:
        text = recipe(subject, setup)
    except PlanError as error:
        return {**about, "not_run": "; ".join(map(str, error.mistakes))}
    match measure(sys.executable, text, True, RUN_SECONDS, LIMIT_SECONDS):
        case Failed(stage, reason):
            return {**about, "failed": f"{stage}: {reason}"}
        case Measured() as found:
            return {**about, "measured": figures(found, device)}


def allocated(told: Estimate) -> int | None:
    """What torch's allocator should give out: the total without what the process takes beside it."""
    memory = told.memory
    if memory.total_bytes is None or memory.overhead_bytes is None:
        return None
    return memory.total_bytes - memory.overhead_bytes


def figures(found: Measured, device: str) -> dict[str, Any]:
    """Speeds as medians of the undisturbed runs; peaks of the allocator, and what is in use on the device by all."""
    peak = found.run_peak
    sizes = {
        "allocated_bytes": peak.allocated_bytes,
        "reserved_bytes": peak.reserved_bytes,
        "process_bytes": peak.used_by_all_bytes if device != "cpu" else peak.resident_bytes,
        "load_allocated_bytes": found.load_peak.allocated_bytes,
    }
    told = found.to_json()
    return {**{name: told[name] for name in SPEEDS}, **sizes, "runs": told["runs"], "spread": found.spread}


def errors(rows: Sequence[Mapping[str, Any]], figure: str, against: str | None = None) -> list[float]:
    """Predicted over measured, less one, of every row that has both."""
    pairs = [
        (entry["predicted"].get(figure), entry["measured"].get(against or figure))
        for entry in rows
        if "measured" in entry
    ]
    return [told / found - 1 for told, found in pairs if told and found]


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each figure: runs, median error, the worst."""
    lines = []
    for label, figure, against in (
        ("allocated memory", "allocated_bytes", None),
        ("memory in use on the device", "bytes", "process_bytes"),
        *((name.replace("_", " "), name, None) for name in SPEEDS),
    ):
        found = sorted(abs(error) for error in errors(rows, figure, against))
        if found:
            lines.append(f"{label:32} median {statistics.median(found):6.1%}  worst {found[-1]:6.1%}  of {len(found)}")
    return lines


def shown(entry: Mapping[str, Any]) -> str:
    about = f"{entry['shape']}, {entry['setup']} ({entry['basis']})"
    for name in ("not_run", "failed"):
        if name in entry:
            return f"{about}: {name.replace('_', ' ')}: {entry[name]}"
    found = {"memory": errors([entry], "allocated_bytes") or errors([entry], "bytes", "process_bytes")}
    found |= {"ttft": errors([entry], "ttft_seconds"), "decode": errors([entry], "decode_tokens_per_second")}
    return f"{about}: " + ", ".join(f"{name} {values[0]:+.1%}" for name, values in found.items() if values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("result", type=Path)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=shapes.names(), metavar="NAME")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=3600.0, help="begin no further setup after this long")
    options = parser.parse_args()
    ends = time.monotonic() + options.seconds
    machine = probe.machine(sys.executable)
    if options.device == "cuda" and not machine.is_true("torch.sees_gpu"):
        raise SystemExit("torch finds no GPU here; --device cpu tries the program without one")
    machine = machine | speed.constants(sys.executable, machine, lambda line: print(line, file=sys.stderr))
    machine = machine | devices.rates(machine)
    rows = json.loads(options.result.read_text())["rows"] if options.result.exists() else []
    done = {(entry["shape"], entry["setup"]) for entry in rows}
    for name in options.shapes:
        reference, model = models.find(name, sys.executable)
        asked = {key: setup for key, setup in setups(machine, model, options.device).items() if (name, key) not in done}
        if not asked or time.monotonic() > ends:
            continue
        subject = Subject(
            reference, WORKLOAD, True, shapes.load(name).config, subjects.version_of("transformers", machine)
        )
        for key, told in predicted(name, model, machine, asked).items():
            if time.monotonic() > ends:
                break
            rows.append({"shape": name, "setup": key, **row(subject, asked[key], told, options.device)})
            print(shown(rows[-1]), flush=True)
            kept = {"workload": WORKLOAD.to_json(), "machine": to_json(machine), "rows": rows}
            applying.write_export(options.result, json.dumps(kept, indent=1) + "\n")
    print("\n".join(summary(rows)))


if __name__ == "__main__":
    main()
