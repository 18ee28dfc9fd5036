"""What older releases hold besides: each term begins and ends with the release that the sources name."""

import pytest

from advisor.estimate.memory import memory
from advisor.facts import Facts, Known, Value
from advisor.plan import Memory
from advisor.probe import anatomy, shapes
from advisor.setup import Setup
from advisor.workload import Workload

GIB = 2**30
CUDA = Setup(device="cuda", dtype="bfloat16", attn_implementation="sdpa")
LONG = Workload(batch=2, prompt_tokens=8192, new_tokens=2)
GROWN = Workload(batch=4, prompt_tokens=1, new_tokens=2048)


def facts(**values: Value) -> Facts:
    return Facts({name.replace("__", "."): Known(value, "test") for name, value in values.items()})


def needed(name: str, version: str, workload: Workload, setup: Setup = CUDA, **model: Value) -> Memory:
    plain = facts(model__checkpoint_quantization="none") | facts(**model)
    machine = facts(
        gpu__count=1,
        gpu__memory_free_bytes=80 * GIB,
        gpu__capability=8.0,
        torch__sees_gpu=True,
        transformers__version=version,
    )
    return memory(anatomy.facts(shapes.load(name).anatomy) | plain, machine, workload, setup)


def activations(name: str, version: str, workload: Workload, setup: Setup = CUDA, **model: Value) -> int:
    found = needed(name, version, workload, setup, **model).activation_peak_bytes
    assert found is not None
    return found


def tables(layers: int, context: int, width: int) -> int:
    return 2 * layers * context * width * 2


def test_logits_of_the_whole_prompt_and_their_float32_copy() -> None:
    tokens, vocabulary = 2 * 8192, 152064
    old = activations("qwen2.5-7b", "4.44.2", LONG) - tables(28, 32768, 128)
    assert old == tokens * vocabulary * (2 + 4)
    assert activations("qwen2.5-7b", "4.45.0", LONG) < tokens * vocabulary


def test_float32_logits_need_no_copy() -> None:
    wide = CUDA.changed({"dtype": "float32"})
    old = activations("qwen2.5-7b", "4.44.2", LONG, wide) - 2 * tables(28, 32768, 128)
    assert old == 2 * 8192 * 152064 * 4


@pytest.mark.parametrize(("name", "vocabulary"), [("opt-1.3b", 50272), ("gpt-2-xl", 50257)])
def test_some_types_never_had_the_copy(name: str, vocabulary: int) -> None:
    prompt = Workload(batch=2, prompt_tokens=1000, new_tokens=2)
    assert activations(name, "4.43.4", prompt) == max(2 * 1000 * vocabulary * 2, activations(name, "4.45.0", prompt))


def test_old_and_new_keys_and_values_of_all_layers_are_alive_together() -> None:
    new = needed("mistral-7b-v0.1", "4.42.0", GROWN)
    old = needed("mistral-7b-v0.1", "4.41.2", GROWN)
    assert new.kv_cache_bytes and new.activation_peak_bytes and old.activation_peak_bytes
    layer = 4 * (1 + 2048 - 1) * 8 * 128 * 2 * 2
    added = old.activation_peak_bytes - new.activation_peak_bytes - tables(32, 32768, 128)
    assert added == new.kv_cache_bytes - layer


def test_a_static_cache_was_never_copied() -> None:
    static = CUDA.changed({"cache_implementation": "static"})
    assert activations("llama-2-7b", "4.41.2", GROWN, static) == activations("llama-2-7b", "4.45.0", GROWN, static)


def test_tables_of_every_layer_go_when_the_type_lost_them() -> None:
    one = Workload(batch=1, prompt_tokens=1, new_tokens=2)
    with_tables, without = needed("mixtral-8x7b", "4.47.1", one), needed("mixtral-8x7b", "4.48.0", one)
    assert with_tables.activation_peak_bytes and without.activation_peak_bytes
    assert with_tables.activation_peak_bytes - without.activation_peak_bytes == tables(32, 32768, 128)


def test_gptq_of_four_bits_keeps_buffers_before_5() -> None:
    one = Workload(batch=1, prompt_tokens=16, new_tokens=2)
    stored: dict[str, Value] = {"model__checkpoint_quantization": "gptq", "model__checkpoint_bytes": 5_570_000_000}
    new, old = (activations("qwen2.5-7b", version, one, **stored) for version in ("5.0.0", "4.57.1"))
    assert old - new == 2 * (3584 * 18944 + 2048 * 18944)
    eight_bits = stored | {"model__checkpoint_bytes": 8_860_000_000}
    assert activations("qwen2.5-7b", "4.57.1", one, **eight_bits) == new


def test_a_tied_awq_model_is_loaded_with_its_embedding_twice() -> None:
    one = Workload(batch=1, prompt_tokens=1, new_tokens=8)
    stored: dict[str, Value] = {"model__checkpoint_quantization": "awq", "model__checkpoint_bytes": 456_000_000}
    old = needed("qwen2.5-0.5b", "4.46.0", one, **stored)
    assert old.total_bytes and old.weights_bytes and old.overhead_bytes
    assert old.total_bytes == old.weights_bytes + 151_936 * 896 * 2 + old.overhead_bytes
    new = needed("qwen2.5-0.5b", "5.0.0", one, **stored).total_bytes
    untied = needed("qwen2.5-7b", "4.46.0", one, **stored)
    assert new and new < old.total_bytes
    assert untied.activation_peak_bytes and untied.activation_peak_bytes < 2**26


def test_float32_logits_of_the_prompt_are_held_while_the_second_token_is_made() -> None:
    """Published: 37.01 GiB for a Qwen1.5-7B with a prompt of this length; here a model with as many heads for keys."""
    prompt = Workload(batch=1, prompt_tokens=14336, new_tokens=8)
    found = needed("llama-2-7b", "4.40.2", prompt, model__vocab_size=151_936)
    assert found.total_bytes and found.weights_bytes and found.overhead_bytes
    token = 32 * 32 * 128 * 2 * 2
    held = 14336 * (2 * token + 151_936 * 4) + tables(32, 4096, 128)
    assert found.total_bytes == found.weights_bytes + held + found.overhead_bytes
