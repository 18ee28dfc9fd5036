"""Memory of a training step: each term by hand, and the activations against tensors that torch really keeps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.estimate import formula, memory, training
from advisor.facts import Facts, Known, Value, read_machine
from advisor.plan import Memory
from advisor.probe import anatomy, shapes
from advisor.rulebook import full_vocabulary
from advisor.setup import Setup
from advisor.workload import Workload

MACHINES = Path(__file__).parents[1] / "machines"
H100 = read_machine(MACHINES / "h100-80gb.json", full_vocabulary())
STEP = Workload(task="train", batch=4, prompt_tokens=1024)
FULL = Setup(
    device="cuda",
    dtype="bfloat16",
    attn_implementation="sdpa",
    quantization="none",
    adapters="none",
    optimizer="adamw",
    mixed_precision="none",
    gradient_checkpointing=False,
)
LLAMA_PARAMETERS = 8_030_261_248
LLAMA_ADAPTERS = 41_943_040
"""What PEFT 0.21 counts for rank 16 on all linear layers of Llama-3.1-8B."""


def facts(**values: Value) -> Facts:
    return Facts({f"model.{name}": Known(value, "test") for name, value in values.items()})


def model(shape: str) -> Facts:
    return anatomy.facts(shapes.load(shape).anatomy) | facts(checkpoint_quantization="none")


def needed(shape: str = "llama-3.1-8b", load: Workload = STEP, **knobs: Value) -> Memory:
    return memory.memory(model(shape), H100, load, FULL.changed(knobs))


def test_nothing_is_cached_and_the_total_is_the_sum() -> None:
    found = needed()
    assert (found.kv_cache_bytes, found.kv_cache_peak_bytes) == (0, 0)
    parts = (found.weights_bytes, found.gradients_bytes, found.optimizer_bytes, found.activation_peak_bytes)
    assert found.total_bytes == sum(part or 0 for part in (*parts, found.overhead_bytes))


@pytest.mark.parametrize(
    ("knobs", "bytes_each"),
    [
        ({}, 8),  # bf16 weights, gradients and both states
        ({"dtype": "float32"}, 16),
        ({"dtype": "float32", "mixed_precision": "bf16"}, 18),  # and the 16-bit copy that autocast keeps
        ({"optimizer": "paged_adamw_8bit"}, 4),
    ],
)
def test_bytes_of_each_parameter(knobs: dict[str, Value], bytes_each: int) -> None:
    found = needed(**knobs)
    assert found.total_bytes is not None
    rest = (found.activation_peak_bytes or 0) + (found.overhead_bytes or 0)
    assert found.total_bytes - rest == bytes_each * LLAMA_PARAMETERS


def test_8_bit_states_leave_those_of_the_embedding_in_float32() -> None:
    table = 128_256 * 4096
    in_blocks = (LLAMA_PARAMETERS - table) * 2 * (1 + 4 / 256)
    assert needed(optimizer="adamw_8bit").optimizer_bytes == pytest.approx(in_blocks + 8 * table, abs=1)


def test_adapters_alone_have_gradients_and_states_in_float32() -> None:
    assert training.adapter_parameters(model("llama-3.1-8b")) == LLAMA_ADAPTERS
    found = needed(adapters="lora")
    assert (found.gradients_bytes, found.optimizer_bytes) == (4 * LLAMA_ADAPTERS, 8 * LLAMA_ADAPTERS)


def test_quantized_weights_are_trained_by_adapters_alone() -> None:
    assert needed(quantization="bnb_nf4").total_bytes is None
    found = needed(quantization="bnb_nf4", adapters="lora")
    assert found.weights_bytes is not None
    assert found.weights_bytes < LLAMA_PARAMETERS


def test_checkpoints_keep_the_inputs_of_layers_and_one_layer_or_the_logits() -> None:
    tokens = 4 * 1024
    inputs = 32 * 4096 * 2
    # The vocabulary of 128,256 words weighs more than a layer: 12 bytes each, and the last norm's 8 x hidden.
    assert needed(gradient_checkpointing=True).activation_peak_bytes == tokens * (inputs + 12 * 128_256 + 8 * 4096)


def test_a_mask_expands_keys_and_joined_sequences_have_none() -> None:
    mixed = Workload(task="train", batch=4, prompt_tokens=1024, mixed_lengths=True)
    plain, masked = needed().activation_peak_bytes, needed(load=mixed).activation_peak_bytes
    assert plain is not None
    # Keys and values of 32 instead of 8 heads, 2 bytes each, in 32 layers.
    assert masked == plain + 4 * 1024 * 32 * 2 * 2 * (4096 - 1024)
    assert needed(load=mixed, padding_free=True).activation_peak_bytes == plain


def test_mixtures_are_not_counted() -> None:
    found = needed("mixtral-8x7b")
    assert (found.activation_peak_bytes, found.total_bytes, found.fits) == (None, None, None)


def test_no_speed_is_predicted_and_the_band_is_of_training() -> None:
    found = formula.estimate(model("llama-3.1-8b"), H100, STEP, FULL)
    assert (found.speed.total_tokens_per_second, found.speed_band) == (None, None)
    needed, band = found.memory, found.memory_band
    assert needed.total_bytes and needed.gradients_bytes and needed.activation_peak_bytes and band
    together = min(needed.gradients_bytes, needed.activation_peak_bytes)  # one of them is gone in a step of one batch
    assert band == pytest.approx((0.90 * (1 - together / needed.total_bytes), 1.12))


@given(st.integers(1, 64), st.integers(1, 32_768), st.booleans(), st.sampled_from(["none", "lora"]))
@settings(max_examples=30, deadline=None)
def test_longer_sequences_and_more_of_them_never_need_less(
    batch: int, tokens: int, checkpoints: bool, adapters: str
) -> None:
    def total(rows: int, length: int) -> int:
        load = Workload(task="train", batch=rows, prompt_tokens=length)
        found = needed("qwen2.5-0.5b", load, gradient_checkpointing=checkpoints, adapters=adapters).total_bytes
        assert found is not None
        return found

    here = total(batch, tokens)
    assert here < total(batch + 1, tokens)
    assert here < total(batch, tokens + 1)


WIDE = {"hidden_size": 256, "intermediate_size": 1024, "heads": 8, "kv_heads": 8, "head_dim": 32}
GROUPED = {"hidden_size": 384, "intermediate_size": 768, "heads": 12, "kv_heads": 4, "head_dim": 32}
LAYERS, VOCABULARY, ROWS, TOKENS = 3, 4096, 2, 128
"""The logits outweigh a layer, so that they are what comes beside the inputs of layers under gradient checkpointing."""


def _small(kind: str, sizes: dict[str, int]) -> Facts:
    return facts(
        type=kind,
        layers=LAYERS,
        vocab_size=VOCABULARY,
        value_head_dim=sizes["head_dim"],
        experts=0,
        checkpoint_quantization="none",
        **sizes,
    )


def _config(kind: str, sizes: dict[str, int]) -> Any:
    from transformers import AutoConfig

    names = {"heads": "num_attention_heads", "kv_heads": "num_key_value_heads"}
    renamed = {names.get(name, name): size for name, size in sizes.items()}
    return AutoConfig.for_model(kind, num_hidden_layers=LAYERS, vocab_size=VOCABULARY, **renamed)


def _kept(kind: str, sizes: dict[str, int], setup: Setup) -> int:
    """Bytes of the distinct storages that a forward pass keeps for its backward pass, weights left out."""
    import torch
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_config(
        _config(kind, sizes), dtype=getattr(torch, setup.dtype or ""), attn_implementation=setup.attn_implementation
    ).train()
    if setup.gradient_checkpointing:
        net.gradient_checkpointing_enable()
    own = {tensor.untyped_storage().data_ptr() for tensor in _tensors(net)}
    seen: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    ids = torch.randint(0, VOCABULARY, (ROWS, TOKENS))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = net(input_ids=ids, labels=ids, use_cache=False).loss
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in seen.values())


def _tensors(net: Any) -> Iterator[Any]:
    yield from net.parameters()
    yield from net.buffers()


@pytest.mark.models
@pytest.mark.parametrize("checkpoints", [False, True])
@pytest.mark.parametrize(
    ("kind", "sizes", "dtype", "attention"),
    [
        ("llama", WIDE, "bfloat16", "sdpa"),
        ("llama", GROUPED, "float32", "sdpa"),
        ("llama", GROUPED, "bfloat16", "eager"),
        ("qwen2", GROUPED, "bfloat16", "sdpa"),
    ],
)
def test_activations_are_those_that_torch_keeps(
    kind: str, sizes: dict[str, int], dtype: str, attention: str, checkpoints: bool
) -> None:
    """Two float32 gradients of the logits come in the backward pass and are counted beside what is kept."""
    setup = FULL.changed(
        {"device": "cpu", "dtype": dtype, "attn_implementation": attention, "gradient_checkpointing": checkpoints}
    )
    load = Workload(task="train", batch=ROWS, prompt_tokens=TOKENS)
    counted = memory.memory(_small(kind, sizes), Facts({}), load, setup).activation_peak_bytes
    kept = _kept(kind, sizes, setup)
    assert counted is not None
    assert counted - 8 * VOCABULARY * ROWS * TOKENS == pytest.approx(kept, rel=0.01)
