"""The speed formula: judged on directions that must hold, on limits that can be computed by hand, and on unknowns."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.estimate import drafting
from advisor.estimate.band import speed_band
from advisor.estimate.constants import Measured, Roofline, constants
from advisor.estimate.formula import break_even_acceptance
from advisor.estimate.memory import memory
from advisor.estimate.speed import COMPILE_SECONDS, break_even_calls, speed
from advisor.estimate.split import split
from advisor.facts import Facts, Known
from advisor.plan import Memory, Speed
from advisor.setup import Setup
from advisor.workload import Workload

GIB = 2**30
TYPES = ("float32", "bfloat16", "float16")


def facts(prefix: str, values: dict[str, Any]) -> Facts:
    return Facts({prefix + name: Known(value, "test") for name, value in values.items() if value is not None})


def model(**changes: Any) -> Facts:
    """A 7B model with grouped queries and plain weights; `changes` by the fact's name without `model.`."""
    plain: dict[str, Any] = {
        "parameters": 7_615_616_512,
        "parameters_embedding": 544_997_376,
        "parameters_head": 544_997_376,
        "parameters_linear": 6_525_288_448,
        "parameters_other": 333_312,
        "parameters_quantizable": 6_525_288_448,
        "layers": 28,
        "full_layers": 28,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "heads": 28,
        "kv_heads": 4,
        "head_dim": 128,
        "value_head_dim": 128,
        "vocab_size": 152_064,
        "attention_kind": "GQA",
        "experts": 0,
        "checkpoint_quantization": "none",
        "config_dtype": "bfloat16",
    }
    return facts("model.", {**plain, **changes})


def small(**changes: Any) -> Facts:
    """A 150M model, of which a decode step is mostly overhead."""
    sizes = {"layers": 16, "full_layers": 16, "hidden_size": 768, "intermediate_size": 2048, "heads": 12}
    widths = {"head_dim": 64, "value_head_dim": 64, "vocab_size": 32000, "parameters_linear": 100_663_296}
    return model(**{**sizes, **widths, "parameters_head": 24_576_000, "parameters": 149_815_296, **changes})


def a100(**changes: Any) -> Facts:
    """An A100 known by its name alone."""
    plain: dict[str, Any] = {
        "gpu.name": "NVIDIA A100-SXM4-80GB",
        "gpu.count": 1,
        "gpu.capability": 8.0,
        "gpu.memory_total_bytes": 80 * GIB,
        "gpu.memory_free_bytes": 79 * GIB,
        "torch.sees_gpu": True,
        "transformers.version": "5.22.2",
        "host.ram_available_bytes": 200 * GIB,
    }
    return facts("", {**plain, **{name.replace("__", "."): value for name, value in changes.items()}})


def cpu(**changes: Any) -> Facts:
    """Two cores with measured constants, round figures near those of a server CPU with AVX512-BF16."""
    plain: dict[str, Any] = {
        "torch.sees_gpu": False,
        "transformers.version": "5.22.2",
        "host.cores_usable": 2,
        "host.amx_bf16": False,
        "host.ram_available_bytes": 64 * GIB,
        "speed.device": "cpu",
        "speed.threads": 2,
        "speed.layer_host_seconds": 0.25e-3,
        "speed.step_host_seconds": 0.5e-3,
        **{f"speed.layer_{kind}_seconds": 0.7e-3 for kind in TYPES},
        **dict(zip((f"speed.gemv_{kind}_bytes_per_second" for kind in TYPES), (15e9, 16e9, 29e9), strict=True)),
        **dict(zip((f"speed.small_gemm_{kind}_flops_per_second" for kind in TYPES), (34e9, 97e9, 34e9), strict=True)),
        **dict(zip((f"speed.gemm_{kind}_flops_per_second" for kind in TYPES), (150e9, 320e9, 42e9), strict=True)),
        **dict(zip((f"speed.kv_{kind}_bytes_per_second" for kind in TYPES), (3.5e9, 3.7e9, 2.6e9), strict=True)),
    }
    return facts("", {**plain, **{name.replace("__", "."): value for name, value in changes.items()}})


GPU_SETUP = Setup(device="cuda", dtype="bfloat16", device_map="none", attn_implementation="sdpa", batching="padded")
CPU_SETUP = Setup(device="cpu", dtype="bfloat16", device_map="none", attn_implementation="sdpa", batching="padded")
ONE = Workload(batch=1, prompt_tokens=128, new_tokens=64)
EIGHT = Workload(batch=8, prompt_tokens=128, new_tokens=64)
BARE = Memory(None, None, None, None, None, None, None, None)


def predicted(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> Speed:
    return speed(model, machine, workload, setup, memory(model, machine, workload, setup))


def total(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> float:
    rate = predicted(model, machine, workload, setup).total_tokens_per_second
    assert rate is not None
    return rate


def decode_rate(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> float:
    rate = predicted(model, machine, workload, setup).decode_tokens_per_second
    assert rate is not None
    return rate


def test_a_large_model_on_an_accelerator_is_bound_by_bandwidth() -> None:
    quick_host = {"speed__device": "NVIDIA A100-SXM4-80GB", "speed__layer_host_seconds": 0.05e-3}
    found = predicted(model(), a100(**quick_host), ONE, GPU_SETUP)
    read = (6_525_288_448 + 544_997_376) * 2
    assert found.bound == "bandwidth"
    assert found.decode_tokens_per_second == pytest.approx(0.78 * 2.039e12 / read, rel=0.03)


def test_a_small_model_on_an_accelerator_is_bound_by_the_host() -> None:
    found = predicted(small(), a100(), ONE, GPU_SETUP)
    assert found.bound == "host"
    assert found.decode_tokens_per_second == pytest.approx(1 / (17 * 0.77e-3), rel=0.02)


def test_a_large_batch_of_prompts_is_bound_by_computing_on_a_cpu() -> None:
    found = predicted(model(), cpu(), Workload(batch=64, prompt_tokens=16, new_tokens=16), CPU_SETUP)
    assert found.bound == "compute"


def test_on_a_cpu_the_terms_add_up() -> None:
    found = speed(small(), cpu(), Workload(batch=1, prompt_tokens=1, new_tokens=2), CPU_SETUP, BARE)
    assert found.decode_tokens_per_second is not None
    weights = (100_663_296 + 24_576_000) * 2 / 16e9
    cache = 16 * 12 * 128 * 2 * 2 / 3.7e9
    assert 1 / found.decode_tokens_per_second == pytest.approx(16 * 0.7e-3 + 0.5e-3 + weights + cache, rel=1e-3)


def test_one_padded_batch_beats_one_call_for_each_prompt() -> None:
    loop = CPU_SETUP.changed({"batching": "loop"})
    assert total(small(), cpu(), EIGHT, CPU_SETUP) > 2 * total(small(), cpu(), EIGHT, loop)
    assert total(model(), a100(), EIGHT, GPU_SETUP) > 7 * total(
        model(), a100(), EIGHT, GPU_SETUP.changed({"batching": "loop"})
    )


def test_a_loop_runs_at_the_speed_of_one_prompt() -> None:
    loop = predicted(small(), cpu(), EIGHT, CPU_SETUP.changed({"batching": "loop"}))
    alone = predicted(small(), cpu(), ONE, CPU_SETUP)
    assert loop.total_tokens_per_second == pytest.approx(alone.total_tokens_per_second)
    assert loop.decode_tokens_per_second == pytest.approx(alone.decode_tokens_per_second)
    # The fourth of eight prompts waits for three whole calls before it.
    assert loop.ttft_seconds is not None and alone.ttft_seconds is not None
    assert loop.ttft_seconds == pytest.approx(
        3 * ONE.new_tokens / total(small(), cpu(), ONE, CPU_SETUP) + alone.ttft_seconds
    )


@pytest.mark.parametrize(("rows", "waits"), [(7, False), (4, False), (3, True)])
def test_half_of_the_prompts_is_counted_in_prompts_not_in_calls(rows: int, waits: bool) -> None:
    """Of eight prompts the fourth is in the first call, unless only three are."""
    several = CPU_SETUP.changed({"batch_size": rows})
    found = predicted(small(), cpu(), EIGHT, several).ttft_seconds
    first = predicted(small(), cpu(), replace(EIGHT, batch=rows), several).ttft_seconds
    assert found is not None and first is not None
    assert (found > 2 * first) is waits
    if not waits:
        assert found == first


@pytest.mark.parametrize("rows", [7, 4, 3])
def test_the_last_prompt_waits_for_every_call_before_its_own(rows: int) -> None:
    several = CPU_SETUP.changed({"batch_size": rows})
    found = predicted(small(), cpu(), EIGHT, several)
    full, rest = (predicted(small(), cpu(), replace(EIGHT, batch=n), several) for n in (rows, 8 % rows or rows))
    assert found.last_ttft_seconds and rest.ttft_seconds and full.total_tokens_per_second
    before = (8 - (8 % rows or rows)) * EIGHT.new_tokens / full.total_tokens_per_second
    assert found.last_ttft_seconds == pytest.approx(before + rest.ttft_seconds)
    assert full.last_ttft_seconds == full.ttft_seconds


def test_a_batch_larger_than_one_call_takes_several() -> None:
    halves = CPU_SETUP.changed({"batch_size": 4})
    alone = Workload(batch=4, prompt_tokens=128, new_tokens=64)
    assert total(small(), cpu(), EIGHT, halves) == pytest.approx(total(small(), cpu(), alone, CPU_SETUP))


def test_a_last_call_that_is_not_full_costs_less_than_a_full_one() -> None:
    nine = Workload(batch=9, prompt_tokens=128, new_tokens=64)
    sixteen = Workload(batch=16, prompt_tokens=128, new_tokens=64)
    eights = CPU_SETUP.changed({"batch_size": 8})
    assert 9 / total(small(), cpu(), nine, eights) < 16 / total(small(), cpu(), sixteen, eights)


def test_mixed_lengths_pay_for_padding_and_sorting_saves_some_of_it() -> None:
    mixed = Workload(batch=16, prompt_tokens=512, new_tokens=16, mixed_lengths=True)
    even = Workload(batch=16, prompt_tokens=512, new_tokens=16)
    fours = CPU_SETUP.changed({"batch_size": 4})
    padded, sorted_ = (total(small(), cpu(), mixed, fours.changed({"batching": kind})) for kind in ("padded", "sorted"))
    assert total(small(), cpu(), even, fours) < padded < sorted_


def test_continuous_batching_is_slower_than_a_padded_batch_on_a_cpu_and_serves_all_requests_at_once() -> None:
    continuous = CPU_SETUP.changed({"batching": "continuous"})
    assert total(small(), cpu(), EIGHT, continuous) < total(small(), cpu(), EIGHT, CPU_SETUP)
    many = Workload(batch=1, concurrency=16, prompt_tokens=128, new_tokens=64)
    on_gpu = GPU_SETUP.changed({"batching": "continuous"})
    assert total(model(), a100(), many, on_gpu) > 10 * total(model(), a100(), many, GPU_SETUP)


def test_bf16_is_judged_by_the_cpus_own_constants() -> None:
    """A CPU without bf16 units measures low bf16 rates, and then bf16 must not be promised to be faster."""
    fp32 = CPU_SETUP.changed({"dtype": "float32"})
    old = cpu(
        speed__gemv_bfloat16_bytes_per_second=5e9,
        speed__small_gemm_bfloat16_flops_per_second=20e9,
        speed__gemm_bfloat16_flops_per_second=40e9,
    )
    assert total(small(), cpu(), EIGHT, CPU_SETUP) > 1.3 * total(small(), cpu(), EIGHT, fp32)
    assert total(small(), old, EIGHT, CPU_SETUP) < total(small(), old, EIGHT, fp32)


def test_fp16_on_a_cpu_reads_quickly_and_computes_slowly() -> None:
    fp16 = CPU_SETUP.changed({"dtype": "float16"})
    bf16, half = (predicted(small(), cpu(), ONE, setup) for setup in (CPU_SETUP, fp16))
    assert bf16.ttft_seconds and half.ttft_seconds and half.ttft_seconds > 3 * bf16.ttft_seconds
    assert half.decode_tokens_per_second and bf16.decode_tokens_per_second
    assert half.decode_tokens_per_second > bf16.decode_tokens_per_second


def test_without_a_cache_every_step_is_a_prompt() -> None:
    off = CPU_SETUP.changed({"use_cache": False})
    short, long = (Workload(batch=1, prompt_tokens=tokens, new_tokens=16) for tokens in (256, 1024))
    steps = [predicted(small(), cpu(), work, off).decode_tokens_per_second for work in (short, long)]
    assert steps[0] is not None and steps[1] is not None
    assert 3.5 < steps[0] / steps[1] < 8
    assert predicted(small(), cpu(), long, off).bound == "compute"


def test_eager_attention_costs_with_the_square_of_the_prompt() -> None:
    eager = CPU_SETUP.changed({"attn_implementation": "eager"})

    def extra(tokens: int) -> float:
        work = Workload(batch=1, prompt_tokens=tokens, new_tokens=1)
        first, plain = (predicted(small(), cpu(), work, setup).ttft_seconds for setup in (eager, CPU_SETUP))
        assert first is not None and plain is not None
        return first - plain

    assert extra(2048) == pytest.approx(4 * extra(1024), rel=0.01)


def test_eager_attention_on_an_accelerator_slows_the_prompt_alone() -> None:
    eager = GPU_SETUP.changed({"attn_implementation": "eager"})
    work = Workload(batch=4, prompt_tokens=4096, new_tokens=32)
    slow, plain = (predicted(model(), a100(), work, setup) for setup in (eager, GPU_SETUP))
    assert slow.ttft_seconds and plain.ttft_seconds and slow.ttft_seconds > 1.1 * plain.ttft_seconds
    assert slow.decode_tokens_per_second == plain.decode_tokens_per_second


def test_compiling_takes_the_host_out_of_a_step() -> None:
    compiled = {"cache_implementation": "static", "compile": "generate"}
    on_gpu = predicted(small(), a100(), ONE, GPU_SETUP.changed(compiled))
    assert on_gpu.decode_tokens_per_second is not None
    # What is done around the layers stays (0.77 ms), and sixteen layers take 0.09 ms each.
    assert 0.8 < on_gpu.decode_tokens_per_second * (0.77e-3 + 16 * 0.09e-3) <= 1
    gain = total(small(), cpu(), ONE, CPU_SETUP.changed(compiled)) / total(small(), cpu(), ONE, CPU_SETUP)
    assert 1.05 < gain < 1.3


def test_a_graph_of_a_small_model_reads_matrices_too_small_to_fill_the_device() -> None:
    compiled = GPU_SETUP.changed({"cache_implementation": "static", "compile": "generate"})
    rates = {}
    for name, found in (("small", small()), ("large", model())):
        rate = predicted(found, a100(), ONE, compiled).decode_tokens_per_second
        parameters = found.count("model.parameters_linear")
        assert rate is not None and parameters is not None
        rates[name] = 2 * parameters * rate
    # Bytes a second: 0.51 of the bandwidth is the most for matrices below 32 MB.
    assert rates["small"] < 0.51 * 2.039e12 < rates["large"]


def test_a_prompt_in_chunks_reads_the_weights_for_each() -> None:
    work = Workload(batch=1, prompt_tokens=4096, new_tokens=16)
    times = [
        predicted(model(), a100(), work, GPU_SETUP.changed({"prefill_chunk_size": size})).ttft_seconds
        for size in (8192, 4096, 1024, 64)
    ]
    whole = predicted(model(), a100(), work, GPU_SETUP).ttft_seconds
    assert whole is not None and times[0] == times[1] == whole
    assert times[2] is not None and times[3] is not None
    assert whole < times[2] < 1.5 * whole < times[3]


def test_tf32_quickens_float32_prompts_where_the_device_has_it() -> None:
    plain = GPU_SETUP.changed({"dtype": "float32", "matmul_precision": "highest"})
    work = Workload(batch=8, prompt_tokens=1024, new_tokens=8)

    def gain(machine: Facts) -> float:
        rates = [
            predicted(small(), machine, work, plain.changed({"matmul_precision": precision})).ttft_seconds
            for precision in ("highest", "high")
        ]
        assert rates[0] is not None and rates[1] is not None
        return rates[0] / rates[1]

    # 156 against 19.5 TFLOP/s on an A100; attention and the host take their share.
    assert 4 < gain(a100()) <= 8
    assert gain(a100(gpu__name="Tesla T4", gpu__capability=7.5, gpu__memory_total_bytes=15 * GIB)) == 1.0


def test_drafting_pays_where_checking_is_free_and_not_where_arithmetic_binds() -> None:
    on_gpu = break_even_acceptance(model(), a100(), ONE, GPU_SETUP)
    on_cpu = break_even_acceptance(small(), cpu(), ONE, CPU_SETUP)
    compiled = GPU_SETUP.changed({"cache_implementation": "static", "compile": "generate"})
    against_a_graph = break_even_acceptance(small(), a100(), ONE, compiled)
    assert on_gpu is not None and on_cpu is not None and against_a_graph is not None
    assert on_gpu < 0.05 < on_cpu < 0.95
    assert against_a_graph > 0.5
    assert break_even_acceptance(model(), Facts(), ONE, GPU_SETUP) is None


@given(st.floats(1.0, 11.0), st.integers(1, 10))
def test_at_the_break_even_a_pass_makes_what_plain_steps_make(cost: float, drafted: int) -> None:
    share = drafting._needed(cost, drafted)
    assert 0 <= share <= 1
    if cost <= drafted + 1:
        assert drafting.tokens_of_a_pass(share, drafted) == pytest.approx(cost, abs=0.02)
    else:
        assert share == 1


def test_fp8_that_the_device_cannot_use_is_no_faster() -> None:
    fp8 = GPU_SETUP.changed({"quantization": "fp8"})
    old, plain = (predicted(model(), a100(), ONE, setup) for setup in (fp8, GPU_SETUP))
    assert old == plain
    h100 = a100(gpu__name="NVIDIA H100 80GB HBM3", gpu__capability=9.0)
    new, plain = (predicted(model(), h100, ONE, setup) for setup in (fp8, GPU_SETUP))
    assert new.bound == "host" and plain.bound is not None
    assert new.total_tokens_per_second != plain.total_tokens_per_second


def test_what_generate_does_not_compile_is_not_faster_for_being_asked() -> None:
    static = replace(GPU_SETUP, cache_implementation="static", quantization="bnb_nf4")
    asked = replace(static, compile="generate")
    assert total(model(), a100(), ONE, asked) == total(model(), a100(), ONE, static)
    assert break_even_calls(model(), a100(), ONE, asked, BARE) is None


def test_a_single_request_pays_for_compilation_itself() -> None:
    compiled = CPU_SETUP.changed({"cache_implementation": "static", "compile": "generate"})
    once = Workload(batch=1, prompt_tokens=128, new_tokens=64, repeats=False)
    assert total(small(), cpu(), once, compiled) < 64 / COMPILE_SECONDS[0]
    assert total(small(), cpu(), once, CPU_SETUP) == total(small(), cpu(), ONE, CPU_SETUP)


def test_break_even_counts_requests_until_compilation_has_paid_back() -> None:
    compiled = CPU_SETUP.changed({"cache_implementation": "static", "compile": "generate"})
    found = break_even_calls(small(), cpu(), ONE, compiled, BARE)
    assert found is not None
    saved = 64 / total(small(), cpu(), ONE, CPU_SETUP.changed({"cache_implementation": "static"}))
    saved -= 64 / total(small(), cpu(), ONE, compiled)
    assert found == pytest.approx((COMPILE_SECONDS[0] / saved, COMPILE_SECONDS[1] / saved))
    assert break_even_calls(small(), cpu(), ONE, CPU_SETUP, BARE) is None
    assert break_even_calls(small(), Facts(), ONE, compiled, BARE) is None


def test_quantized_weights_on_an_accelerator_trade_bytes_for_launches() -> None:
    """4-bit weights help where reading counts and hurt where launching does; 8-bit ones of bitsandbytes launch most."""
    slow_to_read = a100(gpu__bandwidth_bytes_per_second=3e11)
    four, eight = (GPU_SETUP.changed({"quantization": name}) for name in ("bnb_nf4", "bnb_int8"))
    assert total(model(), slow_to_read, ONE, four) > 1.2 * total(model(), slow_to_read, ONE, GPU_SETUP)
    assert total(small(), a100(), ONE, four) < 0.8 * total(small(), a100(), ONE, GPU_SETUP)
    assert total(small(), a100(), ONE, eight) < total(small(), a100(), ONE, four)


def test_4_bit_weights_are_written_out_for_more_than_one_row() -> None:
    """More than one row costs a 4-bit model at least what it costs a plain one, so a batch gains nothing from it."""
    slow_to_read = a100(gpu__bandwidth_bytes_per_second=3e11)
    four = GPU_SETUP.changed({"quantization": "bnb_nf4"})
    assert total(model(), slow_to_read, EIGHT, four) < total(model(), slow_to_read, EIGHT, GPU_SETUP)


def test_a_step_of_several_prompts_launches_more_with_4_bits() -> None:
    """Published on an A100: 42.2 ms a step for one prompt, 52.4 for four, eight and sixteen."""
    four = GPU_SETUP.changed({"quantization": "bnb_nf4"})
    one, eight = (decode_rate(small(), a100(), workload, four) for workload in (ONE, EIGHT))
    assert 1.15 < 8 * one / eight < 1.25  # what is spent around the layers is spent once


@pytest.mark.parametrize(("scheme", "slower"), [("bnb_int8", 1.3), ("bnb_nf4", 1.18), ("bnb_nf4_double", 1.28)])
def test_bitsandbytes_before_0_45_launches_slower(scheme: str, slower: float) -> None:
    setup = GPU_SETUP.changed({"quantization": scheme})
    old, new, unreleased = (
        decode_rate(small(), a100(bitsandbytes__version=version), ONE, setup)
        for version in ("0.44.1", "0.45.0", "0.45.0.dev0")
    )
    assert new == unreleased
    assert 1 < new / old < slower


def test_calling_4_bit_layers_costs_the_host_however_small_they_are() -> None:
    def gain(linear: int) -> float:
        """Of a model with so many parameters in its layers."""
        sized = small(parameters_linear=linear, parameters=linear + 24_576_000)
        four, plain = (total(sized, cpu(), ONE, CPU_SETUP.changed({"quantization": q})) for q in ("bnb_nf4", "none"))
        return four / plain

    assert gain(5_000_000) < 1 < 1.2 < gain(400_000_000)


def test_quantized_weights_on_a_cpu_depend_on_what_plain_bf16_reaches_there() -> None:
    four = CPU_SETUP.changed({"quantization": "bnb_nf4"})
    assert total(small(), cpu(), ONE, four) > 1.1 * total(small(), cpu(), ONE, CPU_SETUP)
    with_amx = cpu(host__amx_bf16=True)
    assert total(small(), with_amx, EIGHT, four) < 0.9 * total(small(), with_amx, EIGHT, CPU_SETUP)
    nobody_knows = cpu(host__amx_bf16=None)
    assert total(small(), nobody_knows, EIGHT, four) == pytest.approx(total(small(), with_amx, EIGHT, four))


def test_a_prequantized_checkpoint_counts_without_a_knob() -> None:
    stored = {"checkpoint_quantization": "bitsandbytes", "checkpoint_bytes": 5_850_000_000}
    wanted = GPU_SETUP.changed({"quantization": "bnb_nf4"})
    found = speed(model(**stored), a100(), ONE, GPU_SETUP, BARE)
    assert found == speed(model(), a100(), ONE, wanted, BARE)
    wide = speed(model(**{**stored, "checkpoint_bytes": 8_700_000_000}), a100(), ONE, GPU_SETUP, BARE)
    assert wide == speed(model(), a100(), ONE, GPU_SETUP.changed({"quantization": "bnb_int8"}), BARE)


@pytest.mark.parametrize("method", ["hqq", "of a kind nobody knows"])
def test_an_unknown_kind_of_quantization_has_no_speed(method: str) -> None:
    assert speed(model(checkpoint_quantization=method), a100(), ONE, GPU_SETUP, BARE) == Speed(None, None, None)
    assert speed(model(checkpoint_quantization="gptq"), cpu(), ONE, CPU_SETUP, BARE) == Speed(None, None, None)


def test_more_threads_than_cores_are_slower_and_one_thread_is_slower_than_two() -> None:
    speeds = [total(small(), cpu(), EIGHT, CPU_SETUP.changed({"threads": threads})) for threads in (1, 2, 4)]
    assert speeds[0] < speeds[1] > speeds[2]


def test_weights_that_are_fetched_from_ram_cost_more_than_anything_else() -> None:
    tight = a100(gpu__memory_free_bytes=8 * GIB)
    spread = GPU_SETUP.changed({"device_map": "auto"})
    found = predicted(model(), tight, ONE, spread)
    shares = split(model(), tight, spread)
    assert shares is not None
    away = sum(share.weights_bytes for share in shares if share.device == "cpu")
    assert away > 15.2e9 - 0.9 * 8 * GIB
    assert found.decode_tokens_per_second == pytest.approx(1 / (away / 6e9 + 0.025), rel=0.05)
    assert found.bound == "bandwidth"
    assert total(model(), a100(), ONE, spread) == total(model(), a100(), ONE, GPU_SETUP)


def test_further_gpus_add_a_little_host_time_and_no_speed() -> None:
    two = a100(gpu__count=2, gpu__0__memory_free_bytes=79 * GIB, gpu__1__memory_free_bytes=79 * GIB)
    spread = GPU_SETUP.changed({"device_map": "balanced"})
    assert 0.98 < total(small(), two, ONE, spread) / total(small(), a100(), ONE, spread) < 1.0


def test_experts_are_read_as_far_as_they_are_chosen() -> None:
    """One prompt reads the chosen experts only, a large batch nearly all of them."""
    routed = model(experts=64, experts_active=4, parameters_experts=6_000_000_000)
    slow_to_read = a100(gpu__bandwidth_bytes_per_second=1e11)
    assert total(routed, slow_to_read, ONE, GPU_SETUP) > 4 * total(model(), slow_to_read, ONE, GPU_SETUP)
    many = Workload(batch=64, prompt_tokens=8, new_tokens=16)
    assert total(routed, slow_to_read, many, GPU_SETUP) < 1.1 * total(model(), slow_to_read, many, GPU_SETUP)


def test_a_long_cache_slows_the_step_and_a_window_bounds_it() -> None:
    long = Workload(batch=8, prompt_tokens=32000, new_tokens=16)
    windowed = model(full_layers=0, sliding_layers=28, sliding_window_tokens=1024)
    full, sliding = (predicted(each, a100(), long, GPU_SETUP).decode_tokens_per_second for each in (model(), windowed))
    assert full is not None and sliding is not None and full < 0.7 * sliding


def test_an_offloaded_cache_crosses_the_bus_twice_in_every_step() -> None:
    load = Workload(prompt_tokens=20_000, new_tokens=101, batch=4)
    setup = Setup(device="cuda", dtype="bfloat16", use_cache=True, cache_implementation="dynamic")
    away = setup.changed({"cache_implementation": "offloaded"})
    here, there = (predicted(model(), a100(), load, each).decode_tokens_per_second for each in (setup, away))
    assert here is not None and there is not None
    # Keys and values of 28 layers, 4 heads of 128, in two bytes; 20,050 tokens of four prompts in an average step.
    stored = 4 * 28 * 20_050 * 4 * (128 + 128) * 2
    assert 4 / there - 4 / here == pytest.approx(2 * stored / 12.8e9, rel=0.05)


def test_older_transformers_repeat_keys_and_read_them_more_often() -> None:
    long = Workload(batch=8, prompt_tokens=16000, new_tokens=16)
    old, new = (
        predicted(model(), a100(transformers__version=version), long, GPU_SETUP).decode_tokens_per_second
        for version in ("4.46.3", "4.54.0")
    )
    assert old is not None and new is not None and old < 0.5 * new


@pytest.mark.parametrize(
    ("known", "machine", "setup"),
    [
        (model(), Facts(), GPU_SETUP),
        (model(), a100(gpu__name="NVIDIA GeForce RTX 4090 Laptop GPU"), GPU_SETUP),
        (
            model(),
            a100(gpu__name="AMD Instinct MI300X", gpu__vendor="amd", gpu__memory_total_bytes=192 * GIB),
            GPU_SETUP,
        ),
        (model(), a100(), CPU_SETUP),
        (model(), cpu(), GPU_SETUP),
        (model(), cpu(speed__gemv_bfloat16_bytes_per_second=None), CPU_SETUP),
        (model(layers=None), a100(), GPU_SETUP),
        (model(parameters_linear=None), a100(), GPU_SETUP),
        (model(experts=8, experts_active=None), a100(), GPU_SETUP),
        (model(sliding_layers=14, full_layers=14), a100(), GPU_SETUP),
        (model(), a100(), GPU_SETUP.changed({"cache_implementation": "quantized"})),
    ],
)
def test_what_is_not_known_gives_no_number(known: Facts, machine: Facts, setup: Setup) -> None:
    assert speed(known, machine, ONE, setup, BARE) == Speed(None, None, None, None)


def test_a_batch_without_a_known_rate_of_arithmetic_has_no_number() -> None:
    """A laptop card's bandwidth comes from the driver, its arithmetic from nowhere: not even the prompt is known."""
    laptop = a100(gpu__name="NVIDIA GeForce RTX 4090 Laptop GPU", gpu__bandwidth_bytes_per_second=576e9)
    assert speed(model(), laptop, EIGHT, GPU_SETUP, BARE) == Speed(None, None, None)


def test_bf16_without_units_for_it_is_computed_as_fp32() -> None:
    turing = a100(gpu__name="Tesla T4", gpu__capability=7.5, gpu__memory_total_bytes=15 * GIB)
    long = Workload(batch=1, prompt_tokens=4096, new_tokens=1)
    bf16, fp16 = (
        speed(model(), turing, long, GPU_SETUP.changed({"dtype": kind}), BARE).ttft_seconds
        for kind in ("bfloat16", "float16")
    )
    assert bf16 is not None and fp16 is not None and bf16 > 4 * fp16


def test_fp16_of_pascal_is_computed_as_fp32_too() -> None:
    pascal = a100(gpu__name="NVIDIA GeForce GTX 1080 Ti", gpu__capability=6.1, gpu__memory_total_bytes=11 * GIB)
    bf16, fp16 = (
        speed(model(), pascal, EIGHT, GPU_SETUP.changed({"dtype": kind}), BARE) for kind in ("bfloat16", "float16")
    )
    assert fp16 == bf16 and fp16.ttft_seconds is not None


def test_bands_say_what_the_figures_rest_on() -> None:
    measured = a100(speed__device="NVIDIA A100-SXM4-80GB", speed__layer_host_seconds=0.8e-3)
    by_name, by_host = (speed_band(model(), machine, GPU_SETUP) for machine in (a100(), measured))
    assert by_name is not None and by_host is not None and by_name[0] < by_host[0] < 1 < by_host[1] < by_name[1]
    older = speed_band(model(), measured | Facts({"transformers.version": Known("4.45.2", "test")}), GPU_SETUP)
    assert older is not None and older[0] < by_host[0]
    on_cpu = speed_band(small(), cpu(), CPU_SETUP)
    quantized = speed_band(small(), cpu(), CPU_SETUP.changed({"quantization": "bnb_int8"}))
    assert on_cpu is not None and quantized is not None and quantized[0] < on_cpu[0] and on_cpu[1] < quantized[1]
    assert speed_band(model(), Facts(), GPU_SETUP) is None


def test_before_turing_a_predicted_speed_has_no_band() -> None:
    """No published run that the estimate was held against is on so old a GPU."""
    pascal = a100(gpu__name="NVIDIA GeForce GTX 1080 Ti", gpu__capability=6.1, gpu__memory_total_bytes=11 * GIB)
    assert predicted(model(), pascal, ONE, GPU_SETUP).decode_tokens_per_second is not None
    assert speed_band(model(), pascal, GPU_SETUP) is None
    turing = a100(gpu__name="Tesla T4", gpu__capability=7.5, gpu__memory_total_bytes=15 * GIB)
    assert speed_band(model(), turing, GPU_SETUP) == speed_band(model(), a100(), GPU_SETUP)


def test_constants_measured_on_an_accelerator_replace_the_catalog() -> None:
    kinds = ("gemv_bfloat16_bytes", "small_gemm_bfloat16_flops", "gemm_bfloat16_flops", "kv_bfloat16_bytes")
    rates = dict(zip((f"speed__{kind}_per_second" for kind in kinds), (1e12, 1.6e13, 1e14, 5e11), strict=True))
    machine = a100(speed__device="NVIDIA A100-SXM4-80GB", speed__layer_host_seconds=0.1e-3, **rates)
    found = constants(machine, GPU_SETUP, "bfloat16")
    assert found is not None and found.measured
    assert found.matrices == Measured(2e-12, 1e-12, 5.12e-12)
    catalog = constants(a100(), GPU_SETUP, "bfloat16")
    assert catalog is not None and isinstance(catalog.matrices, Roofline) and not catalog.measured


@given(st.floats(1, 5000), st.floats(1, 5000))
def test_more_rows_never_cost_less(a: float, b: float) -> None:
    few, many = sorted((a, b))
    for matrices in (Measured(2e-10, 3e-10, 5e-9), Roofline(1e-12, 1e-14, 2)):
        low, high = matrices.seconds(few), matrices.seconds(many)
        assert low is not None and high is not None and low <= high


@given(
    batch=st.integers(1, 300),
    prompt=st.integers(1, 100_000),
    new=st.integers(1, 5000),
    concurrency=st.integers(1, 50),
    mixed=st.booleans(),
    size=st.none() | st.integers(1, 64),
    batching=st.sampled_from(["loop", "padded", "sorted", "continuous"]),
)
def test_every_workload_has_finite_figures(
    batch: int, prompt: int, new: int, concurrency: int, mixed: bool, size: int | None, batching: str
) -> None:
    work = Workload(batch=batch, prompt_tokens=prompt, new_tokens=new, concurrency=concurrency, mixed_lengths=mixed)
    for machine, setup in ((a100(), GPU_SETUP), (cpu(), CPU_SETUP)):
        changed = setup.changed({"batching": batching} if size is None else {"batching": batching, "batch_size": size})
        found = speed(small(), machine, work, changed, BARE)
        assert found.ttft_seconds and found.decode_tokens_per_second and found.total_tokens_per_second
        assert 0 < found.ttft_seconds < 1e12
        assert found.bound in ("host", "bandwidth", "compute")


def by_size(**changes: Any) -> Facts:
    """A CPU on which small matrices are read at half the rate of middle ones, and wide ones at twice that rate."""
    rates = {
        "narrow_gemv_bfloat16_bytes": 8e9,
        "wide_gemv_bfloat16_bytes": 32e9,
        "narrow_small_gemm_bfloat16_flops": 50e9,
        "wide_small_gemm_bfloat16_flops": 194e9,
        "narrow_head_gemv_bfloat16_bytes": 10e9,
        "head_gemv_bfloat16_bytes": 20e9,
        "narrow_head_small_gemm_bfloat16_flops": 50e9,
        "head_small_gemm_bfloat16_flops": 100e9,
    }
    return cpu(**{**{f"speed__{name}_per_second": rate for name, rate in rates.items()}, **changes})


def test_small_matrices_are_read_more_slowly_than_large_ones() -> None:
    found = constants(by_size(), CPU_SETUP, "bfloat16")
    assert found is not None and found.layer_fixed_seconds == 0.0
    ends = {size: found.products(size).seconds(1) for size, _ in found.sizes}
    assert list(ends.values()) == pytest.approx([2 / 8e9, 2 / 16e9, 2 / 32e9])
    assert found.products(1e9).seconds(1) == pytest.approx(2 / 32e9)
    assert found.products(1e3).seconds(1) == pytest.approx(2 / 8e9)
    # Half-way in 1 / parameters is half-way in seconds.
    (narrow, _), (middle, _), _ = found.sizes
    assert found.products(2 / (1 / narrow + 1 / middle)).seconds(1) == pytest.approx((2 / 8e9 + 2 / 16e9) / 2)


def test_the_output_projection_goes_by_the_width() -> None:
    found = constants(by_size(), CPU_SETUP, "bfloat16")
    assert found is not None
    assert found.output_projection(512).seconds(1) == pytest.approx(2 / 10e9)
    assert found.output_projection(4096).seconds(1) == pytest.approx(2 / 20e9)
    plain = constants(cpu(), CPU_SETUP, "bfloat16")
    assert plain is not None and plain.output_projection(4096) == plain.matrices


def test_a_size_that_was_not_measured_leaves_one_rate_for_all() -> None:
    found = constants(by_size(speed__wide_gemv_bfloat16_bytes_per_second=None), CPU_SETUP, "bfloat16")
    assert found is not None and found.products(1e9) == found.matrices
