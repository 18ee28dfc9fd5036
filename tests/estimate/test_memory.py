"""The memory formula: each term by hand, what fits and what does not, and that the unknown stays unknown."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.estimate.band import COMPILED_ON_CPU, CPU_LOW, CPU_REST, MEMORY_BAND, QUANTIZED_ON_CPU, memory_band
from advisor.estimate.memory import largest_batch, largest_context, memory
from advisor.estimate.room import CONTEXT_BYTES, PROCESS_BYTES, SLACK_BYTES, WORKSPACE_BYTES
from advisor.facts import Facts, Known, Unknown, Value
from advisor.probe import anatomy, shapes
from advisor.setup import Setup
from advisor.workload import Workload

GIB = 2**30
ONE = Workload(batch=1, prompt_tokens=1000, new_tokens=25)


def facts(**values: Value) -> Facts:
    return Facts({name.replace("__", "."): Known(value, "test") for name, value in values.items()})


def model(name: str, **values: Value) -> Facts:
    plain = facts(model__checkpoint_quantization="none", model__checkpoint_dtype="bfloat16")
    return anatomy.facts(shapes.load(name).anatomy) | plain | facts(**values)


def card(free: float, **values: Value) -> Facts:
    """A machine with one GPU that has `free` GiB free, and 64 GiB of RAM."""
    return facts(
        gpu__count=1,
        gpu__memory_free_bytes=round(free * GIB),
        gpu__capability=8.9,
        torch__sees_gpu=True,
        transformers__version="5.22.2",
        host__ram_available_bytes=64 * GIB,
    ) | facts(**values)


LLAMA = model("llama-3.1-8b")
CUDA = Setup(device="cuda", dtype="bfloat16", attn_implementation="sdpa")


class TestTerms:
    def test_weights_in_16_and_32_bits(self) -> None:
        assert memory(LLAMA, card(24), ONE, CUDA).weights_bytes == 8_030_261_248 * 2
        assert memory(LLAMA, card(24), ONE, Setup(device="cuda", dtype="float32")).weights_bytes == 8_030_261_248 * 4

    def test_keys_and_values_of_all_tokens_but_the_last(self) -> None:
        # 32 layers of 8 heads of 128 values, keys and values, 2 bytes each.
        token = 32 * 8 * 128 * 2 * 2
        assert memory(LLAMA, card(24), ONE, CUDA).kv_cache_bytes == 1024 * token
        assert memory(LLAMA, card(24), Workload(batch=4, prompt_tokens=1000, new_tokens=25), CUDA).kv_cache_bytes == (
            4 * 1024 * token
        )

    def test_the_latent_is_cached_since_5_15(self) -> None:
        deepseek = model("deepseek-v2-lite")
        new = memory(deepseek, card(24), ONE, CUDA).kv_cache_bytes
        old = memory(deepseek, card(24, transformers__version="5.14.0"), ONE, CUDA).kv_cache_bytes
        assert new == 1024 * 27 * (512 + 64) * 2
        assert old == 1024 * 27 * 16 * (192 + 128) * 2

    def test_sliding_layers_hold_the_prompt_until_the_first_step(self) -> None:
        mistral = model("mistral-7b-v0.1")
        long = Workload(batch=1, prompt_tokens=10_000, new_tokens=10)
        found = memory(mistral, card(24), long, CUDA)
        token = 32 * 8 * 128 * 2 * 2
        assert (found.kv_cache_bytes, found.kv_cache_peak_bytes) == (4096 * token, 10_000 * token)

    def test_the_prompt_is_padded_to_the_multiple(self) -> None:
        padded = memory(LLAMA, card(24), ONE, CUDA.changed({"pad_to_multiple_of": 512}))
        assert padded.kv_cache_bytes == (1024 + 24) * 32 * 8 * 128 * 2 * 2

    def test_eager_attention_pays_for_the_score_matrix(self) -> None:
        fused, eager = (
            memory(LLAMA, card(80), ONE, Setup(device="cuda", dtype="bfloat16", attn_implementation=kind))
            for kind in ("sdpa", "eager")
        )
        assert fused.activation_peak_bytes is not None
        assert eager.activation_peak_bytes is not None
        # A score for each head and pair of tokens: in bf16, in fp32, and cast back.
        assert eager.activation_peak_bytes > 32 * 1000 * 1000 * (2 + 4 + 2)
        assert fused.activation_peak_bytes < 32 * 1000 * 1000 * 8

    def test_a_gpu_pays_a_context_and_a_workspace(self) -> None:
        assert memory(LLAMA, card(24), ONE, CUDA).overhead_bytes == CONTEXT_BYTES + WORKSPACE_BYTES
        assert memory(LLAMA, card(24, gpu__capability=9.0), ONE, CUDA).overhead_bytes == CONTEXT_BYTES + 32 * 2**20

    def test_a_cpu_pays_the_process(self) -> None:
        setup = Setup(device="cpu", dtype="bfloat16")
        assert memory(LLAMA, card(24), ONE, setup).overhead_bytes == PROCESS_BYTES
        assert memory(LLAMA, card(24, speed__process_bytes=7), ONE, setup).overhead_bytes == 7

    def test_the_total_is_the_worse_of_prompt_and_end(self) -> None:
        found = memory(LLAMA, card(24), ONE, CUDA)
        assert found.total_bytes is not None
        assert found.weights_bytes is not None
        assert found.kv_cache_bytes is not None
        assert found.overhead_bytes is not None
        assert found.activation_peak_bytes is not None
        low = found.weights_bytes + found.overhead_bytes + found.kv_cache_bytes
        assert low < found.total_bytes <= low + found.activation_peak_bytes

    def test_no_cache_costs_the_prompt_again_at_every_step(self) -> None:
        found = memory(LLAMA, card(24), ONE, CUDA.changed({"use_cache": False}))
        assert found.kv_cache_bytes == found.kv_cache_peak_bytes == 0

    def test_an_offloaded_cache_leaves_two_layers_on_the_device(self) -> None:
        here = memory(LLAMA, card(24), Workload(batch=8, prompt_tokens=8000, new_tokens=9), CUDA)
        away = memory(
            LLAMA,
            card(24),
            Workload(batch=8, prompt_tokens=8000, new_tokens=9),
            CUDA.changed({"cache_implementation": "offloaded"}),
        )
        assert here.kv_cache_bytes == away.kv_cache_bytes
        assert here.total_bytes is not None
        assert away.total_bytes is not None
        assert here.kv_cache_bytes is not None
        assert here.total_bytes - away.total_bytes > 0.9 * 30 / 32 * here.kv_cache_bytes


class TestRows:
    BUSY = Workload(batch=8, prompt_tokens=1000, new_tokens=25, concurrency=3)

    @pytest.mark.parametrize(
        ("knobs", "rows"),
        [
            ({"batching": "loop"}, 1),
            ({"batching": "loop", "batch_size": 4}, 1),
            ({"batching": "padded"}, 8),
            ({}, 8),
            ({"batching": "sorted", "batch_size": 5}, 5),
            ({"batching": "padded", "batch_size": 100}, 24),
        ],
    )
    def test_prompts_side_by_side(self, knobs: dict[str, Value], rows: int) -> None:
        found = memory(LLAMA, card(80), self.BUSY, CUDA.changed(knobs)).kv_cache_bytes
        assert found == rows * 1024 * 32 * 8 * 128 * 2 * 2

    def test_continuous_batching_takes_whole_pages_for_all_requests(self) -> None:
        found = memory(LLAMA, card(80), self.BUSY, CUDA.changed({"batching": "continuous"})).kv_cache_bytes
        # 1025 tokens are five pages of 256, and one more for each request; two pages nobody reads.
        assert found == (24 * (5 + 1) + 2) * 256 * 32 * 8 * 128 * 2 * 2


class TestQuantized:
    def test_embedding_and_head_stay(self) -> None:
        found = memory(LLAMA, card(24), ONE, CUDA.changed({"quantization": "bnb_nf4"})).weights_bytes
        assert found == 6_979_321_856 * 4.5 / 8 + (8_030_261_248 - 6_979_321_856) * 2

    def test_the_schemes_by_size(self) -> None:
        sizes = [
            memory(LLAMA, card(24), ONE, CUDA.changed({"quantization": scheme})).weights_bytes or 0
            for scheme in ("bnb_nf4_double", "bnb_nf4", "bnb_int8", "none")
        ]
        assert sizes == sorted(set(sizes))

    def test_other_packages_keep_scales_of_their_own(self) -> None:
        reached, rest = 6_979_321_856, (8_030_261_248 - 6_979_321_856) * 2
        rows = reached // 4096
        sizes = {
            "torchao_int8": reached + 5 * rows,
            "quanto_int8": reached + 2 * rows,
            "quanto_int4": reached // 2 + 4 * (reached // 128),
            "torchao_int4": reached * 4.25 / 8,  # 4096 and 14336 are multiples of 1024
        }
        for scheme, size in sizes.items():
            found = memory(LLAMA, card(24), ONE, CUDA.changed({"quantization": scheme})).weights_bytes
            assert found == pytest.approx(size + rest, abs=2), scheme

    def test_int4_matrices_are_padded_to_the_tile(self) -> None:
        qwen = model("qwen2.5-7b")  # 3584 columns become 4096; 18944 become 19456
        plain, padded = (
            memory(qwen, card(24), ONE, CUDA.changed({"quantization": scheme})).weights_bytes or 0
            for scheme in ("quanto_int4", "torchao_int4")
        )
        assert 1.05 < padded / plain < 1.10

    def test_fp8_on_load_needs_the_units_and_reaches_experts(self) -> None:
        fp8 = CUDA.changed({"quantization": "fp8"})
        assert memory(LLAMA, card(24, gpu__capability=8.6), ONE, fp8).weights_bytes == 8_030_261_248 * 2
        assert memory(LLAMA, card(24, gpu__capability=8.9), ONE, fp8).weights_bytes == pytest.approx(
            6_979_321_856 * 1.000244 + (8_030_261_248 - 6_979_321_856) * 2, rel=1e-6
        )
        mixtral = memory(model("mixtral-8x7b"), card(80, gpu__capability=9.0), ONE, fp8).weights_bytes
        assert mixtral is not None and mixtral < 0.52 * 46_702_792_704 * 2

    def test_experts_in_one_tensor_stay_as_they_are(self) -> None:
        """transformers 5 stacks them; before they were linear layers like others."""
        mixtral, nf4 = model("mixtral-8x7b"), CUDA.changed({"quantization": "bnb_nf4"})
        new = memory(mixtral, card(80), ONE, nf4).weights_bytes
        old = memory(mixtral, card(80, transformers__version="4.57.6"), ONE, nf4).weights_bytes
        assert new is not None
        assert old is not None
        assert new > 45_097_156_608 * 2
        assert old < 0.3 * 46_702_792_704 * 2

    def test_a_quantized_checkpoint_is_as_large_as_its_files(self) -> None:
        awq = model("llama-3.1-8b", model__checkpoint_quantization="awq", model__checkpoint_bytes=5_700_000_000)
        assert memory(awq, card(24), ONE, CUDA).weights_bytes == 5_700_000_000
        assert memory(awq, card(24), ONE, CUDA.changed({"quantization": "bnb_nf4"})).weights_bytes is None

    def test_compressed_tensors_are_unpacked_by_the_first_forward_pass(self) -> None:
        packed = {"model__checkpoint_quantization": "compressed-tensors", "model__checkpoint_bytes": 5_700_000_000}
        assert memory(model("llama-3.1-8b", **packed), card(24), ONE, CUDA).weights_bytes == 8_030_261_248 * 2

    def test_mxfp4_is_written_out_where_it_cannot_be_used(self) -> None:
        oss = model("gpt-oss-20b", model__checkpoint_quantization="mxfp4")
        ready = {"triton__version": "3.5.0", "triton__installed": True, "kernels__accepted": True}
        small = memory(oss, card(80, **ready), ONE, CUDA).weights_bytes
        assert small == 19_110_297_600 * 4.25 / 8 + (20_914_757_184 - 19_110_297_600) * 2
        for wrong in ({"triton__version": "3.3.0"}, {"kernels__accepted": False}, {"gpu__capability": 7.0}):
            assert memory(oss, card(80, **{**ready, **wrong}), ONE, CUDA).weights_bytes == 20_914_757_184 * 2
        assert memory(oss, card(80), ONE, CUDA).weights_bytes is None

    def test_fp8_needs_ada_or_newer(self) -> None:
        deepseek = model("deepseek-v3", model__checkpoint_quantization="fp8", model__checkpoint_bytes=688_000_000_000)
        assert memory(deepseek, card(80), ONE, CUDA).weights_bytes == 688_000_000_000
        assert memory(deepseek, card(80, gpu__capability=8.0), ONE, CUDA).weights_bytes == 671_026_404_352 * 2


class TestDefaults:
    def test_version_5_loads_what_the_config_asks_for_and_4_loads_float32(self) -> None:
        setup = Setup(device="cuda")
        llama = model("llama-3.1-8b", model__config_dtype="float16", model__checkpoint_dtype="float32")
        assert memory(llama, card(24), ONE, setup).weights_bytes == 8_030_261_248 * 2
        assert memory(llama, card(24, transformers__version="4.57.6"), ONE, setup).weights_bytes == 8_030_261_248 * 4

    def test_nothing_said_is_the_cpu(self) -> None:
        assert memory(LLAMA, card(24), ONE, Setup()).available_bytes == 64 * GIB

    def test_a_class_without_sdpa_runs_eager(self) -> None:
        plain = Setup(device="cuda", dtype="bfloat16")
        without = memory(LLAMA | facts(model__supports_sdpa=False), card(80), ONE, plain)
        assert without.activation_peak_bytes == (
            memory(LLAMA, card(80), ONE, plain.changed({"attn_implementation": "eager"})).activation_peak_bytes
        )


class TestFits:
    def test_free_memory_counts_with_a_margin(self) -> None:
        needed = memory(LLAMA, card(80), ONE, CUDA).total_bytes
        assert needed is not None
        edge = max(needed + SLACK_BYTES, round(needed / 0.97))
        enough = facts(gpu__memory_free_bytes=edge + 2**20)
        short = facts(gpu__memory_free_bytes=edge - 2**20)
        assert memory(LLAMA, card(80) | enough, ONE, CUDA).fits is True
        assert memory(LLAMA, card(80) | short, ONE, CUDA).fits is False

    def test_two_cards_take_what_one_cannot(self) -> None:
        pair = card(12, gpu__count=2) | Facts({f"gpu.{i}.memory_free_bytes": Known(12 * GIB, "test") for i in range(2)})
        assert memory(LLAMA, pair, ONE, CUDA).fits is False
        both = memory(LLAMA, pair, ONE, CUDA.changed({"device_map": "auto"}))
        assert both.fits is True
        assert both.available_bytes == 24 * GIB
        assert both.overhead_bytes == 2 * (CONTEXT_BYTES + WORKSPACE_BYTES)

    def test_what_goes_to_ram_leaves_the_total(self) -> None:
        spread = memory(LLAMA, card(12), ONE, CUDA.changed({"device_map": "auto"}))
        assert spread.total_bytes is not None
        assert spread.total_bytes < 12 * GIB
        assert spread.weights_bytes == 8_030_261_248 * 2
        tight = card(12, host__ram_available_bytes=1 * GIB)
        crowded = memory(LLAMA, tight, ONE, CUDA.changed({"device_map": "auto"}))
        assert crowded.fits is False
        assert crowded.total_bytes is not None
        assert crowded.total_bytes > 15 * GIB

    def test_only_auto_leaves_a_tenth_of_the_only_gpu_free(self) -> None:
        """The tenth is room for two layers and some more."""
        auto, filled = (
            memory(LLAMA, card(12), ONE, CUDA.changed({"device_map": way})) for way in ("auto", "sequential")
        )
        assert auto.total_bytes is not None and filled.total_bytes is not None
        layer = 2 * 218_112_000
        assert (filled.total_bytes - auto.total_bytes) / layer == pytest.approx(3, abs=0.01)

    def test_quantized_weights_do_not_go_to_ram(self) -> None:
        nf4 = CUDA.changed({"device_map": "auto", "quantization": "bnb_nf4"})
        assert memory(LLAMA, card(4), ONE, nf4).fits is False

    def test_limits_that_the_user_sets(self) -> None:
        setup = CUDA.changed({"device_map": "auto", "max_memory": ("0=8GiB", "cpu=30GiB")})
        found = memory(LLAMA, card(24), ONE, setup)
        assert found.fits is True
        assert found.total_bytes is not None
        assert found.total_bytes < 10 * GIB
        alone = CUDA.changed({"device_map": "auto", "max_memory": ("0=8GiB",)})
        assert memory(LLAMA, card(24), ONE, alone).fits is False


def band_of(model: Facts, machine: Facts, setup: Setup) -> tuple[float, float] | None:
    return memory_band(model, machine, setup, memory(model, machine, ONE, setup))


class TestUnknown:
    @pytest.mark.parametrize(
        "name", ["parameters", "checkpoint_quantization", "kv_heads", "full_layers", "hidden_size", "vocab_size"]
    )
    def test_a_missing_fact_leaves_no_total(self, name: str) -> None:
        found = memory(LLAMA | Facts({f"model.{name}": Unknown("test")}), card(24), ONE, CUDA)
        assert found.total_bytes is None
        assert found.fits is None

    def test_terms_that_are_known_stay(self) -> None:
        found = memory(LLAMA | Facts({"model.kv_heads": Unknown("test")}), card(24), ONE, CUDA)
        assert found.weights_bytes == 8_030_261_248 * 2
        assert found.kv_cache_bytes is None

    def test_a_machine_without_a_word_about_free_memory(self) -> None:
        found = memory(LLAMA, facts(), ONE, CUDA)
        assert (found.available_bytes, found.fits) == (None, None)
        assert found.total_bytes is not None

    def test_no_band_without_a_total(self) -> None:
        assert band_of(LLAMA, card(24), CUDA) == MEMORY_BAND
        assert band_of(Facts(), card(24), CUDA) is None

    def test_on_a_cpu_the_band_is_as_wide_as_what_moves(self) -> None:
        cpu = Setup(device="cpu", dtype="bfloat16", attn_implementation="sdpa")
        few, many = (
            memory_band(LLAMA, card(24), cpu, memory(LLAMA, card(24), Workload(batch=1, prompt_tokens=size), cpu))
            for size in (64, 4096)
        )
        assert few is not None and many is not None
        assert few[0] == many[0] == CPU_LOW
        assert 1 + CPU_REST < few[1] < 1.03 < many[1]

    @pytest.mark.parametrize(
        ("change", "band"),
        [({"quantization": "bnb_int8"}, QUANTIZED_ON_CPU), ({"compile": "generate"}, COMPILED_ON_CPU)],
    )
    def test_what_was_hardly_compared_on_a_cpu_is_wide(self, change: dict[str, str], band: tuple[float, float]) -> None:
        assert band_of(LLAMA, card(24), replace(Setup(device="cpu", dtype="bfloat16"), **change)) == band

    def test_a_type_that_nobody_compared_has_a_wider_band(self) -> None:
        known, unheard = (LLAMA | Facts({"model.type": Known(kind, "test")}) for kind in ("llama", "unheard"))
        assert band_of(known, card(24), CUDA) == MEMORY_BAND
        wide = band_of(unheard, card(24), CUDA)
        assert wide is not None and wide[0] < MEMORY_BAND[0] and wide[1] > MEMORY_BAND[1]

    def test_nobody_can_say_is_none_and_too_little_is_zero(self) -> None:
        assert largest_batch(LLAMA, facts(), ONE, CUDA) is None
        assert largest_context(LLAMA, facts(), ONE, CUDA) is None
        assert largest_batch(LLAMA, card(10), ONE, CUDA) == 0
        assert largest_context(LLAMA, card(10), ONE, CUDA) == 0


class TestLargest:
    def test_one_more_prompt_does_not_fit(self) -> None:
        rows = largest_batch(LLAMA, card(24), ONE, CUDA)
        assert rows is not None
        at = [memory(LLAMA, card(24), ONE, CUDA.changed({"batch_size": 1})).fits]
        at += [
            memory(LLAMA, card(24), Workload(batch=count, prompt_tokens=1000, new_tokens=25), CUDA).fits
            for count in (rows, rows + 1)
        ]
        assert at == [True, True, False]

    def test_one_more_token_does_not_fit(self) -> None:
        tokens = largest_context(LLAMA, card(17), ONE, CUDA)
        assert tokens is not None
        assert 25 < tokens < 131_072
        for prompt, fits in ((tokens - 25, True), (tokens - 24, False)):
            assert memory(LLAMA, card(17), Workload(prompt_tokens=prompt, new_tokens=25), CUDA).fits is fits

    def test_not_more_context_than_the_model_was_made_for(self) -> None:
        assert largest_context(model("qwen2.5-0.5b"), card(80), ONE, CUDA) == 32_768

    def test_a_loop_never_has_more_than_one(self) -> None:
        assert largest_batch(LLAMA, card(80), ONE, CUDA.changed({"batching": "loop"})) == 1
        assert largest_batch(LLAMA, card(10), ONE, CUDA.changed({"batching": "loop"})) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["llama-3.1-8b", "gemma-3-4b", "qwen3-next-80b-a3b", "mixtral-8x7b", "deepseek-v2-lite"]),
    st.sampled_from(["dynamic", "static"]),
    st.sampled_from(["sdpa", "eager", "flash_attention_2"]),
    st.integers(1, 64),
    st.integers(1, 20_000),
    st.integers(2, 2_000),
)
def test_more_work_never_needs_less(name: str, cache: str, attention: str, rows: int, prompt: int, new: int) -> None:
    setup = Setup(device="cuda", dtype="bfloat16", cache_implementation=cache, attn_implementation=attention)

    def total(rows: int, prompt: int, new: int) -> int:
        found = memory(model(name), card(80), Workload(batch=rows, prompt_tokens=prompt, new_tokens=new), setup)
        assert found.total_bytes is not None
        return found.total_bytes

    here = total(rows, prompt, new)
    assert total(rows + 1, prompt, new) > here
    assert total(rows, prompt + 1, new) >= here
    assert total(rows, prompt, new + 1) >= here


def test_no_band_is_claimed_for_releases_that_nobody_compared() -> None:
    assert band_of(LLAMA, card(24, transformers__version="4.34.1"), CUDA) is None
    assert band_of(LLAMA, card(24, transformers__version="4.35.0"), CUDA) == MEMORY_BAND
