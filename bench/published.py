"""Hold the formula against published measurements, beside the rules of thumb that other estimators use.

    python bench/published.py RUNS.jsonl [RESULT.json]

`published_runs.py` says what RUNS.jsonl holds. Errors are of the absolute, by family of models and release. Memory: the
peak of torch's allocator against weights alone (what `accelerate estimate-memory` gives), weights x 1.2, weights and
keys and values, and the formula. Speed: bandwidth x 0.55 / weights, bandwidth / weights, the formula by the device's
name alone, and the formula with the host's time per layer taken from one run (the fastest plain one of one prompt) of
the same publication, GPU and attention, which is then left out.
"""

import hashlib
import json
import statistics
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from published_runs import Run, read

from advisor import applying
from advisor.estimate import devices, formula
from advisor.estimate.room import CONTEXT_BYTES
from advisor.estimate.weights import weights_bytes
from advisor.facts import Fact, Facts, Known
from advisor.plan import Estimate

RULE_BANDWIDTH_SHARE = 0.55
RULE_MEMORY_FACTOR = 1.2
ACCELERATE_SHARE = {"gptq": 0.25, "awq": 0.25, "bnb_nf4": 0.25, "bnb_nf4_double": 0.25, "bnb_int8": 0.5}
"""`accelerate estimate-memory` takes every weight at the type that is asked for: int4 is a quarter of 16 bits."""
EIGHT_BITS = 6.0
TRIED_HOST_SECONDS = [step * 1e-5 for step in range(20, 250)]

Error = Callable[[Run], float | None]


def estimate(run: Run, host_seconds: float | None = None) -> Estimate:
    """The formula's estimate, with the host's time per layer where it is known."""
    measured: dict[str, Fact] = {}
    if host_seconds is not None:
        measured = {
            "speed.device": Known(run.machine.text("gpu.name") or "", "published"),
            "speed.layer_host_seconds": Known(host_seconds, "published"),
        }
    return formula.estimate(run.model, run.machine | Facts(measured), run.workload, run.setup)


def rate_error(run: Run, host_seconds: float | None = None) -> float | None:
    """Predicted speed over published speed, less one."""
    speed = estimate(run, host_seconds).speed
    told = speed.decode_tokens_per_second if run.rate_is_of_decoding else speed.total_tokens_per_second
    return told / run.rate - 1 if told and run.rate else None


def roofline_error(run: Run, share: float) -> float | None:
    """The same for a share of the bandwidth over the weights, times the batch."""
    weights = weights_bytes(run.model, run.machine, run.setup, "cuda")
    bandwidth = devices.rates(run.machine).number(devices.BANDWIDTH)
    if not weights or not bandwidth or not run.rate:
        return None
    return run.workload.batch * share * bandwidth / weights / run.rate - 1


def memory_error(run: Run) -> float | None:
    """Predicted peak without the CUDA context, over the published peak of the allocator, less one."""
    total = estimate(run).memory.total_bytes
    return (total - CONTEXT_BYTES) / run.peak_bytes - 1 if run.peak_bytes and total is not None else None


def weights_error(run: Run, factor: float) -> float | None:
    """The same for the weights times a factor."""
    weights = weights_bytes(run.model, run.machine, run.setup, "cuda")
    return factor * weights / run.peak_bytes - 1 if weights and run.peak_bytes else None


def accelerate_error(run: Run) -> float | None:
    """The same for what `accelerate estimate-memory` prints as total size."""
    parameters, kind = run.model.count("model.parameters"), run.stored or run.setup.quantization or "none"
    if not parameters or not run.peak_bytes:
        return None
    share = ACCELERATE_SHARE.get(kind, 1.0)
    stored, linear = run.model.count("model.checkpoint_bytes"), run.model.count("model.parameters_linear")
    if kind == "gptq" and stored and linear and 8 * (stored - 2 * (parameters - linear)) / linear > EIGHT_BITS:
        share = 0.5
    return 2 * parameters * share / run.peak_bytes - 1


def cached_error(run: Run) -> float | None:
    """The same for weights and the cache at the end."""
    memory = estimate(run).memory
    if not run.peak_bytes or memory.weights_bytes is None or memory.kv_cache_bytes is None:
        return None
    return (memory.weights_bytes + memory.kv_cache_bytes) / run.peak_bytes - 1


MEMORY: dict[str, Error] = {
    "accelerate estimate-memory": accelerate_error,
    "weights x 1.2": partial(weights_error, factor=RULE_MEMORY_FACTOR),
    "weights + KV": cached_error,
    "perf-advisor": memory_error,
}
SPEED: dict[str, Error] = {
    "bandwidth x 0.55": partial(roofline_error, share=RULE_BANDWIDTH_SHARE),
    "pure roofline": partial(roofline_error, share=1.0),
    "perf-advisor, device by name": rate_error,
}
HOST_KNOWN = "perf-advisor, host known"


def host_seconds(runs: Sequence[Run]) -> tuple[float, Run] | None:
    """The host's time per layer that explains the fastest plain run of one prompt best, and that run.

    None where that run does not wait for its host: it says nothing of it then.
    """
    single = [run for run in runs if run.plain and run.workload.batch == 1 and rate_error(run) is not None]
    if not single:
        return None
    anchor = max(single, key=lambda run: run.rate or 0.0)
    seconds = min(TRIED_HOST_SECONDS, key=lambda tried: abs(rate_error(anchor, tried) or 0.0))
    return (seconds, anchor) if estimate(anchor, seconds).speed.bound == "host" else None


def known_hosts(runs: Sequence[Run]) -> Callable[[Run], float | None]:
    """The host's time per layer of each run, where another run of the same host tells it."""
    hosts: dict[Any, list[Run]] = defaultdict(list)
    for run in runs:
        hosts[run.host].append(run)
    known = {host: host_seconds(of_host) for host, of_host in hosts.items()}

    def seconds(run: Run) -> float | None:
        found = known[run.host]
        return None if found is None or run is found[1] else found[0]

    return seconds


def with_host(runs: Sequence[Run]) -> Error:
    """The error of the formula when the host of each run is known from another run of the same host."""
    seconds_of = known_hosts(runs)

    def error(run: Run) -> float | None:
        seconds = seconds_of(run)
        return None if seconds is None else rate_error(run, seconds)

    return error


def bands(runs: Sequence[Run]) -> dict[str, dict[str, float | int]]:
    """How many figures were published, and the share of them that lies in the band that is predicted with each."""
    seconds_of = known_hosts(runs)
    inside: dict[str, list[bool]] = defaultdict(list)
    for run in runs:
        told, error = estimate(run), memory_error(run)
        if error is not None and run.peak_bytes and told.memory.total_bytes and told.memory_band:
            low, high = told.memory_band
            inside["memory"].append(low <= (run.peak_bytes + CONTEXT_BYTES) / told.memory.total_bytes <= high)
        for name, seconds in (("speed, device by name", None), ("speed, host known", seconds_of(run))):
            error = rate_error(run, seconds)
            band = estimate(run, seconds).speed_band
            if error is not None and band and (seconds is not None or name.endswith("name")):
                inside[name].append(band[0] <= 1 / (1 + error) <= band[1])
    return {name: {"count": len(found), "inside": round(sum(found) / len(found), 4)} for name, found in inside.items()}


def result(runs: Sequence[Run]) -> dict[str, Any]:
    """The errors of every way to estimate: by group of runs, and over all."""
    speed = SPEED | {HOST_KNOWN: with_host(runs)}
    single = [run for run in runs if run.workload.batch == 1]
    several = [run for run in runs if run.workload.batch > 1]
    return {
        "memory": _by_group(runs, MEMORY),
        "speed, one prompt": _by_group(single, speed),
        "speed, several prompts": _by_group(several, speed),
    }


def _by_group(runs: Sequence[Run], ways: dict[str, Error]) -> list[dict[str, Any]]:
    groups: dict[str, list[Run]] = {"all": list(runs)}
    for run in runs:
        groups.setdefault(run.group, []).append(run)
    found = [
        {"runs": name, **{way: summary(of_group, error) for way, error in ways.items()}}
        for name, of_group in groups.items()
    ]
    return [row for row in found if any(row[way] for way in ways)]


def summary(runs: Sequence[Run], error: Error) -> dict[str, float | int] | None:
    """How many runs have a figure, the median and the 90th and 95th percentile of the absolute error."""
    known = sorted(abs(found) for run in runs if (found := error(run)) is not None)
    if not known:
        return None
    return {
        "count": len(known),
        "median": round(statistics.median(known), 4),
        "p90": round(known[min(len(known) - 1, int(0.9 * len(known)))], 4),
        "p95": round(known[min(len(known) - 1, int(0.95 * len(known)))], 4),
    }


def table(found: dict[str, Any]) -> str:
    """The result as text."""
    lines = []
    for question, rows in found.items():
        for row in rows:
            lines += ["", f"{question}: {row['runs']}"]
            lines += [_line(way, figures) for way, figures in row.items() if way != "runs"]
    return "\n".join(lines[1:])


def _line(way: str, figures: dict[str, float] | None) -> str:
    if figures is None:
        return f"  {way:30} no figure"
    spread = f"median {figures['median']:7.1%}   90 % below {figures['p90']:7.1%}   95 % below {figures['p95']:7.1%}"
    return f"  {way:30} {figures['count']:4} runs   {spread}"


def versions() -> dict[str, str]:
    """Of this tree, which need not be installed, and of Python."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"perf-advisor": project["version"], "python": sys.version.split()[0]}


def main(arguments: list[str]) -> int:
    """Print the table for the file named first; write the result where a second one is named."""
    if not 1 <= len(arguments) <= 2:
        print((__doc__ or "").strip())
        return 2
    path = Path(arguments[0])
    runs = read(path)
    found = result(runs)
    print(table(found))
    if len(arguments) == 2:
        about = {
            "versions": versions(),
            "data_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bands": bands(runs),
        }
        applying.write_export(Path(arguments[1]), json.dumps({**about, **found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
