"""The composed estimate on recorded machines and shipped shapes: quick, complete, and honest about what is unknown."""

import json
import time
from pathlib import Path

import pytest

from advisor import learnt
from advisor.estimate import devices, formula
from advisor.facts import Facts, Known, read_machine
from advisor.plan import Estimate
from advisor.probe import anatomy, shapes
from advisor.rulebook import full_vocabulary
from advisor.setup import Setup
from advisor.workload import Workload

MACHINES = Path(__file__).parents[1] / "machines"
GPUS = ("t4", "rtx-4090", "a100-80gb", "h100-80gb")


def machine(name: str) -> Facts:
    return read_machine(MACHINES / f"{name}.json", full_vocabulary())


def model(shape: str) -> Facts:
    plain = Facts({"model.checkpoint_quantization": Known("none", "test")})
    return anatomy.facts(shapes.load(shape).anatomy) | plain


def estimate(shape: str, name: str, work: Workload | None = None, **knobs: str | bool | int) -> Estimate:
    setup = Setup(device="cuda", device_map="none", attn_implementation="sdpa", batching="padded", dtype="float16")
    return formula.estimate(model(shape), machine(name), work or Workload(), setup.changed(knobs))


@pytest.mark.parametrize("name", GPUS)
def test_a_known_gpu_has_every_figure_and_its_band(name: str) -> None:
    found = estimate("llama-3.2-1b", name)
    assert found.basis == "formula"
    assert None not in (found.speed.ttft_seconds, found.speed.decode_tokens_per_second)
    assert found.speed.total_tokens_per_second is not None and found.memory.total_bytes is not None
    assert found.speed_band is not None and found.speed_band[0] < 1 < found.speed_band[1]
    assert found.memory_band is not None


def test_a_gpu_with_faster_memory_is_faster() -> None:
    slow, fast = (estimate("qwen2.5-3b", name).speed for name in ("t4", "h100-80gb"))
    assert slow.decode_tokens_per_second is not None and fast.decode_tokens_per_second is not None
    assert fast.decode_tokens_per_second > 1.5 * slow.decode_tokens_per_second
    assert slow.ttft_seconds is not None and fast.ttft_seconds is not None
    assert fast.ttft_seconds < 0.4 * slow.ttft_seconds


@pytest.mark.parametrize("name", ["broken-driver", "no-torch"])
def test_a_machine_that_tells_nothing_gets_no_speed(name: str) -> None:
    found = estimate("llama-3.2-1b", name)
    assert found.speed.total_tokens_per_second is None
    assert found.speed_band is None
    assert found.speed.bound is None


def test_the_catalogs_rates_may_stand_in_the_machine_or_not() -> None:
    work, setup = Workload(), Setup(device="cuda", dtype="float16", device_map="none", batching="padded")
    plain = machine("a100-80gb")
    known = model("llama-3.1-8b")
    assert formula.estimate(known, plain, work, setup) == formula.estimate(
        known, plain | devices.rates(plain), work, setup
    )


def test_an_estimate_goes_into_json_with_unknown_as_null() -> None:
    found = json.loads(json.dumps(estimate("llama-3.2-1b", "broken-driver").to_json()))
    assert found["speed"]["total_tokens_per_second"] is None
    assert found["band"]["speed"] is None
    assert found["basis"] == "formula"


def test_it_is_quick_enough_to_be_asked_hundreds_of_times() -> None:
    known, there, setup = model("qwen3-30b-a3b"), machine("a100-80gb"), Setup(device="cuda", dtype="bfloat16")
    works = [Workload(batch=batch) for batch in range(1, 51)]
    best = min(_seconds_for_each(known, there, setup, works) for _ in range(5))
    assert best < 1e-3


def _seconds_for_each(known: Facts, there: Facts, setup: Setup, works: list[Workload]) -> float:
    started = time.perf_counter()
    for work in works:
        formula.estimate(known, there, work, setup)
    return (time.perf_counter() - started) / len(works)


def test_own_runs_correct_the_speed_and_say_so() -> None:
    setup = Setup(device="cpu", device_map="none", attn_implementation="sdpa", batching="padded", dtype="bfloat16")
    here, work = machine("cpu-only-measured"), Workload()
    plain = formula.estimate(model("llama-3.2-1b"), here, work, setup)
    kind = formula.own_kind(model("llama-3.2-1b"), here, work, setup)
    runs = [learnt.Ratios(kind, {"decode_tokens_per_second": 0.81})] * 2
    slow = [learnt.Ratios(kind, {"ttft_seconds": 4.0})] * 2
    later = here | Facts({learnt.FACT: Known(tuple(one.text() for one in learnt.summarized(slow)), "test")})
    waiting = formula.estimate(model("llama-3.2-1b"), later, work, setup).speed
    assert waiting.last_ttft_seconds == waiting.ttft_seconds != plain.speed.ttft_seconds
    taught = here | Facts({learnt.FACT: Known(tuple(one.text() for one in learnt.summarized(runs)), "test")})
    found = formula.estimate(model("llama-3.2-1b"), taught, work, setup)
    assert plain.speed_basis == "constants measured on this machine"
    assert found.speed_basis == f"{plain.speed_basis}, corrected by 2 of your own runs"
    assert plain.speed.decode_tokens_per_second is not None
    assert found.speed.decode_tokens_per_second == pytest.approx(0.9 * plain.speed.decode_tokens_per_second, rel=1e-3)
    assert found.speed.ttft_seconds == plain.speed.ttft_seconds
    assert found.speed_band == plain.speed_band
    assert formula.uncorrected(model("llama-3.2-1b"), taught, work, setup) == plain
