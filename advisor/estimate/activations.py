"""Bytes that a forward pass needs beside weights and cache: at the prompt, and for each token after it.

The parts of a layer follow one another, so the largest counts. The counts of copies were read off the tensors that
are alive at the peak of one forward pass of small models of each family on a CPU (transformers 5.22, torch 2.13).
"""

from dataclasses import dataclass, replace
from math import ceil

from advisor.estimate.cache import Kept, Request
from advisor.facts import Facts
from advisor.setup import Setup
from advisor.workload import Workload

FLOAT32 = 4
MLP_COPIES = {
    **dict.fromkeys(("opt", "falcon", "gpt_neox", "starcoder2"), 2),
    **dict.fromkeys(("gpt2", "phi", "phi3", "glm", "glm4", "bloom"), 4),
}
"""Tensors of the MLP's width that are alive at once, where they are not 3 (gate, up and product): 2 without a gate,
4 where gate and up are one projection or GELU is written out."""
RESIDUAL_COPIES = 4
FP32_ROUTED = ("deepseek_v2", "deepseek_v3")
"""Types that weigh the experts' outputs in fp32."""
LOGITS_COPIES = 3
"""fp32 copies of the last position's logits: generate's own and those of the end-token processor."""
DELTA_RULE_COPIES = 15
"""fp32 tensors of the values' width in the chunked gated delta rule, as torch runs it without a kernel of its own."""
MOST_BATCH_TOKENS = 2048
"""Tokens of one forward pass of continuous batching, as a recipe sets them."""


@dataclass(frozen=True)
class Peaks:
    """Bytes at the prompt and while decoding."""

    prefill: int
    decode: int


@dataclass(frozen=True)
class _Shape:
    """The widths of the model, and how this call runs: bytes of one activation, the backend, with a mask or not."""

    kind: str | None
    hidden: int
    mlp: int
    expert: int
    experts: int
    heads: int
    kv_heads: int
    both: int
    latent: bool
    linear: int
    vocabulary: int
    itemsize: int
    backend: str
    masked: bool


def peaks(model: Facts, workload: Workload, setup: Setup, call: Request, cache: Kept, itemsize: int) -> Peaks | None:
    """The peaks of one call; None where a width is not known. `itemsize` is the bytes of one activation."""
    shape = _shape(model, workload, setup, itemsize)
    if shape is None:
        return None
    if setup.batching == "continuous":
        return _continuous(shape, setup, call, cache)
    # A growing cache holds one layer twice while it is copied to its new place.
    copied = cache.layer if setup.cache_implementation in (None, "dynamic", "offloaded") else 0
    prefill = _prefill(shape, setup, call, copied)
    if setup.use_cache is False:
        return Peaks(prefill, _forward(shape, call.rows, call.stored_tokens, call.stored_tokens))
    return Peaks(prefill, _forward(shape, call.rows, 1, call.stored_tokens) + copied + cache.transient)


def without_logits(model: Facts, workload: Workload, setup: Setup, call: Request, itemsize: int) -> int | None:
    """The peak of one pass over the prompts that computes no logits; None where a width is not known."""
    shape = _shape(model, workload, setup, itemsize)
    if shape is None:
        return None
    return _forward(replace(shape, vocabulary=0), call.rows, call.prompt_tokens, call.prompt_tokens)


def _prefill(shape: _Shape, setup: Setup, call: Request, copied: int) -> int:
    """The prompt in one pass, or its last chunk, which meets all tokens before it; later chunks copy the cache."""
    chunk = setup.prefill_chunk_size
    if chunk is None or chunk >= call.prompt_tokens:
        return _forward(shape, call.rows, call.prompt_tokens, call.prompt_tokens)
    return _forward(shape, call.rows, chunk, call.prompt_tokens) + copied


def _shape(model: Facts, workload: Workload, setup: Setup, itemsize: int) -> _Shape | None:
    key, value = model.count("model.head_dim"), model.count("model.value_head_dim")
    names = ("hidden_size", "intermediate_size", "heads", "kv_heads", "vocab_size")
    hidden, mlp, heads, kv_heads, vocabulary = (model.count(f"model.{name}") for name in names)
    if None in (hidden, mlp, heads, kv_heads, vocabulary) or key is None or value is None:
        return None
    backend = setup.attn_implementation or ("eager" if model.value("model.supports_sdpa") is False else "sdpa")
    static = setup.cache_implementation in ("static", "offloaded_static")
    # A chunk meets more keys than queries, for which SDPA is given a mask.
    padded = workload.mixed_lengths and setup.batching != "loop"
    chunked = setup.prefill_chunk_size is not None and setup.prefill_chunk_size < workload.prompt_tokens
    return _Shape(
        kind=model.text("model.type"),
        hidden=hidden or 0,
        mlp=mlp or 0,
        expert=model.count("model.expert_width") or 0,
        experts=model.count("model.experts_active") or 0,
        heads=heads or 0,
        kv_heads=kv_heads or 0,
        both=key + value,
        latent=model.count("model.kv_latent_values") is not None,
        linear=model.count("model.linear_width") or 0,
        vocabulary=vocabulary or 0,
        itemsize=itemsize,
        backend=backend,
        masked=backend == "sdpa" and (static or padded or chunked),
    )


def _forward(shape: _Shape, rows: int, queries: int, keys: int) -> int:
    """The peak of one forward pass over `queries` new tokens of each row, which meet `keys` tokens."""
    tokens = rows * queries
    scored = shape.heads * rows * queries * keys * shape.itemsize if shape.backend == "eager" else 0
    return max(
        # Eager attention's last scores stay alive while the MLP runs.
        _mlp(shape, tokens) + scored,
        _attention(shape, rows, queries, keys),
        _linear_attention(shape, tokens) if queries > 1 else 0,
        rows * shape.vocabulary * (shape.itemsize + LOGITS_COPIES * FLOAT32),
    )


def _mlp(shape: _Shape, tokens: int) -> int:
    """The MLP with the residual stream. Experts get a copy of each token for every expert that it goes to."""
    residual = RESIDUAL_COPIES * shape.hidden * shape.itemsize
    if not shape.experts:
        return tokens * (residual + MLP_COPIES.get(shape.kind or "", 3) * shape.mlp * shape.itemsize)
    weighed = FLOAT32 if shape.kind in FP32_ROUTED else shape.itemsize
    inside = (4 * shape.expert + shape.hidden) * shape.itemsize
    collected = 2 * shape.hidden * (shape.itemsize + weighed)
    if shape.kind == "gpt_oss":  # biases of its own for every token, and a clamped gate
        inside = (9 * shape.expert + shape.hidden) * shape.itemsize
    return tokens * (residual + shape.experts * ceil(max(inside, collected)))


def _attention(shape: _Shape, rows: int, queries: int, keys: int) -> int:
    """Queries, keys, values and output, and what a backend adds.

    MLA expands the latent of the whole context to all heads. Eager attention holds every score (in the weights' type,
    in fp32, and cast back) and, as SDPA does under a mask, keys and values repeated for every query head.
    """
    new = rows * queries * shape.itemsize
    size = new * (shape.heads + shape.kv_heads) * shape.both + 2 * new * shape.hidden
    expanded = rows * keys * shape.heads * shape.both * shape.itemsize
    size += expanded if shape.latent else 0
    if shape.backend == "eager":
        cast_back = shape.itemsize if shape.itemsize != FLOAT32 else 0
        size += rows * shape.heads * queries * keys * (shape.itemsize + FLOAT32 + cast_back)
    if shape.masked:
        size += rows * queries * keys
    if (shape.backend == "eager" or shape.masked) and shape.kv_heads != shape.heads:
        size += expanded
    return size


def _linear_attention(shape: _Shape, tokens: int) -> int:
    if not shape.linear:
        return 0
    plain = (RESIDUAL_COPIES * shape.hidden + 4 * shape.linear) * shape.itemsize
    return tokens * (plain + DELTA_RULE_COPIES * shape.linear * FLOAT32)


def _continuous(shape: _Shape, setup: Setup, call: Request, cache: Kept) -> Peaks:
    """One pass over tokens of many requests: keys and values read back from the pages, and a mask over all of them.

    Other than flash attention, the backends repeat them for every query head and mask each token against the whole
    cache (continuous_batching/cache.py).
    """
    most = min(MOST_BATCH_TOKENS, max(call.prompt_tokens + call.new_tokens, call.rows * call.prompt_tokens))
    tokens = setup.max_batch_tokens or most
    token = shape.kv_heads * shape.both * shape.itemsize
    readable = cache.layer // token if token else 0
    flash = "flash" in shape.backend
    mask = 0 if flash else tokens * (readable + tokens) * shape.itemsize
    repeated = 0 if flash else shape.heads
    read = readable * (repeated + shape.kv_heads) * shape.both * shape.itemsize
    peak = _forward(shape, 1, tokens, tokens) + read + mask
    return Peaks(peak, peak)
