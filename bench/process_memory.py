"""Predicted against measured memory of whole processes on this CPU: `python bench/process_memory.py > RESULT.json`.

Shipped shapes of 135 million to 1.4 billion parameters with constant weights, made in memory without reading a file:
the process's highest resident memory, by the formula, by the dry run, and as the kernel counted it. A few minutes.
Each answers two calls, since malloc's heap grows with calls. `--seconds N` starts no further process after N seconds;
`--keep RESULT` keeps the rows of an earlier result beside the new ones: the same program does not peak twice alike.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from formula_held import by_formula, held, summary

from advisor import child
from advisor.estimate.dryrun.ask import QUIET_ENVIRONMENT, Case, DryRun, ask
from advisor.probe import shapes

PROGRAM = Path(__file__).with_name("inside_process_memory.py")
LIMIT_SECONDS = 150
RUNS = (
    ("smollm2-135m", "float32", "sdpa", 1, 512),
    ("smollm2-135m", "bfloat16", "sdpa", 8, 512),
    ("smollm2-135m", "float32", "eager", 4, 512),
    ("gpt-2", "float32", "sdpa", 4, 512),
    ("gpt-2", "bfloat16", "eager", 8, 256),
    ("smollm2-360m", "float32", "sdpa", 4, 256),
    ("smollm2-360m", "bfloat16", "eager", 2, 512),
    ("qwen2.5-0.5b", "bfloat16", "sdpa", 1, 256),
    ("qwen2.5-0.5b", "float32", "sdpa", 2, 256),
    ("bloom-560m", "bfloat16", "eager", 2, 256),
    ("bloom-560m", "float32", "eager", 1, 256),
    ("qwen3-0.6b", "bfloat16", "sdpa", 4, 128),
    ("gemma-3-1b", "bfloat16", "sdpa", 1, 128),
    ("llama-3.2-1b", "bfloat16", "sdpa", 1, 128),
    ("opt-1.3b", "bfloat16", "sdpa", 2, 128),
    ("pythia-1.4b", "bfloat16", "eager", 1, 128),
)
"""Shape, type, attention, prompts and their tokens; four new ones each."""


def compared(run: tuple[str, str, str, int, int], versions: dict[str, str]) -> dict[str, Any]:
    """One process: measured, and predicted beside what it took before the model."""
    name, dtype, attention, rows, prompt = run
    case = Case(dtype, attention, "dynamic", rows, prompt, 4, False)
    config = dict(shapes.load(name).config)
    about = {"shape": name, "dtype": dtype, "attn_implementation": attention, "cache": "dynamic",
             "rows": rows, "prompt_tokens": prompt, "new_tokens": 4}  # fmt: skip
    said = ask(config, (case,), sys.executable, versions)[0]
    request = {"config": config, "dtype": dtype, "attn": attention, "rows": rows, "prompt_tokens": prompt,
               "new_tokens": 4}  # fmt: skip
    quiet = {**QUIET_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    match child.run(sys.executable, PROGRAM, request, LIMIT_SECONDS, quiet):
        case child.Died(reason):
            return {**about, "error": reason}
        case child.Answered(answer=answer):
            start, peak = answer["start_bytes"], answer["peak_bytes"]
    told = by_formula(name, about, versions["transformers"])
    total, weights = told["total"], told["weights"]
    factors = {"formula": None if total is None else peak / (total + start)}
    factors["dry run"] = peak / (held(said)["total"] + start) if isinstance(said, DryRun) else None
    moving = None if total is None or weights is None else total - weights
    measured = {name: answer[name] for name in ("loaded_bytes", "first_peak_bytes", "heap_free_bytes")}
    return {**about, "calls": 2, "start_bytes": start, **measured, "measured_bytes": peak, "moving_bytes": moving,
            "measured_over_predicted": factors}  # fmt: skip


def _kept(done: Sequence[dict[str, Any]]) -> str:
    """What processes took beside the prediction, over cache and activations."""
    shares = sorted(
        row["measured_bytes"] * (1 - 1 / row["measured_over_predicted"]["formula"]) / row["moving_bytes"]
        for row in done
        if row["moving_bytes"]
    )
    return f"{shares[0]:.2f} to {shares[-1]:.2f} (median {statistics.median(shares):.2f}) of cache and activations"


def result(rows: list[dict[str, Any]], versions: dict[str, str]) -> dict[str, Any]:
    """What is kept, as docs/make_accuracy.py takes it."""
    done = [row for row in rows if "measured_over_predicted" in row]
    ways = ("formula", "dry run")
    factors = {way: [one for row in done if (one := row["measured_over_predicted"][way]) is not None] for way in ways}
    between = "; ".join(
        f"{way}: from {min(found) - 1:+.1%} to {max(found) - 1:+.1%}" for way, found in factors.items() if found
    )
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    lacking = "; ".join(f"{row['shape']} ({row['error'][:80]})" for row in rows if "error" in row)
    about = (
        f"`bench/process_memory.py`, {platform.machine()}, {os.cpu_count()} cores, one thread, {named}: {len(done)} "
        "processes with the shipped shapes below, 135 million parameters and more, no file read, "
        f"{sum(row['calls'] > 1 for row in done)} of them with two calls of generate, the others with one. The highest "
        f"resident memory, measured over predicted, {between}. What lies above is {_kept(done)}: holes in malloc's "
        f"heap, which the band allows for. Not measured: {lacking or 'none'}."
    )
    lines: list[dict[str, Any]] = []
    for name in ("all", *dict.fromkeys(row["shape"] for row in done)):
        own = [row["measured_over_predicted"] for row in done if name in ("all", row["shape"])]
        errors = {way: [1 / one[way] - 1 for one in own if one[way] is not None] for way in ways}
        lines.append({"runs": name, **{way: summary(found) for way, found in errors.items()}})
    return {
        "title": "Memory of whole processes on a CPU",
        "about": about,
        "tables": {"Highest resident memory": lines},
        "versions": versions,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--only", type=int, nargs="+", default=range(len(RUNS)), help="numbers of runs, from 0")
    parser.add_argument("--keep", type=Path, help="an earlier result whose rows are kept")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    rows = json.loads(options.keep.read_text(encoding="utf-8"))["rows"] if options.keep else []
    for run in (RUNS[number] for number in options.only):
        if time.monotonic() > end:
            break
        rows.append(compared(run, versions))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps(result(rows, versions), indent=1))


if __name__ == "__main__":
    main()
