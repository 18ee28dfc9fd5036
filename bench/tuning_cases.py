"""The models, workloads and grids of bench/tuning.py."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cpu_speed import SHAPES as MEASURED
from cpu_speed import sized

from advisor import child
from advisor.conflicts import conflict
from advisor.facts import Value
from advisor.setup import Setup
from advisor.workload import Workload

SHAPES: Mapping[str, dict[str, Any]] = {
    "llama-20m": MEASURED["llama-20m"],
    "llama-150m": {"model_type": "llama", **sized(1024, 2816, 12, 16, 4, 8192), "tie_word_embeddings": False},
    "gemma3-270m": MEASURED["gemma3-270m"],
    "qwen3-600m": MEASURED["qwen3-600m"],
}
"""Of the bench of speed, but for a llama of the size of its qwen2."""

ON_GPU = ("qwen3-0.6b", "llama-3.2-1b", "llama-3.2-3b")
"""Shipped shapes, with random weights: nothing is downloaded."""

MAKER = Path(__file__).with_name("inside_tuning_models.py")
MOST_SECONDS_TO_MAKE = 600.0

COMMON: Mapping[str, Any] = {"repeats": True, "quantize": "freely", "mixed_lengths": False}
WORKLOADS: Mapping[str, Workload] = {
    "one prompt": Workload(goal="latency", batch=1, prompt_tokens=64, new_tokens=16, **COMMON),
    "batch of 8": Workload(goal="throughput", batch=8, prompt_tokens=32, new_tokens=12, **COMMON),
    "long prompt": Workload(goal="latency", batch=1, prompt_tokens=512, new_tokens=6, **COMMON),
}
"""Few tokens, so that a grid takes minutes; what is compared are setups at the same workload."""
WORKLOADS_ON_GPU: Mapping[str, Workload] = {
    "one prompt": Workload(goal="latency", batch=1, prompt_tokens=256, new_tokens=64, **COMMON),
    "batch of 8": Workload(goal="throughput", batch=8, prompt_tokens=256, new_tokens=64, **COMMON),
    "long prompt": Workload(goal="latency", batch=1, prompt_tokens=4096, new_tokens=16, **COMMON),
}
NAIVE: Mapping[str, Value] = {"dtype": "float32", "batching": "loop"}
"""What the grid calls naive: the library's defaults, weights in float32, one call of generate for each prompt."""

BF16, HALF, FULL = {"dtype": "bfloat16"}, {"dtype": "float16"}, {"dtype": "float32"}
EAGER, SDPA = {"attn_implementation": "eager"}, {"attn_implementation": "sdpa"}
INT8, NF4 = {**BF16, **SDPA, "quantization": "bnb_int8"}, {**BF16, **SDPA, "quantization": "bnb_nf4"}
COMPILED = {"cache_implementation": "static", "compile": "generate"}
ONE_THREAD = {"threads": 1}
KINDS: tuple[Mapping[str, Value], ...] = (
    {**FULL, **SDPA},
    {**FULL, **EAGER},
    {**BF16, **SDPA},
    {**BF16, **EAGER},
    {**HALF, **SDPA},
    INT8,
    NF4,
    {**NF4, **EAGER},
    {**BF16, **SDPA, **COMPILED},
    {**FULL, **SDPA, **ONE_THREAD},
    {**BF16, **SDPA, **ONE_THREAD},
    {**INT8, **ONE_THREAD},
    {**NF4, **ONE_THREAD},
)
"""dtype x attention x quantization x cache and compilation x threads, pruned: quantized weights compute in bfloat16
alone (bitsandbytes casts), float16, which CPUs of today hardly multiply, has one member, compilation is tried with the
type that the CPU multiplies best; what does not go together (compiled bitsandbytes) is left out. A plan that is no
member is measured beside them."""
LOOPS: tuple[Mapping[str, Value], ...] = ({**FULL, **SDPA}, {**BF16, **SDPA})
"""Batches only: one call for each prompt, in the two usual types."""
SMALLER = {**BF16, **SDPA, "batch_size": 4}
"""A batch in two calls."""


def made(models: Path) -> None:
    """The model folders; those that are there stay.

    Raises:
        SystemExit: they could not be made.
    """
    request = {"folder": str(models), "models": dict(SHAPES)}
    match child.run(sys.executable, MAKER, request, MOST_SECONDS_TO_MAKE):
        case child.Died(reason, log):
            raise SystemExit(f"the models cannot be made: {reason}\n{log}")


def of_device(device: str) -> Iterator[tuple[str, str, Workload]]:
    """Model, name of the workload and workload of every case."""
    models, loads = (SHAPES, WORKLOADS) if device == "cpu" else (ON_GPU, WORKLOADS_ON_GPU)
    for model in models:
        for kind, workload in loads.items():
            yield model, kind, workload


def grid(naive: Setup, workload: Workload, device: str) -> dict[str, Setup]:
    """Every setup by its name; `naive` comes first. Threads are no knob of a GPU, whose rows they are left out of."""
    kinds = [kind for kind in KINDS if device == "cpu" or "threads" not in kind]
    if workload.batch == 1:
        changes = [{**kind, "batching": "loop"} for kind in kinds]
    else:
        changes = [{**kind, "batching": "loop"} for kind in LOOPS]
        padded = {"batching": "padded", "batch_size": workload.batch, "padding_side": "left"}
        changes += [{**padded, **kind} for kind in (*kinds, SMALLER)]
    found = {"naive": naive}
    for change in changes:
        setup = naive.changed(change)
        if conflict(setup) is None and setup not in found.values():
            found[name_of(change)] = setup
    return found


def name_of(change: Mapping[str, Value]) -> str:
    """A change in a few words."""
    said = {"compile": "compiled", "threads": "1 thread", "batch_size": f"batches of {change.get('batch_size')}"}
    left_out = ("padding_side", "cache_implementation")
    return ", ".join(said.get(knob, str(value)) for knob, value in change.items() if knob not in left_out)
