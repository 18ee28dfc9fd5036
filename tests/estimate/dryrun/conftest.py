"""Small models with random weights: what they really store and need on a CPU, to hold dry runs against."""

import gc
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from advisor.estimate.dryrun import inside_dry_run

SMALL = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 2000,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
WINDOWED = {"head_dim": 32, "sliding_window": 96, "layer_types": ["sliding_attention"] * 3 + ["full_attention"]}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 128, "head_dim": 32}
LATENT = {
    "num_key_value_heads": 8,
    "q_lora_rank": 64,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "moe_intermediate_size": 128,
    "n_routed_experts": 8,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
}
LINEAR = {
    **EXPERTS,
    "shared_expert_intermediate_size": 128,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "full_attention_interval": 4,
}
GPT2 = {"n_embd": 256, "n_layer": 4, "n_head": 8, "vocab_size": 2000, "n_positions": 2048, "bos_token_id": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL},
    "qwen3": {"model_type": "qwen3", **SMALL, "head_dim": 32, "tie_word_embeddings": True},
    "mistral": {"model_type": "mistral", **SMALL, "sliding_window": 96},
    "gemma3": {"model_type": "gemma3_text", **SMALL, **WINDOWED},
    "qwen3-moe": {"model_type": "qwen3_moe", **SMALL, **EXPERTS},
    "gpt-neox": {"model_type": "gpt_neox", **SMALL, "num_key_value_heads": 8},
    "gpt2": {"model_type": "gpt2", **GPT2, "eos_token_id": 2},
    "deepseek": {"model_type": "deepseek_v3", **SMALL, **LATENT},
    "qwen3-next": {"model_type": "qwen3_next", **SMALL, **LINEAR},
}


def case(cache: str = "dynamic", rows: int = 1, prompt: int = 128, new: int = 6, **more: Any) -> dict[str, Any]:
    plain = {"dtype": "bfloat16", "attn_implementation": "sdpa", "padded": False, "last_logits": True}
    return {**plain, "cache": cache, "rows": rows, "prompt_tokens": prompt, "new_tokens": new, **more}


def dry(name: str, *cases: dict[str, Any]) -> list[dict[str, Any]]:
    return inside_dry_run.answers({"config": CONFIGS[name], "cases": list(cases)})


def made(name: str, attention: str = "sdpa", dtype: str = "bfloat16", experts: str | None = None) -> Any:
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(**CONFIGS[name])
    more = {} if experts is None else {"experts_implementation": experts}
    model = transformers.AutoModelForCausalLM.from_config(
        config, dtype=getattr(torch, dtype), attn_implementation=attention, **more
    ).eval()
    model.generation_config.eos_token_id = None
    return model


def quantized(name: str, wanted: dict[str, Any], folder: Any) -> Any:
    """A model that was saved as it is and quantized while it was loaded."""
    import torch
    import transformers

    dtype = getattr(torch, wanted["dtype"])
    made(name, dtype=wanted["dtype"]).save_pretrained(folder)
    configuration = inside_dry_run.building.quantizing.configuration(wanted, None, transformers)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, quantization_config=configuration, device_map={"": "cpu"}
    )
    loaded.generation_config.eos_token_id = None
    return loaded.eval()


def generated(model: Any, wanted: dict[str, Any]) -> Any:
    """The cache after a real generation."""
    import torch

    model._previous_max_cache_length = -1  # a static cache never shrinks between the calls of one model
    ids = torch.randint(3, 1900, (wanted["rows"], wanted["prompt_tokens"]))
    mask = torch.ones_like(ids)
    if wanted["padded"]:
        mask[0, :3] = 0
    more: dict[str, Any] = {"disable_compile": True} if wanted["cache"] == "static" else {}
    if wanted["cache"] == "none":
        more["use_cache"] = False
    else:
        more["cache_implementation"] = wanted["cache"]
    if wanted["cache"] == "quantized":
        options = {"backend": wanted["cache_backend"], "nbits": wanted.get("cache_bits")}
        more["cache_config"] = {name: value for name, value in options.items() if value is not None}
    if wanted.get("chunk_tokens"):
        more["prefill_chunk_size"] = wanted["chunk_tokens"]
    given = {"attention_mask": mask, "max_new_tokens": wanted["new_tokens"], "do_sample": False}
    answer = model.generate(ids, return_dict_in_generate=True, **given, **more)
    return answer.past_key_values


def stored(cache: Any) -> int:
    """Bytes of the storages that a cache's keys, values and states lie in."""
    import torch

    storages = {}
    for layer in cache.layers:
        tensors = [getattr(layer, "keys", None), getattr(layer, "values", None)]
        for states in (getattr(layer, "conv_states", {}), getattr(layer, "recurrent_states", {})):
            tensors += list(states.values())
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor):
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def allocator_peak(model: Any, wanted: dict[str, Any]) -> int:
    """The most bytes that torch's allocator had given out at one time during generate, by the profiler's record."""
    from torch.profiler import ProfilerActivity, profile

    generated(model, wanted)  # what is made once
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        generated(model, wanted)

    def sizes() -> Iterator[int]:
        now = 0
        for event in record.profiler.kineto_results.events():
            if event.name() == "[memory]":
                yield (now := now + event.nbytes())

    return max(sizes())


@pytest.fixture
def small() -> SimpleNamespace:
    """The functions of this file."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a line for each layer of each pass
    functions = (case, dry, made, quantized, generated, stored, allocator_peak)
    return SimpleNamespace(**{one.__name__: one for one in functions}, CONFIGS=CONFIGS)
