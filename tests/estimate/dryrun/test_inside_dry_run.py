"""What the dry run says against what the installed library and torch's allocator really do on a CPU."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from advisor.estimate.dryrun import inside_dry_run

pytestmark = [
    pytest.mark.models,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

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
PEAKS = (
    ("llama", "sdpa", "dynamic", False),
    ("llama", "eager", "dynamic", False),
    ("llama", "sdpa", "static", False),
    ("llama", "sdpa", "dynamic", True),
    ("gemma3", "sdpa", "dynamic", False),
    ("gpt-neox", "eager", "dynamic", False),
    ("qwen3-moe", "sdpa", "dynamic", False),
    ("deepseek", "sdpa", "dynamic", False),
    ("qwen3-next", "sdpa", "dynamic", False),
)
PEAK_TOLERANCE = 0.03
"""Rounding and what kernels use inside: tens of kilobytes, which are little for models of a usual size."""


def case(cache: str = "dynamic", rows: int = 1, prompt: int = 128, new: int = 6, **more: Any) -> dict[str, Any]:
    plain = {"dtype": "bfloat16", "attn_implementation": "sdpa", "padded": False, "last_logits": True}
    return {**plain, "cache": cache, "rows": rows, "prompt_tokens": prompt, "new_tokens": new, **more}


def dry(name: str, *cases: dict[str, Any]) -> list[dict[str, Any]]:
    return inside_dry_run.answers({"config": CONFIGS[name], "cases": list(cases)})


def made(name: str, attention: str = "sdpa") -> Any:
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(**CONFIGS[name])
    model = transformers.AutoModelForCausalLM.from_config(
        config, dtype=torch.bfloat16, attn_implementation=attention
    ).eval()
    model.generation_config.eos_token_id = None
    return model


def generated(model: Any, wanted: dict[str, Any]) -> Any:
    """The cache after a real generation."""
    import torch

    model._previous_max_cache_length = -1  # a static cache never shrinks between the calls of one model
    ids = torch.randint(3, 1900, (wanted["rows"], wanted["prompt_tokens"]))
    mask = torch.ones_like(ids)
    if wanted["padded"]:
        mask[0, :3] = 0
    more = {"disable_compile": True} if wanted["cache"] == "static" else {}
    answer = model.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=wanted["new_tokens"],
        do_sample=False,
        cache_implementation=wanted["cache"],
        return_dict_in_generate=True,
        **more,
    )
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


@pytest.mark.parametrize("name", CONFIGS)
def test_the_cache_to_the_byte(name: str) -> None:
    model = made(name)
    cases = [case(), case(rows=3), case("static"), case("static", rows=3), case(new=1), case(new=2)]
    for wanted, said in zip(cases, dry(name, *cases), strict=True):
        last = said["last_step"] or said["prompt"]
        assert last["cache_bytes"] == stored(generated(model, wanted)), wanted


def test_layers_with_a_window_hold_the_whole_prompt_until_the_first_step() -> None:
    (said,) = dry("gemma3", case(prompt=512, new=8))
    token = 2 * 2 * 32 * 2  # keys and values of two heads of 32 values, two bytes each
    assert said["prompt"]["cache_bytes"] == 4 * 512 * token
    assert said["first_step"]["cache_bytes"] == (3 * 96 + 513) * token
    assert said["last_step"]["cache_bytes"] == (3 * 96 + 519) * token


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


@pytest.mark.parametrize(("name", "attention", "cache", "padded"), PEAKS)
def test_the_peak_of_the_allocator(name: str, attention: str, cache: str, padded: bool) -> None:
    wanted = case(cache, rows=2, prompt=256, attn_implementation=attention, padded=padded)
    (said,) = dry(name, wanted)
    peak = max(said[one]["peak_bytes"] for one in ("prompt", "first_step", "last_step"))
    assert peak == pytest.approx(allocator_peak(made(name, attention), wanted), rel=PEAK_TOLERANCE)


def test_long_prompts_of_linear_layers_lie_on_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = case(prompt=640)
    (drawn,) = dry("qwen3-next", wanted)
    monkeypatch.setattr(inside_dry_run, "LONGEST_LOOPED", 10_000)
    (exact,) = dry("qwen3-next", wanted)
    assert (drawn["drawn_out"], exact["drawn_out"]) == (True, False)
    assert drawn["prompt"]["peak_bytes"] == pytest.approx(exact["prompt"]["peak_bytes"], rel=0.01)
    assert drawn["prompt"]["operators"] == exact["prompt"]["operators"]
    for step in ("first_step", "last_step"):
        assert drawn[step] == exact[step]


def test_weights_by_group_and_type() -> None:
    (said,) = dry("qwen3-moe", case())
    model = made("qwen3-moe")
    groups = said["weights"]
    assert groups["embedding"] == {"bfloat16": 2000 * 256 * 2}
    assert groups["experts"] == {"bfloat16": 4 * 8 * 3 * 256 * 128 * 2}
    counted = sum(sum(types.values()) for group, types in groups.items() if group != "buffers")
    assert counted == 2 * sum(parameter.numel() for parameter in model.parameters())
    assert said["weights_held_bytes"] >= counted


def test_tied_weights_count_once() -> None:
    (said,) = dry("qwen3", case())
    assert "head" not in said["weights"]


def test_the_attention_that_runs() -> None:
    fused, plain = dry("llama", case(), case(attn_implementation="eager"))
    assert fused["prompt"]["attention"] == ["_scaled_dot_product_flash_attention_for_cpu.default"]
    assert plain["prompt"]["attention"] == []
    assert plain["prompt"]["at"] == "_softmax.default"


def test_one_case_may_fail_and_the_next_is_answered() -> None:
    import transformers

    before = transformers.masking_utils._ignore_causal_mask_sdpa
    refused, fine = dry("llama", case(attn_implementation="no_such_kernel"), case())
    assert "no_such_kernel" in refused["error"]
    assert fine["prompt"]["peak_bytes"] > 0
    assert transformers.masking_utils._ignore_causal_mask_sdpa is before


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("no_such_type", "does not know model_type no_such_type"),
        ("t5", "no class of t5"),
        ("distilbert", "no class of"),
    ],
)
def test_what_is_no_model_for_text(kind: str, told: str) -> None:
    (said,) = inside_dry_run.answers({"config": {"model_type": kind}, "cases": [case()]})
    assert told in said["error"]
