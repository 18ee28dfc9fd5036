"""The join: which setups a dry run covers, what it puts in place of the formula, and what is said where it cannot."""

from typing import Any

import pytest

from advisor.estimate import formula
from advisor.estimate.dryrun import estimate as joined
from advisor.estimate.dryrun.ask import Case, DryRun, Outcome, Pass
from advisor.facts import Facts, Known, Unknown, Value
from advisor.plan import Estimate
from advisor.probe import anatomy, shapes
from advisor.setup import Setup
from advisor.workload import Workload

GIB = 2**30
LOAD = Workload(batch=2, prompt_tokens=1000, new_tokens=25)
CPU = Setup(device="cpu", dtype="bfloat16", attn_implementation="sdpa")
CUDA = CPU.changed({"device": "cuda"})
FLASH = ("_scaled_dot_product_flash_attention_for_cpu.default",)
PROMPT = Pass(cache_bytes=3 * GIB, beside_bytes=GIB, at="mul.Tensor", operators=100, attention=FLASH)
STEP = Pass(cache_bytes=GIB, beside_bytes=2 * GIB, at="cat.default", operators=90, attention=FLASH)
DRY = DryRun({"linear": {"bfloat16": 5 * GIB}}, 5 * GIB + 512, PROMPT, PROMPT, STEP, drawn_out=False)


def facts(**values: Value) -> Facts:
    return Facts({name.replace("__", "."): Known(value, "test") for name, value in values.items()})


def model(name: str = "llama-3.1-8b", **values: Value) -> Facts:
    plain = facts(model__checkpoint_quantization="none", model__needs_remote_code=False)
    return anatomy.facts(shapes.load(name).anatomy) | plain | facts(**values)


MACHINE = facts(
    gpu__count=1,
    gpu__memory_free_bytes=24 * GIB,
    gpu__capability=8.9,
    torch__sees_gpu=True,
    transformers__version="5.22.2",
    host__ram_available_bytes=24 * GIB,
    speed__process_bytes=GIB,
)


def looked_at(
    setup: Setup, outcome: Outcome = DRY, machine: Facts = MACHINE, load: Workload = LOAD, of: Facts | None = None
) -> tuple[Estimate, Estimate, list[Case]]:
    """The formula's estimate, the closer one, and what was asked."""
    about = model() if of is None else of
    asked: list[Case] = []

    def ask(cases: tuple[Case, ...]) -> tuple[Outcome, ...]:
        asked.extend(cases)
        return tuple(outcome for _ in cases)

    rough = formula.estimate(about, machine, load, setup)
    return rough, joined.closer(about, machine, load, {setup: rough}, ask)[setup], asked


def test_the_figures_of_a_dry_run() -> None:
    rough, close, asked = looked_at(CPU)
    assert asked == [Case("bfloat16", "sdpa", "dynamic", 2, 1000, 25, padded=False)]
    assert (close.basis, close.basis_note, close.memory_band) == ("dry run", None, rough.memory_band)
    memory = close.memory
    assert (memory.weights_bytes, memory.kv_cache_bytes, memory.kv_cache_peak_bytes) == (5 * GIB + 512, GIB, 3 * GIB)
    assert memory.activation_peak_bytes == 2 * GIB
    assert memory.total_bytes == 5 * GIB + 512 + 4 * GIB + GIB  # the prompt is the worst moment, and the process
    assert memory.fits is True
    assert (memory.available_bytes, memory.overhead_bytes) == (rough.memory.available_bytes, GIB)
    assert close.speed == rough.speed


def test_one_token_has_no_step() -> None:
    alone = DryRun(DRY.weights, DRY.weights_held_bytes, PROMPT, None, None, drawn_out=False)
    _, close, _ = looked_at(CPU, alone, load=Workload(new_tokens=1))
    assert close.memory.kv_cache_bytes == 3 * GIB


def test_what_does_not_fit() -> None:
    small = MACHINE | facts(host__ram_available_bytes=10 * GIB)
    assert looked_at(CPU, machine=small)[1].memory.fits is False


def test_a_failure_leaves_the_formula_and_says_why() -> None:
    rough, close, _ = looked_at(CPU, Unknown("killed by SIGKILL"))
    assert close.memory == rough.memory
    assert (close.basis, close.memory_band) == ("formula", rough.memory_band)
    assert close.basis_note == "no dry run: killed by SIGKILL"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"quantization": "torchao_int4"}, "quantization=torchao_int4"),
        ({"quantization": "bnb_nf4"}, "the version of bitsandbytes is not known"),
        ({"experts_implementation": "eager"}, "experts_implementation=eager"),
        ({"attn_implementation": "flash_attention_2"}, "attn_implementation=flash_attention_2"),
        ({"cache_implementation": "quantized"}, "the version of quanto is not known"),
        ({"cache_implementation": "quantized", "cache_backend": "hqq"}, "hqq decides by values how it quantizes"),
        ({"cache_implementation": "offloaded", "device": "cpu"}, "a cache is moved to RAM from a GPU alone"),
        ({"batching": "continuous"}, "batching=continuous"),
        ({"compile": "forward"}, "compile=forward"),
        ({"speculation": "prompt_lookup"}, "speculation=prompt_lookup"),
        ({"device": "mps"}, "the device mps"),
    ],
)
def test_setups_that_are_not_plain(change: dict[str, Any], why: str) -> None:
    rough, close, asked = looked_at(CUDA.changed(change))
    assert asked == []
    assert close.memory == rough.memory
    assert close.basis_note == f"no dry run: {why}"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"machine": MACHINE | facts(transformers__version="4.57.1")}, "transformers before 5.0"),
        ({"load": Workload(task="train")}, "the task train"),
        (
            {"of": model(model__checkpoint_quantization="gptq")},
            "a checkpoint stored as gptq, which a package of its own lays out",
        ),
        ({"of": model(model__needs_remote_code=True)}, "code of the model's own"),
        ({"machine": MACHINE | facts(gpu__capability=7.5)}, "SDPA's plain path"),
    ],
)
def test_what_else_is_left_to_the_formula(more: dict[str, Any], why: str) -> None:
    _, close, asked = looked_at(CUDA.changed({"cache_implementation": "dynamic"}), **more)
    assert asked == []
    assert close.basis_note == f"no dry run: {why}"


def test_plain_attention_of_a_cpu_says_nothing_about_a_gpu() -> None:
    plain = Pass(GIB, GIB, "all.dim", 100, ())
    dry = DryRun(DRY.weights, DRY.weights_held_bytes, plain, plain, plain, drawn_out=False)
    assert looked_at(CPU, dry)[1].basis == "dry run"
    assert looked_at(CUDA, dry)[1].basis == "formula"
    assert looked_at(CUDA.changed({"attn_implementation": "eager"}), dry)[1].basis == "dry run"


def test_several_devices_are_left_to_the_formula() -> None:
    two = MACHINE | facts(gpu__count=2, gpu__0__memory_free_bytes=24 * GIB, gpu__1__memory_free_bytes=24 * GIB)
    _, close, asked = looked_at(CUDA.changed({"device_map": "auto"}), machine=two)
    assert asked == [] and close.basis == "formula"
    assert looked_at(CUDA.changed({"device_map": "auto"}))[1].basis == "dry run"  # one that holds it


def test_experts_are_asked_as_they_are_computed() -> None:
    mixture = model("olmoe-1b-7b")
    half = CPU.changed({"dtype": "float16", "experts_implementation": "batched_mm"})
    (asked,) = looked_at(half, of=mixture)[2]
    assert (asked.dtype, asked.experts) == ("float16", "batched_mm")
    assert looked_at(half)[2][0].experts is None  # no mixture: the same question as without


def test_the_package_that_quantizes_is_part_of_the_question() -> None:
    machine = MACHINE | facts(bitsandbytes__version="0.50.2")
    small = CUDA.changed({"quantization": "bnb_nf4", "cache_implementation": "static"})
    (asked,) = looked_at(small, machine=machine)[2]
    assert (asked.quantization, asked.packages, asked.device) == ("bnb_nf4", ("bitsandbytes 0.50.2",), "cuda")


def test_a_checkpoint_that_is_quantized_already() -> None:
    machine = MACHINE | facts(bitsandbytes__version="0.50.2")
    stored = model(model__checkpoint_quantization="bitsandbytes")
    (asked,) = looked_at(CPU, machine=machine, of=stored)[2]
    assert (asked.quantization, asked.packages) == ("checkpoint", ("bitsandbytes 0.50.2",))
    twice = looked_at(CPU.changed({"quantization": "bnb_nf4"}), machine=machine, of=stored)[1]
    assert twice.basis_note == "no dry run: weights that are quantized twice"


def test_how_the_cache_is_kept_is_part_of_the_question() -> None:
    machine = MACHINE | facts(quanto__version="0.2.7")

    def asked(change: dict[str, Any]) -> Case:
        (one,) = looked_at(CPU.changed(change), machine=machine)[2]
        return one

    small = asked({"cache_implementation": "quantized", "cache_bits": 2})
    assert (small.cache, small.cache_backend, small.cache_bits) == ("quantized", "quanto", 2)
    assert small.packages == ("optimum-quanto 0.2.7",)
    own = asked({"cache_implementation": "quantized", "cache_backend": "fp8"})
    assert (own.cache_backend, own.packages) == ("fp8", ())
    assert asked({"use_cache": False, "prefill_chunk_size": 512}) == asked({"use_cache": False})
    assert asked({"use_cache": False}).cache == "none"
    assert asked({"prefill_chunk_size": 512}).chunk_tokens == 512


def test_what_is_in_ram_is_no_part_of_the_total() -> None:
    away = Pass(3 * GIB, GIB, "mul.Tensor", 100, FLASH, away_bytes=2 * GIB)
    dry = DryRun(DRY.weights, DRY.weights_held_bytes, away, away, away, drawn_out=False)
    setup = CUDA.changed({"cache_implementation": "offloaded"})
    rough, close, asked = looked_at(setup, dry)
    assert asked[0].cache == "offloaded"
    assert close.memory.kv_cache_bytes == 3 * GIB
    assert close.memory.total_bytes == DRY.weights_held_bytes + 2 * GIB + (rough.memory.overhead_bytes or 0)


def test_rows_and_padding_are_those_of_the_largest_call() -> None:
    mixed = Workload(batch=8, prompt_tokens=1000, new_tokens=25, mixed_lengths=True)
    (padded,) = looked_at(CPU, load=mixed)[2]
    assert (padded.rows, padded.padded) == (8, True)
    (looped,) = looked_at(CPU.changed({"batching": "loop"}), load=mixed)[2]
    assert (looped.rows, looped.padded) == (1, False)


def test_equal_cases_are_asked_once() -> None:
    asked: list[Case] = []

    def ask(cases: tuple[Case, ...]) -> tuple[Outcome, ...]:
        asked.extend(cases)
        return tuple(DRY for _ in cases)

    setups = (CPU, CPU.changed({"threads": 2}))
    rough = {setup: formula.estimate(model(), MACHINE, LOAD, setup) for setup in setups}
    close = joined.closer(model(), MACHINE, LOAD, rough, ask)
    assert len(asked) == 1
    assert [close[setup].basis for setup in setups] == ["dry run", "dry run"]
