"""Hold the formula against published measurements, beside the rules of thumb that other estimators use.

    python bench/published.py MEASURED.jsonl

MEASURED.jsonl holds one published run a line: model, gpu, quant, dtype, batch, prompt_len, new_tokens, attn,
env.transformers and a figure (gen_tps, decode_tps, peak_mem_gib, generate_alloc_mb). The data does not ship. Only
runs of transformers on one GPU with a shipped shape count. Speed is predicted twice: by the device's name alone, and
with the host's time per layer taken from one run on the same machine and version, which is then left out.
"""

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.estimate import devices, formula
from advisor.estimate.weights import weights_bytes
from advisor.facts import Fact, Facts, Known
from advisor.plan import Estimate
from advisor.probe import anatomy, shapes
from advisor.setup import Setup
from advisor.workload import Workload

SHAPES = {
    "qwen2-0.5b": "qwen2.5-0.5b",
    "qwen2-1.5b": "qwen2.5-1.5b",
    "qwen2-7b": "qwen2.5-7b",
    "qwen2.5-0.5b": "qwen2.5-0.5b",
    "qwen2.5-1.5b": "qwen2.5-1.5b",
    "qwen2.5-3b": "qwen2.5-3b",
    "qwen2.5-7b": "qwen2.5-7b",
    "qwen2.5-32b": "qwen2.5-32b",
    "llama-3.1-8b": "llama-3.1-8b",
    "llama-2-7b": "llama-2-7b",
    "llama-7b": "llama-2-7b",
    "vicuna-7b": "llama-2-7b",
}
GPUS = {
    "A100-SXM4-80GB": ("NVIDIA A100-SXM4-80GB", 80, 8.0),
    "H100-SXM5-80GB": ("NVIDIA H100 80GB HBM3", 80, 9.0),
    "RTX 4090": ("NVIDIA GeForce RTX 4090", 24, 8.9),
    "T4": ("Tesla T4", 16, 7.5),
}
QUANT = {
    "none": ("none", None, 16.0),
    "gptq-int4": ("none", "gptq", 4.16),
    "gptq-int8": ("none", "gptq", 8.19),
    "awq-int4": ("none", "awq", 4.16),
    "bnb-4bit": ("bnb_nf4", None, 4.5),
    "bnb-4bit(nf4)": ("bnb_nf4", None, 4.5),
    "bnb-4bit(nf4)+double_quant": ("bnb_nf4_double", None, 4.13),
    "bnb-int8(outlier decomposition)": ("bnb_int8", None, 8.0),
}
RULE_BANDWIDTH_SHARE = 0.55
RULE_MEMORY_FACTOR = 1.2
TRIED_HOST_SECONDS = [step * 1e-5 for step in range(20, 250)]


@dataclass(frozen=True)
class Run:
    """One published run, ready for the formula. New tokens a second, memory in bytes; None if not published."""

    machine_name: str
    model: Facts
    machine: Facts
    workload: Workload
    setup: Setup
    plain: bool
    total_rate: float | None
    decode_rate: float | None
    peak_bytes: float | None

    def estimate(self, host_seconds: float | None = None) -> Estimate:
        """The formula's estimate, with the host's time per layer where it is known."""
        measured: dict[str, Fact] = {}
        if host_seconds is not None:
            measured = {
                "speed.device": Known(self.machine.text("gpu.name") or "", "published"),
                "speed.layer_host_seconds": Known(host_seconds, "published"),
            }
        return formula.estimate(self.model, self.machine | Facts(measured), self.workload, self.setup)

    def rate_error(self, host_seconds: float | None = None) -> float | None:
        """Predicted speed over published speed, less one."""
        speed = self.estimate(host_seconds).speed
        if self.decode_rate and speed.decode_tokens_per_second:
            return speed.decode_tokens_per_second / self.decode_rate - 1
        if self.total_rate and speed.total_tokens_per_second:
            return speed.total_tokens_per_second / self.total_rate - 1
        return None

    def rule_rate_error(self) -> float | None:
        """The same for bandwidth x 0.55 / weights, times the batch."""
        weights = weights_bytes(self.model, self.machine, self.setup, "cuda")
        bandwidth = devices.rates(self.machine).number(devices.BANDWIDTH)
        published = self.decode_rate or self.total_rate
        if not weights or not bandwidth or not published:
            return None
        return self.workload.batch * RULE_BANDWIDTH_SHARE * bandwidth / weights / published - 1

    def memory_error(self) -> float | None:
        """Predicted peak without the CUDA context, over the published peak of the allocator, less one."""
        memory = self.estimate().memory
        if not self.peak_bytes or memory.total_bytes is None or memory.overhead_bytes is None:
            return None
        return (memory.total_bytes - memory.overhead_bytes) / self.peak_bytes - 1

    def rule_memory_error(self) -> float | None:
        """The same for weights x 1.2."""
        weights = weights_bytes(self.model, self.machine, self.setup, "cuda")
        return RULE_MEMORY_FACTOR * weights / self.peak_bytes - 1 if weights and self.peak_bytes else None


def read(path: Path) -> list[Run]:
    """The runs that can be held against the formula."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [run for row in rows if (run := _run(row)) is not None]


def _run(row: dict[str, Any]) -> Run | None:
    shape = _shape(str(row.get("model", "")))
    version = str(row.get("env", {}).get("transformers", ""))
    if row.get("framework") != "transformers" or row.get("n_gpus") != 1 or shape is None:
        return None
    if row.get("gpu") not in GPUS or row.get("quant") not in QUANT or not version[:1].isdigit() or "-" in version:
        return None
    wanted, stored, bits = QUANT[row["quant"]]
    name, gigabytes, capability = GPUS[row["gpu"]]
    machine = {
        "gpu.name": name,
        "gpu.capability": capability,
        "gpu.memory_total_bytes": gigabytes * 2**30,
        "gpu.memory_free_bytes": gigabytes * 2**30,
        "gpu.count": 1,
        "transformers.version": version,
    }
    return Run(
        machine_name=f"{row['gpu']}, transformers {version}",
        model=_model(shape, stored, bits),
        machine=Facts({fact: Known(value, "published") for fact, value in machine.items()}),
        workload=Workload(
            batch=row["batch"], prompt_tokens=row.get("prompt_len") or 128, new_tokens=row.get("new_tokens") or 128
        ),
        setup=Setup(
            device="cuda",
            dtype=row["dtype"],
            attn_implementation="eager" if row.get("attn") == "eager" else "sdpa",
            batching="padded",
            quantization=wanted,
        ),
        plain=row["quant"] == "none",
        total_rate=row.get("gen_tps"),
        decode_rate=row.get("decode_tps") if row.get("gen_tps") is None else None,
        peak_bytes=_peak_bytes(row),
    )


def _peak_bytes(row: dict[str, Any]) -> float | None:
    """What the allocator of torch had given out at most."""
    if peak := row.get("peak_mem_gib"):
        return float(peak) * 2**30
    return float(peak) * 1e6 if (peak := row.get("generate_alloc_mb")) else None


def _shape(model: str) -> str | None:
    plain = model.rsplit("/", 1)[-1].lower()
    return next((shape for start, shape in SHAPES.items() if plain.startswith(start)), None)


def _model(shape: str, stored: str | None, bits: float) -> Facts:
    facts = anatomy.facts(shapes.load(shape).anatomy)
    found: dict[str, Fact] = {"model.checkpoint_quantization": Known(stored or "none", "published")}
    if stored:
        linear, total = facts.count("model.parameters_linear") or 0, facts.count("model.parameters") or 0
        found["model.checkpoint_bytes"] = Known(round(2 * (total - linear) + linear * bits / 8), "published")
    return facts | Facts(found)


def host_seconds(runs: list[Run]) -> tuple[float, Run] | None:
    """The host's time per layer that explains the fastest plain run of one prompt best, and that run."""
    single = [run for run in runs if run.plain and run.workload.batch == 1 and run.rate_error() is not None]
    if not single:
        return None
    anchor = max(single, key=lambda run: run.decode_rate or run.total_rate or 0.0)
    return min(TRIED_HOST_SECONDS, key=lambda seconds: abs(anchor.rate_error(seconds) or 0.0)), anchor


def table(runs: list[Run]) -> str:
    """The errors by machine, as text."""
    machines: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        machines[run.machine_name].append(run)
    lines = []
    for name, of_machine in sorted(machines.items()):
        for label, chosen in (
            ("batch 1", lambda run: run.workload.batch == 1),
            ("batch > 1", lambda run: run.workload.batch > 1),
        ):
            group = [run for run in of_machine if chosen(run)]
            if group:
                lines += _block(f"{name}, {label}", group, host_seconds(of_machine))
    for name, of_machine in sorted(machines.items()):
        if any(run.peak_bytes for run in of_machine):
            lines += ["", f"{name}, memory"]
            lines.append(_line("formula", (run.memory_error() for run in of_machine)))
            lines.append(_line("weights x 1.2", (run.rule_memory_error() for run in of_machine)))
    return "\n".join(lines)


def _block(title: str, runs: list[Run], host: tuple[float, Run] | None) -> list[str]:
    lines = ["", title, _line("formula, device by name", (run.rate_error() for run in runs))]
    if host is not None:
        seconds, anchor = host
        others = (run.rate_error(seconds) for run in runs if run is not anchor)
        lines.append(_line(f"formula, host {seconds * 1e3:.2f} ms/layer", others))
    return [*lines, _line("bandwidth x 0.55 / weights", (run.rule_rate_error() for run in runs))]


def _line(label: str, errors: Iterable[float | None]) -> str:
    known = sorted(abs(error) for error in errors if error is not None)
    if not known:
        return f"  {label:30} no figure"
    ninth = known[min(len(known) - 1, int(0.9 * len(known)))]
    return f"  {label:30} {len(known):4} runs   median {statistics.median(known):7.1%}   90 % below {ninth:7.1%}"


def main(arguments: list[str], show: Callable[[str], None] = print) -> int:
    """Print the table for the file named on the command line."""
    if len(arguments) != 1:
        show((__doc__ or "").strip())
        return 2
    show(table(read(Path(arguments[0]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
