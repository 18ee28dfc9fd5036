"""The closed formula held against the dry run: `python bench/formula_held.py > bench/results/formula-held.json`.

Every shipped shape that generates, in bfloat16, with eager and SDPA attention, one prompt and eight, of 512 and 4096
tokens, 32 new ones: what the model's own code stores and needs, run without memory, and what the formula says.
The overhead of a process is left out, which both take from the same place. A quarter of an hour where nothing is kept,
seconds afterwards. `--shapes NAME ...` runs those alone.
"""

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

from advisor.estimate.dryrun.ask import Case, DryRun, Outcome, ask
from advisor.estimate.memory import memory
from advisor.facts import Facts, Known
from advisor.probe import anatomy, shapes
from advisor.setup import Setup
from advisor.workload import Workload

CHILDREN = 2
NEW_TOKENS = 32
CASES = tuple(
    Case("bfloat16", attention, "dynamic", rows, prompt, NEW_TOKENS, False)
    for attention, rows, prompt in itertools.product(("eager", "sdpa"), (1, 8), (512, 4096))
)
FIGURES = ("weights", "kv_cache", "kv_cache_peak", "activation_peak", "total")
WORDS = {
    "weights": "weights",
    "kv_cache": "KV cache at the end",
    "kv_cache_peak": "KV cache at its largest",
    "activation_peak": "activations",
    "total": "in all",
}


def generating() -> list[str]:
    """The shipped shapes that generate text."""
    return [name for name in shapes.names() if not shapes.load(name).anatomy.is_encoder]


def held(found: DryRun) -> dict[str, int]:
    """The figures of a dry run, in bytes, as a plan takes them."""
    last = found.last_step or found.prompt
    return {
        "weights": found.weights_held_bytes,
        "kv_cache": last.cache_bytes,
        "kv_cache_peak": max(one.cache_bytes for one in found.passes),
        "activation_peak": max(one.beside_bytes for one in found.passes),
        "total": found.weights_held_bytes + max(one.peak_bytes for one in found.passes),
    }


def by_formula(name: str, case: Mapping[str, Any], version: str) -> dict[str, int | None]:
    """The same figures by the formula, in bytes; None where it does not know one."""
    model = anatomy.facts(shapes.load(name).anatomy) | Facts({"model.checkpoint_quantization": Known("none", "shape")})
    machine = Facts(
        {"transformers.version": Known(version, "bench"), "host.ram_available_bytes": Known(2**50, "bench")}
    )
    load = Workload(batch=case["rows"], prompt_tokens=case["prompt_tokens"], new_tokens=case["new_tokens"])
    setup = Setup(
        device="cpu",
        dtype=case["dtype"],
        attn_implementation=case["attn_implementation"],
        cache_implementation=case["cache"],
        batching="padded",
        batch_size=case["rows"],
    )
    found = memory(model, machine, load, setup)
    total = None
    if found.total_bytes is not None and found.overhead_bytes is not None:
        total = found.total_bytes - found.overhead_bytes
    return {
        "weights": found.weights_bytes,
        "kv_cache": found.kv_cache_bytes,
        "kv_cache_peak": found.kv_cache_peak_bytes,
        "activation_peak": found.activation_peak_bytes,
        "total": total,
    }


def errors(row: Mapping[str, Any], version: str) -> dict[str, float | None]:
    """The formula over the dry run less one, by figure; None where the formula does not know."""
    said, real = by_formula(row["shape"], row, version), row["dry_run"]
    return {name: None if (one := said[name]) is None else one / max(1, real[name]) - 1 for name in FIGURES}


def asked(name: str, versions: Mapping[str, str]) -> list[dict[str, Any]]:
    """The dry runs of one shape, each with the case that it belongs to."""
    print(f"{name}\n", end="", file=sys.stderr, flush=True)
    outcomes: list[Outcome] = []
    shape = shapes.load(name)
    # A child has a minute: four cases, or one of a model whose code goes through the prompt in a loop.
    most = 1 if "linear_attention" in (shape.anatomy.cache_layers or ()) else 4
    for first in range(0, len(CASES), most):
        outcomes += ask(shape.config, CASES[first : first + most], sys.executable, versions)
    return [row(name, case, found) for case, found in zip(CASES, outcomes, strict=True)]


def row(name: str, case: Case, found: Outcome) -> dict[str, Any]:
    about = {
        "shape": name,
        "dtype": case.dtype,
        "attn_implementation": case.attn_implementation,
        "cache": case.cache,
        "rows": case.rows,
        "prompt_tokens": case.prompt_tokens,
        "new_tokens": case.new_tokens,
    }
    if not isinstance(found, DryRun):
        return {**about, "error": found.reason}
    return {**about, "dry_run": held(found), "at": found.prompt.at, "attention": list(found.prompt.attention)}


def summary(found: Sequence[float | None]) -> dict[str, float] | None:
    """Count, median and tails of the errors without their signs; None of none."""
    sizes = sorted(abs(error) for error in found if error is not None)
    if not sizes:
        return None
    tails = {f"p{share}": sizes[min(len(sizes) - 1, len(sizes) * share // 100)] for share in (90, 95)}
    return {"count": len(sizes), "median": statistics.median(sizes), **tails, "most": sizes[-1]}


def tables(rows: Sequence[dict[str, Any]], version: str) -> dict[str, list[dict[str, Any]]]:
    """A line for all, for each way of running, and for each shape, as docs/make_accuracy.py takes it."""
    groups: dict[str, list[dict[str, float | None]]] = {"all": []}
    for one in rows:
        if "dry_run" not in one:
            continue
        found = errors(one, version)
        for name in ("all", f"{one['attn_implementation']}, {one['rows']} x {one['prompt_tokens']}", one["shape"]):
            groups.setdefault(name, []).append(found)
    lines = [
        {"runs": name, **{WORDS[figure]: summary([one[figure] for one in own]) for figure in FIGURES}}
        for name, own in groups.items()
        if own
    ]
    return {"Formula against dry run": lines}


def result(rows: Sequence[dict[str, Any]], versions: Mapping[str, str]) -> dict[str, Any]:
    """What is kept."""
    failed: dict[str, list[str]] = {}
    for one in rows:
        if "error" in one:
            failed.setdefault(one["error"][:120], []).append(f"{one['shape']} {one['attn_implementation']}")
    lacking = "; ".join(f"{', '.join(dict.fromkeys(names))} ({why})" for why, names in failed.items())
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    count = len({one["shape"] for one in rows})
    about = (
        f"`bench/formula_held.py`, {named}: {count} shipped shapes in bfloat16, with eager and SDPA attention, one "
        f"prompt and eight, of 512 and 4096 tokens, {NEW_TOKENS} new ones. The formula's bytes over those of the "
        "model's own code, run without memory; no process's overhead in either. A test holds every case within 3 % or "
        f"has the reason why not. Not compared: {lacking or 'none'}."
    )
    return {
        "title": "The formula against the dry run",
        "about": about,
        "tables": tables(rows, versions["transformers"]),
        "versions": dict(versions),
        "rows": list(rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shapes", nargs="+", default=generating())
    names = parser.parse_args().shapes
    versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    with ThreadPoolExecutor(CHILDREN) as pool:
        found = list(pool.map(lambda name: asked(name, versions), names))
    print(json.dumps(result([one for rows in found for one in rows], versions), indent=1))


if __name__ == "__main__":
    main()
