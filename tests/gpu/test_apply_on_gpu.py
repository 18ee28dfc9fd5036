"""Applying on a CUDA device: the same text path as on the CPU, with the device's clock and memory.

Run with: pytest -m gpu
"""

import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from advisor import child
from advisor import run as running
from advisor.applying import Budget, apply
from advisor.facts import Facts, Known, Value
from advisor.plan import Effect, Estimate, Memory, ModelReference, Plan, Speed, Step
from advisor.run.figures import Failed, Measured
from advisor.run.measure import measure
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.setup import Setup
from advisor.workload import Workload

pytestmark = pytest.mark.gpu

MAKER = Path(running.__path__[0]) / "inside_demo_model.py"
LOAD = Workload(goal="throughput", batch=8, prompt_tokens=128, new_tokens=64)
MODEL_BYTES = 304_150_752  # 152 million parameters in bfloat16
UNKNOWN = Estimate(Memory(*[None] * 8), Speed(None, None, None), "formula", None, None)
QUICK = Budget(run_seconds=1.0, patience_seconds=2.0, limit_seconds=300.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("torch finds no GPU")
    place = tmp_path_factory.mktemp("gpu") / "model"
    made = child.run(sys.executable, MAKER, {"folder": str(place), "size": "150m"}, 300)
    assert isinstance(made, child.Answered), made
    assert made.answer["bytes"] >= MODEL_BYTES * 0.99
    return str(place)


@cache
def measured(folder: str, random: bool = False, workload: Workload = LOAD, **values: Any) -> Measured:
    subject = Subject(ModelReference("folder", folder, None, False), workload, random)
    setup = Setup(**{"device": "cuda", "dtype": "bfloat16", "batching": "padded", **values})
    found = measure(sys.executable, recipe(subject, setup), setup.batching != "continuous", 0.5, 400)
    assert isinstance(found, Measured), found.log[-3000:]
    return found


def test_memory_is_that_of_the_allocator(folder: str) -> None:
    found = measured(folder)
    assert found.device == "cuda"
    peak = found.run_peak
    assert peak.allocated_bytes is not None and peak.reserved_bytes is not None and peak.used_by_all_bytes is not None
    assert MODEL_BYTES <= peak.allocated_bytes <= peak.reserved_bytes <= peak.used_by_all_bytes
    assert found.peak_bytes == max(peak.allocated_bytes, found.load_peak.allocated_bytes or 0)


def test_float32_takes_more_memory(folder: str) -> None:
    half, whole = measured(folder), measured(folder, dtype="float32")
    assert (whole.run_peak.allocated_bytes or 0) > (half.run_peak.allocated_bytes or 0) + 0.9 * MODEL_BYTES


def test_the_clock_waits_for_the_device(folder: str) -> None:
    """A long prefill takes time on the device, which a clock that does not wait would miss."""
    short = measured(folder, workload=replace(LOAD, new_tokens=2))
    long = measured(folder, workload=replace(LOAD, prompt_tokens=3500, batch=32, new_tokens=2))
    assert (long.ttft_seconds or 0) > 2 * (short.ttft_seconds or 0)
    run = long.runs[-1]
    assert (run.ttft_seconds or 0) < run.seconds


def test_a_loop_and_a_batch_say_the_same_in_float32(folder: str) -> None:
    loop, batch = measured(folder, dtype="float32", batching="loop"), measured(folder, dtype="float32")
    same = [
        a == b for one, other in zip(loop.tokens, batch.tokens, strict=True) for a, b in zip(one, other, strict=True)
    ]
    assert sum(same) / len(same) > 0.9


@pytest.mark.parametrize(
    "values",
    [
        {"attn_implementation": "eager"},
        {"cache_implementation": "static", "compile": "none"},
        {"cache_implementation": "static", "compile": "generate"},
        {"cache_implementation": "offloaded"},
        {"compile": "forward", "compile_mode": "default"},
        {"device_map": "auto"},
        {"batching": "continuous"},
        {"batching": "sorted", "batch_size": 4},
    ],
    ids=lambda values: ",".join(map(str, values.values())),
)
def test_every_knob_runs(folder: str, values: dict[str, Value]) -> None:
    found = measured(folder, **values)
    assert found.device == "cuda"
    assert [len(row) for row in found.tokens] == [64] * 8


@pytest.mark.parametrize("quantization", ["bnb_int8", "bnb_nf4", "bnb_nf4_double", "bnb_fp4"])
def test_quantized_weights_take_less_memory(folder: str, quantization: str) -> None:
    pytest.importorskip("bitsandbytes", exc_type=ImportError)
    found, plain = measured(folder, quantization=quantization), measured(folder)
    assert found.device == "cuda"
    assert (found.run_peak.allocated_bytes or 0) < (plain.run_peak.allocated_bytes or 0)


def test_random_weights_are_made_on_the_device(folder: str) -> None:
    one, again = measured(folder, random=True), measured(folder, random=True, attn_implementation="sdpa")
    assert one.device == "cuda"
    assert one.tokens == again.tokens


def test_memory_that_is_not_there_is_a_failure_with_its_reason(folder: str) -> None:
    subject = Subject(
        ModelReference("folder", folder, None, False), replace(LOAD, batch=4_000, prompt_tokens=4000), False
    )
    failed = measure(
        sys.executable, recipe(subject, Setup(device="cuda", batching="padded", dtype="bfloat16")), True, 0.5, 300
    )
    assert isinstance(failed, Failed)
    assert "memory" in failed.reason.lower()


def test_a_batch_beats_a_loop(folder: str) -> None:
    now = Setup(device="cuda", dtype="float32", batching="loop", attn_implementation="sdpa")
    changes: tuple[dict[str, Value], ...] = ({"batching": "padded", "batch_size": 8}, {"dtype": "bfloat16"})
    steps = tuple(
        Step(f"step-{number}", "1-placement", "x", change, Effect(None, None, None), "measured", (), (), number)
        for number, change in enumerate(changes)
    )
    after = now.changed(changes[0]).changed(changes[1])
    plan = Plan(
        ModelReference("folder", folder, None, False), Facts(), LOAD, Facts({"gpu.name": Known("x", "test")}), now, {},
        UNKNOWN, after, UNKNOWN, steps, (), (), (), {}, (),
    )  # fmt: skip
    told = json.loads(json.dumps(apply(plan, sys.executable, budget=QUICK).to_json(), allow_nan=False))
    assert told["outcome"] == "holds", told
    assert told["speedup"] > 3
    assert told["agreement"]["logit_distance"] < 0.2
