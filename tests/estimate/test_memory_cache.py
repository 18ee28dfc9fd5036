"""The cache's formula against the caches of the installed transformers, byte for byte."""

from collections.abc import Iterator
from typing import Any

import pytest

from advisor.estimate import cache
from advisor.facts import Facts, Known
from advisor.probe import anatomy, inside_model
from advisor.probe.anatomy import Anatomy
from advisor.setup import Setup

pytestmark = pytest.mark.models

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 12,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 6,
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}
LINEAR = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "full_attention_interval": 3,
    "head_dim": 8,
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 128, "eos_token_id": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL},
    "qwen3": {"model_type": "qwen3", **SMALL, "head_dim": 16},
    "gpt2": {"model_type": "gpt2", **GPT2},
    "mistral": {"model_type": "mistral", **SMALL, "sliding_window": 6},
    "gemma3": {
        "model_type": "gemma3_text",
        **SMALL,
        "num_hidden_layers": 6,
        "head_dim": 8,
        "sliding_window": 6,
        "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
    },
    "deepseek": {"model_type": "deepseek_v3", **SMALL, **LATENT},
    "qwen3-next": {"model_type": "qwen3_next", **SMALL, **LINEAR},
}
WINDOW = 6


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[Any, Facts]]:
    """Each model with random weights, and its facts as the probe's child finds them."""
    import transformers

    found = {}
    for name, config in CONFIGS.items():
        request = {"config": config, "source": None, "revision": None, "trust_remote_code": False}
        described = inside_model.describe(request)
        known = Anatomy(
            architecture=described["architecture"],
            text=described["text"],
            cache_layers=tuple(described["cache_layers"]),
            groups=described["groups"],
            supports=described["supports"],
            dtype=described["dtype"],
            source="test",
        )
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config))
        found[name] = (model.eval(), anatomy.facts(known))
    return found


def machine() -> Facts:
    import transformers

    return Facts({"transformers.version": Known(transformers.__version__, "test")})


def stored_bytes(kept: Any) -> int:
    """Bytes of all storages that a cache holds, each counted once; its counters and masks left out."""
    import torch

    storages = {}
    for layer in kept.layers:
        tensors = [getattr(layer, "keys", None), getattr(layer, "values", None)]
        for states in (getattr(layer, "conv_states", {}), getattr(layer, "recurrent_states", {})):
            tensors += list(states.values())
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def generated(model: Any, rows: int, prompt: int, new: int, kind: str | None, **more: Any) -> Any:
    import torch

    ids = torch.randint(3, 60, (rows, prompt))
    given = {"disable_compile": True, **more} if kind == "static" else more
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new,
        min_new_tokens=new,
        do_sample=False,
        cache_implementation=kind,
        return_dict_in_generate=True,
        **given,
    )
    return output.past_key_values


def predicted(facts: Facts, rows: int, prompt: int, new: int, kind: str) -> cache.Kept:
    setup = Setup(device="cpu", cache_implementation=kind)
    kept = cache.kept(facts, machine(), setup, cache.Request(rows, prompt, new), itemsize=4)
    assert kept is not None
    return kept


@pytest.mark.parametrize("kind", ["dynamic", "static"])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("name", CONFIGS)
def test_bytes_when_generation_ends(made: dict[str, tuple[Any, Facts]], name: str, rows: int, kind: str) -> None:
    model, facts = made[name]
    model._previous_max_cache_length = -1  # a static cache never shrinks between the calls of one model
    kept = generated(model, rows, 10, 4, kind)
    assert predicted(facts, rows, 10, 4, kind).end == stored_bytes(kept)


def test_an_fp8_cache_keeps_one_byte_for_each_value(made: dict[str, tuple[Any, Facts]]) -> None:
    from transformers import QuantizedCache

    model, facts = made["llama"]
    try:
        kept = QuantizedCache(backend="fp8", config=model.config)
    except ValueError:
        pytest.skip("this transformers has no fp8 cache")
    generated(model, 2, 10, 4, None, past_key_values=kept)
    stored = sum(t[0].untyped_storage().nbytes() for x in kept.layers for t in (x._quantized_keys, x._quantized_values))
    setup = Setup(device="cpu", cache_implementation="quantized", cache_backend="fp8")
    told = cache.kept(facts, machine(), setup, cache.Request(2, 10, 4), itemsize=4)
    assert told is not None and told.end == stored


def plain_tensors(value: Any) -> Iterator[Any]:
    """The tensors inside a cache's states: of tuples, of dicts, and of tensors that are made of others."""
    import torch
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from plain_tensors(part)
    elif is_traceable_wrapper_subclass(value):
        yield from (part for name in value.__tensor_flatten__()[0] for part in plain_tensors(getattr(value, name)))
    elif isinstance(value, torch.Tensor):
        yield value


@pytest.mark.filterwarnings("ignore")  # the packages warn of their own ways here
@pytest.mark.parametrize(
    ("backend", "bits"), [("quanto", 2), ("quanto", 4), ("hqq", 1), ("hqq", 2), ("hqq", 3), ("hqq", 4), ("hqq", 8)]
)
@pytest.mark.parametrize("new", [1, 5, 140])
def test_a_quantized_cache_keeps_scales_and_the_newest_tokens(
    made: dict[str, tuple[Any, Facts]], backend: str, bits: int, new: int
) -> None:
    package = {"quanto": "optimum.quanto", "hqq": "hqq.core.quantize"}[backend]
    pytest.importorskip(package, reason=f"{package} is not installed")
    model, facts = made["llama"]
    kept = generated(model, 4, 64, new, "quantized", cache_config={"backend": backend, "nbits": bits})
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for layer in kept.layers
        for tensor in plain_tensors([layer.keys, layer.values, layer._quantized_keys, layer._quantized_values])
    }
    setup = Setup(device="cpu", cache_implementation="quantized", cache_backend=backend, cache_bits=bits)
    told = cache.kept(facts, machine(), setup, cache.Request(4, 64, new), itemsize=4)
    assert told is not None and told.end == pytest.approx(sum(storages.values()), rel=0.002)


@pytest.mark.parametrize(("prompt", "new"), [(10, 1), (10, 2), (3, 2), (3, 4), (3, 9), (WINDOW, 1), (WINDOW - 1, 2)])
def test_a_window_keeps_the_storage_it_was_cut_from(made: dict[str, tuple[Any, Facts]], prompt: int, new: int) -> None:
    model, facts = made["gemma3"]
    kept = generated(model, 2, prompt, new, "dynamic")
    assert predicted(facts, 2, prompt, new, "dynamic").end == stored_bytes(kept)


@pytest.mark.parametrize("name", ["mistral", "gemma3", "llama", "qwen3-next"])
def test_the_largest_size_on_the_way(made: dict[str, tuple[Any, Facts]], name: str) -> None:
    """The cache is measured after every forward pass of one generation."""
    model, facts = made[name]
    sizes: list[int] = []

    def note(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        sizes.append(stored_bytes(output.past_key_values))

    hook = model.register_forward_hook(note, with_kwargs=True)
    try:
        generated(model, 2, 20, 5, "dynamic")
    finally:
        hook.remove()
    kept = predicted(facts, 2, 20, 5, "dynamic")
    assert (sizes[0], sizes[-1], max(sizes)) == (kept.prefill, kept.end, kept.peak)


def test_without_a_cache_nothing_is_kept() -> None:
    assert cache.kept(Facts(), Facts(), Setup(use_cache=False), cache.Request(1, 9, 9), 2) == cache.Kept(0, 0, 0)


def test_the_pages_of_continuous_batching(made: dict[str, tuple[Any, Facts]], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import transformers
    from transformers.generation.continuous_batching import cache as pages

    seen: list[Any] = []
    build = pages.PagedAttentionCache.__init__

    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        seen.append(self)

    monkeypatch.setattr(pages.PagedAttentionCache, "__init__", noted)
    model, facts = made["llama"]
    rows, prompt, new, page = 3, 20, 4, 16
    blocks = rows * (-(-(prompt + new) // page) + 1)
    model.generate_batch(
        [[5] * prompt] * rows,
        generation_config=transformers.GenerationConfig(max_new_tokens=new, do_sample=False, pad_token_id=0),
        continuous_batching_config=transformers.ContinuousBatchingConfig(
            page_size=page, num_blocks=blocks, max_batch_tokens=64
        ),
    )
    held = [t for part in vars(seen[-1]).values() for t in (part if isinstance(part, list) else [part])]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in held if isinstance(t, torch.Tensor)}
    setup = Setup(device="cpu", batching="continuous")
    kept = cache.kept(facts, machine(), setup, cache.Request(rows, prompt, new), itemsize=4)
    assert kept is not None
    assert kept.end == sum(storage.nbytes() for storage in storages.values())
