"""Static against continuous batching under load: `python bench/serving_cpu.py RESULT.json [--only MODEL ...]`.

Requests of all lengths arrive by chance at several rates; random weights, on a CPU; what runs is the recipe of
`apply --request-rate`. `transformers serve` takes part where its packages are installed. Two to four minutes a model on
two cores; a run that was ended goes on with the rows that RESULT.json lacks.
"""

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from cpu_speed import SHAPES
from packaging.version import Version

from advisor import applying
from advisor.plan import ModelReference
from advisor.run.figures import Failed
from advisor.run.measure import measure
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.setup import Setup
from advisor.workload import Arrivals, Workload

RATES = {"llama-20m": (2.0, 6.0, 12.0), "qwen2-150m": (0.5, 1.5, 3.0)}
"""Requests a second: few, many, and about as many as padded batches can answer."""
IN_FLIGHT, PROMPT_TOKENS, NEW_TOKENS, REQUESTS = 8, 128, 64, 32
WAYS: dict[str, dict[str, Any]] = {
    "one after another": {"batching": "loop"},
    "static batches": {"batching": "padded"},
    "continuous": {"batching": "continuous"},
    "serve, continuous": {"batching": "continuous", "engine": "serve"},
}
PACKAGES = ("fastapi", "openai", "uvicorn")
RUN_SECONDS, LIMIT_SECONDS, PATIENCE_SECONDS = 5.0, 200.0, 5.0


def row(model: str, rate: float, way: str) -> dict[str, Any]:
    """One way of serving, measured as `apply` does.

    Raises:
        SystemExit: the recipe failed.
    """
    load = Workload(
        batch=IN_FLIGHT, prompt_tokens=PROMPT_TOKENS, new_tokens=NEW_TOKENS, arrivals=Arrivals(REQUESTS, rate)
    )
    version = Version(importlib.metadata.version("transformers"))
    subject = Subject(ModelReference("shape", model, None, True), load, True, SHAPES[model], version)
    setup = Setup(device="cpu", dtype="bfloat16", attn_implementation="sdpa", **WAYS[way])
    found = measure(sys.executable, recipe(subject, setup), False, RUN_SECONDS, LIMIT_SECONDS, PATIENCE_SECONDS)
    if isinstance(found, Failed):
        raise SystemExit(f"{model}, {rate}, {way}: {found.reason}\n{found.log}")
    told = found.to_json()
    kept = ("serving", "runs", "disturbed_runs", "peak_bytes", "threads", "versions")
    return {"model": model, "rate": rate, "way": way, **{name: told[name] for name in kept}}


def shown(entry: dict[str, Any]) -> str:
    found = entry["serving"]
    figures = "  ".join(f"{found[name]:7.3f}" for name in found if name.endswith("seconds"))
    about = f"{entry['model']:>10} {entry['rate']:5.1f}/s {entry['way']:>18}"
    return f"{about}  {figures}  {found['tokens_per_second']:6.1f} tokens/s  {entry['disturbed_runs']} disturbed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result")
    parser.add_argument("--only", nargs="+", choices=list(RATES), default=list(RATES))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    options = parser.parse_args()
    place = Path(options.result)
    result = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {"rows": []}
    result["load"] = {"in_flight": IN_FLIGHT, "prompt_tokens": PROMPT_TOKENS, "new_tokens": NEW_TOKENS}
    served = all(importlib.util.find_spec(name) for name in PACKAGES)
    there = {(entry["model"], entry["rate"], entry["way"]) for entry in result["rows"]}
    for model in options.only:
        for rate, way in itertools.product(RATES[model], options.ways):
            if (model, rate, way) in there or ("engine" in WAYS[way] and not served):
                continue
            result["rows"].append(row(model, rate, way))
            print(shown(result["rows"][-1]), flush=True)
            result["rows"].sort(
                key=lambda one: (list(RATES).index(one["model"]), one["rate"], list(WAYS).index(one["way"]))
            )
            applying.write_export(place, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
