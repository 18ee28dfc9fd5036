"""Facts that follow from others: of the setup with the machine, of the model with the library, and of the estimate."""

import pytest

from advisor import derived
from advisor.derived import Predictions
from advisor.facts import Facts, Known, Unknown
from advisor.plan import Estimate, Memory, Speed
from advisor.setup import Setup
from advisor.workload import Workload

GIB = 2**30


def facts(**values: object) -> Facts:
    return Facts({name.replace("__", "."): Known(value, "test") for name, value in values.items()})  # type: ignore[arg-type]


def estimate(weights: int = 4 * GIB, total: int = 8 * GIB, fits: bool | None = True) -> Estimate:
    memory = Memory(weights, GIB, 2 * GIB, GIB, 0, total, 10 * GIB, fits)
    return Estimate(memory, Speed(1.0, 10.0, 5.0, "bandwidth"), "formula", None, None)


def predictions(**answers: object) -> Predictions:
    asked = {
        "estimate": lambda setup: estimate(),
        "largest_batch": lambda setup: 6,
        "largest_context": lambda setup: 4096,
        "break_even_calls": lambda setup: (3.2, 9.1),
        "break_even_acceptance": lambda setup: 0.25,
    }
    return Predictions(**{**asked, **answers})  # type: ignore[arg-type]


GPU = facts(gpu__count=1, gpu__capability=8.0, gpu__memory_free_bytes=10 * GIB, gpu__0__memory_free_bytes=10 * GIB)


def of_estimate(setup: Setup | None = None, load: Workload | None = None, **answers: object) -> Facts:
    return derived.of_estimate(
        predictions(**answers),
        Facts(),
        GPU,
        load or Workload(batch=8),
        setup or Setup(device="cuda", batching="padded"),
    )


def test_tf32_begins_with_ampere_and_fp8_with_ada() -> None:
    found = derived.of_device(GPU, Setup(device="cuda"))
    assert (found.value("device.fast_tf32"), found.value("device.fast_fp8")) == (True, False)
    assert derived.of_device(GPU, Setup(device="cpu")).value("device.fast_tf32") is False


def test_without_a_capability_nothing_is_claimed() -> None:
    assert isinstance(derived.of_device(Facts(), Setup(device="cuda")).get("device.fast_fp8"), Unknown)


def test_memory_of_all_devices_is_added_up_only_where_all_tell() -> None:
    two = GPU | facts(gpu__count=2, gpu__1__memory_free_bytes=3 * GIB)
    assert derived.of_device(two, Setup(device="cuda")).value("device.memory_all_free_bytes") == 13 * GIB
    silent = GPU | facts(gpu__count=2)
    assert derived.of_device(silent, Setup(device="cuda")).value("device.memory_all_free_bytes") is None


def test_flash_attention_is_known_by_package_and_by_kernel() -> None:
    names = {
        "flash_attention_2": 2,
        "flash_attention_4": 4,
        "kernels-community/flash-attn2": 2,
        "kernels-community/vllm-flash-attn3@v1": 3,
        "sdpa": None,
        "kernels-community/metal-flash-sdpa": None,
    }
    for name, version in names.items():
        found = derived.of_attention(Setup(attn_implementation=name))
        assert found.value("attention.flash") is (version is not None)
        assert found.value("attention.flash_version") == version
    assert isinstance(derived.of_attention(Setup()).get("attention.flash"), Unknown)


def test_experts_are_looped_as_the_setup_says_or_the_version_does() -> None:
    cases = {("eager", "5.22.2"): True, ("grouped_mm", "4.57"): False, (None, "4.57"): True, (None, "5.0"): False}
    for (chosen, version), expected in cases.items():
        machine = facts(transformers__version=version)
        found = derived.of_experts(facts(model__experts=8), machine, Setup(experts_implementation=chosen))
        assert found.value("model.experts_looped") is expected
    dense = derived.of_experts(facts(model__experts=0), Facts(), Setup(experts_implementation="eager"))
    assert dense.value("model.experts_looped") is False
    assert isinstance(
        derived.of_experts(facts(model__experts=8), Facts(), Setup()).get("model.experts_looped"), Unknown
    )


def test_gemma_3_and_gpt_oss_are_known_to_overflow_in_fp16() -> None:
    for kind, expected in {"gemma3": True, "gemma3_text": True, "gpt_oss": True, "gemma2": False}.items():
        assert derived.of_model(facts(model__type=kind), Facts()).value("model.overflows_fp16") is expected
    assert isinstance(derived.of_model(Facts(), Facts()).get("model.overflows_fp16"), Unknown)


def test_a_quantization_is_known_if_the_installed_library_lists_it() -> None:
    library = facts(transformers__quantizers=("bitsandbytes_4bit", "gptq"))
    for method, expected in (("none", True), ("bitsandbytes", True), ("gptq", True), ("hqq", False)):
        model = facts(model__checkpoint_quantization=method)
        assert derived.of_model(model, library).value("model.quantization_known") is expected
    assert derived.of_model(facts(model__checkpoint_quantization="hqq"), Facts()).value("x") is None


def test_heads_must_divide_by_the_devices_both_kinds() -> None:
    model = facts(model__heads=32, model__kv_heads=8)
    for count, expected in ((1, True), (8, True), (16, False)):
        assert derived.of_model(model, facts(gpu__count=count)).value("model.heads_divide") is expected


def test_shares_are_of_what_they_say() -> None:
    found = of_estimate()
    assert found.value("estimate.cache_share") == 0.25
    assert found.value("estimate.activation_share") == 0.125
    assert found.value("estimate.weights_share") == 0.4
    assert found.value("estimate.offloaded_share") == 0.0


def test_what_a_device_map_leaves_in_host_memory() -> None:
    spread = Setup(device="cuda", device_map="auto")
    found = of_estimate(spread, estimate=lambda setup: estimate(weights=12 * GIB))
    assert found.value("estimate.offloaded_bytes") == 3 * GIB  # nine tenths of ten GiB are given to weights
    assert found.value("estimate.offloaded_share") == 0.25


def test_what_the_weights_may_take_is_what_everything_else_leaves() -> None:
    model, setup = facts(model__parameters=8 * GIB), Setup(device="cuda")
    memory = estimate(weights=9 * GIB, total=12 * GIB, fits=False).memory
    most = derived.weights_to_fit(model, GPU, setup, memory)
    assert most is not None and most / GIB == pytest.approx(10 - 0.3 - 3, abs=0.01)
    bits = derived.bits_each(model, most)
    assert bits is not None and bits == pytest.approx(6.7, abs=0.01)
    assert derived.weights_to_fit(model, GPU, setup, estimate(weights=GIB, total=40 * GIB).memory) == 0
    assert derived.weights_to_fit(model, Facts(), setup, memory) is None
    assert derived.bits_each(Facts(), most) is None


def test_one_device_is_judged_without_the_device_map() -> None:
    found = of_estimate(
        Setup(device="cuda", device_map="auto", max_memory=("0=4GiB",)),
        estimate=lambda setup: estimate(fits=setup.device_map is None and setup.max_memory is None),
    )
    assert found.value("estimate.fits") is False
    assert found.value("estimate.one_device_fits") is True


def test_a_plain_cache_is_judged_by_the_setup_with_a_growing_one() -> None:
    found = of_estimate(
        setup=Setup(device="cuda", cache_implementation="offloaded_static", compile="generate"),
        estimate=lambda setup: estimate(fits=setup.cache_implementation == "dynamic" and setup.compile == "none"),
    )
    assert found.value("estimate.fits") is False
    assert found.value("estimate.plain_cache_fits") is True


def test_the_prefill_share_is_what_decoding_leaves() -> None:
    # 5 tokens/s in all against 10 while decoding: half of the time, and the first token of 128 is no step.
    found = of_estimate(load=Workload(new_tokens=128)).number("estimate.prefill_share")
    assert found is not None and abs(found - (1 - 0.5 * 127 / 128)) < 1e-9


def test_the_largest_batch_is_never_more_than_is_at_hand() -> None:
    assert of_estimate(load=Workload(batch=6)).value("estimate.largest_batch") == 6
    assert of_estimate(load=Workload(batch=2)).value("estimate.largest_batch") == 2


@pytest.mark.parametrize(
    ("prompts", "fitting", "in_one"), [(64, 62, 32), (32, 25, 16), (8, 6, 4), (64, 30, 22), (7, 1, 1)]
)
def test_prompts_are_spread_evenly_over_as_few_calls_as_fit(prompts: int, fitting: int, in_one: int) -> None:
    found = of_estimate(load=Workload(batch=prompts), largest_batch=lambda setup: fitting)
    assert found.value("estimate.largest_batch") == in_one
    assert -(-prompts // in_one) == -(-prompts // fitting)


def test_a_limit_of_requests_in_flight_is_known_only_where_they_do_not_all_fit() -> None:
    def six(setup: Setup) -> int:
        assert (setup.batching, setup.batch_size) == ("continuous", None)
        return 6

    assert of_estimate(largest_batch=six).value("estimate.in_flight_limit") == 6
    few = of_estimate(load=Workload(batch=2, concurrency=3), largest_batch=six)
    assert isinstance(few.get("estimate.in_flight_limit"), Unknown)
    assert of_estimate(largest_batch=lambda setup: 0).value("estimate.in_flight_limit") is None


def test_the_tokens_of_a_step_are_those_beside_the_requests_that_fit() -> None:
    found = of_estimate(estimate=lambda setup: estimate(fits=setup.batch_size == 6))
    assert found.value("estimate.batch_tokens") == 2048


def test_compilation_has_paid_back_at_the_latest_estimate() -> None:
    assert of_estimate().value("estimate.compile_break_even_calls") == 10


def test_batch_tokens_shrink_until_they_fit() -> None:
    small = of_estimate(estimate=lambda setup: estimate(fits=(setup.max_batch_tokens or 0) <= 1024))
    assert small.value("estimate.batch_tokens") == 1024
    assert of_estimate(estimate=lambda setup: estimate(fits=False)).value("estimate.batch_tokens") is None


def test_costly_facts_are_computed_only_when_asked_for() -> None:
    def never(setup: Setup) -> int:
        raise AssertionError("nobody asked")

    found = of_estimate(largest_context=never) | Facts({})
    assert found.value("estimate.fits") is True


def test_a_shared_batch_takes_the_prompts_of_all_requests_in_flight() -> None:
    found = of_estimate(load=Workload(batch=2, concurrency=8))
    assert (found.value("estimate.largest_batch"), found.value("estimate.largest_shared_batch")) == (2, 6)
    assert of_estimate(load=Workload(concurrency=3)).value("estimate.largest_shared_batch") == 3
    assert of_estimate(largest_batch=lambda setup: 0).value("estimate.largest_shared_batch") is None


@pytest.mark.parametrize(
    ("texts", "size", "largest", "wanted"),
    [(64, None, 99, 8), (400, None, 99, 50), (400, None, 20, 20), (64, 32, 99, 32)],
)
def test_sorted_texts_are_cut_into_batches(texts: int, size: int | None, largest: int, wanted: int) -> None:
    setup = Setup(device="cuda", batching="loop", batch_size=size)
    found = of_estimate(setup=setup, load=Workload(batch=texts), largest_batch=lambda setup: largest)
    assert found.value("estimate.sorted_batch") == wanted
    none = of_estimate(setup=setup, load=Workload(batch=texts), largest_batch=lambda setup: 0)
    assert none.value("estimate.sorted_batch") is None


def test_a_batch_leaves_room_while_fewer_calls_would_do() -> None:
    def leaves(size: int | None, prompts: int) -> object:
        setup = Setup(device="cuda", batching="padded", batch_size=size)
        return of_estimate(setup, Workload(batch=prompts)).value("estimate.batch_leaves_room")

    assert [leaves(2, 8), leaves(3, 8), leaves(5, 8), leaves(6, 8), leaves(2, 2), leaves(None, 4)] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_limit_of_continuous_batching_is_one_that_the_setup_names() -> None:
    assert derived.of_device(GPU, Setup(max_batch_tokens=512)).value("continuous.limited") is True
    assert derived.of_device(GPU, Setup()).value("continuous.limited") is False


def test_tensor_parallelism_takes_the_most_devices_that_divide_the_heads() -> None:
    def size(count: int, heads: int, pairs: int) -> object:
        model = facts(model__heads=heads, model__kv_heads=pairs)
        return derived.of_model(model, facts(gpu__count=count)).value("model.tensor_parallel_size")

    assert [size(8, 32, 8), size(8, 28, 4), size(3, 32, 8), size(2, 7, 1), size(1, 32, 8)] == [8, 4, 2, 1, 1]
    assert derived.of_model(Facts(), facts(gpu__count=2)).value("model.tensor_parallel_size") is None


def test_torch_compile_writes_kernels_from_volta_on() -> None:
    for device, capability, expected in (
        ("cuda", 7.0, True),
        ("cuda", 6.1, False),
        ("cpu", 6.1, True),
        ("mps", 6.1, False),
    ):
        machine = facts(gpu__vendor="nvidia", gpu__capability=capability)
        assert derived.of_device(machine, Setup(device=device)).value("device.inductor") is expected
    assert derived.of_device(facts(gpu__vendor="amd"), Setup(device="cuda")).value("device.inductor") is True
    assert derived.of_device(Facts(), Setup(device="cuda")).value("device.inductor") is None
