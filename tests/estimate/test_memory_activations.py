"""Activations against what is really alive at the peak of a forward pass, counted tensor by tensor on a CPU."""

from collections.abc import Callable
from typing import Any

import pytest

from advisor.estimate import activations, cache
from advisor.facts import Facts
from advisor.probe import anatomy, inside_model
from advisor.probe.anatomy import Anatomy
from advisor.setup import Setup
from advisor.workload import Workload

PeakOf = Callable[[Any, Callable[[], object]], int]

pytestmark = pytest.mark.models

SMALL = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
}
DEEPSEEK = {
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "moe_intermediate_size": 64,
    "n_routed_experts": 8,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
}
QWEN_NEXT = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "shared_expert_intermediate_size": 64,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "head_dim": 32,
}
OPT = {
    "model_type": "opt",
    "hidden_size": 128,
    "ffn_dim": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "vocab_size": 1000,
    "max_position_embeddings": 1024,
    "word_embed_proj_dim": 128,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL},
    "gpt2": {"model_type": "gpt2", "n_embd": 128, "n_layer": 4, "n_head": 4, "vocab_size": 1000, "n_positions": 1024},
    "opt": OPT,
    "phi3": {"model_type": "phi3", **SMALL},
    "gemma3": {"model_type": "gemma3_text", **SMALL, "head_dim": 32, "sliding_window": 64},
    "mixtral": {"model_type": "mixtral", **SMALL, "num_local_experts": 4, "num_experts_per_tok": 2},
    "deepseek": {"model_type": "deepseek_v3", **SMALL, **DEEPSEEK},
    "qwen3-next": {"model_type": "qwen3_next", **SMALL, **QWEN_NEXT},
}
CASES = [(name, "sdpa") for name in CONFIGS] + [("llama", "eager"), ("gemma3", "eager"), ("deepseek", "eager")]
ROWS, PROMPT = 2, 256


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("name", "backend"), CASES)
def test_the_peak_at_the_prompt(name: str, backend: str, allocated_peak_of: PeakOf) -> None:
    import torch
    import transformers

    config = CONFIGS[name]
    seen = inside_model.describe({"config": config, "source": None, "revision": None, "trust_remote_code": False})
    layers = tuple(seen["cache_layers"])
    facts = anatomy.facts(Anatomy("", seen["text"], layers, seen["groups"], seen["supports"], None, "test"))
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**config), attn_implementation=backend
    )
    model.to(torch.bfloat16).eval()
    ids = torch.randint(3, 900, (ROWS, PROMPT))
    whole = {"attention_mask": torch.ones_like(ids), "use_cache": True, "logits_to_keep": 1}
    measured = allocated_peak_of(model, lambda: model(ids, **whole))
    setup, call = Setup(device="cpu", attn_implementation=backend), cache.Request(ROWS, PROMPT, 2)
    kept = cache.kept(facts, Facts(), setup, call, itemsize=2)
    assert kept is not None
    peaks = activations.peaks(facts, Workload(), setup, call, kept, itemsize=2)
    assert peaks is not None
    assert kept.prefill + peaks.prefill == pytest.approx(measured, rel=0.15)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["llama", "mixtral"])
def test_the_allocated_peak_of_a_prompt_in_chunks(name: str, allocated_peak_of: PeakOf) -> None:
    """Seen: 4 % too low (llama: the CPU kernel keeps scratch for each thread) and 7 % too high (mixtral)."""
    import torch
    import transformers

    config = CONFIGS[name]
    seen = inside_model.describe({"config": config, "source": None, "revision": None, "trust_remote_code": False})
    layers = tuple(seen["cache_layers"])
    facts = anatomy.facts(Anatomy("", seen["text"], layers, seen["groups"], seen["supports"], None, "test"))
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**config), attn_implementation="sdpa"
    )
    model.to(torch.bfloat16).eval()
    ids = torch.randint(3, 900, (ROWS, PROMPT))
    chunks = {"max_new_tokens": 1, "do_sample": False, "prefill_chunk_size": 64}
    measured = allocated_peak_of(model, lambda: model.generate(ids, attention_mask=torch.ones_like(ids), **chunks))
    setup, call = Setup(device="cpu", attn_implementation="sdpa", prefill_chunk_size=64), cache.Request(ROWS, PROMPT, 1)
    kept = cache.kept(facts, Facts(), setup, call, itemsize=2)
    assert kept is not None
    workload = Workload(batch=ROWS, prompt_tokens=PROMPT, new_tokens=1)
    peaks = activations.peaks(facts, workload, setup, call, kept, itemsize=2)
    assert peaks is not None
    assert 0.9 < (kept.prefill + peaks.prefill) / measured < 1.2
