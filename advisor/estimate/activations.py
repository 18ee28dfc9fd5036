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
    **dict.fromkeys(("phi", "phi3", "glm", "glm4", "bloom"), 4),
    "gpt2": 5,
}
"""Tensors of the MLP's width that are alive at once, where they are not 3 (gate, up and product): 2 without a gate,
4 where gate and up are one projection or GELU is written out, 5 where GPT-2's GELU is."""
RESIDUAL_COPIES = 4
RESIDUAL_COPIES_OF = {"gpt2": 1, "olmo2": 3}
"""OLMo 2 has its norms behind attention and MLP; GPT-2 adds as its GELU is at its widest."""
OWN_SOFTMAX = {"gpt2": 2, "gpt_oss": 3}
"""Copies of the scores in the weights' type, for types whose softmax is not in fp32 (GPT-OSS joins a sink to them)."""
EAGER_WIDTHS = 2
EAGER_WIDTHS_OF = {"olmo2": 1, "opt": 3, "gpt2": 4, "phi": 5}
"""Tensors of the residual stream's width beside queries and output at eager attention's softmax: the stream and what
the norm made of it. More where attention and MLP read the same norm (Phi)."""
FUSED = ("bloom", "gpt_neox", "phi3")
"""Types with one projection for queries, keys and values, which stays alive as a whole."""
PLAIN_EXPANDED = 2
PLAIN_EXPANDED_LATENT = 4
"""Times the keys and values of all heads that SDPA's plain path holds in fp32, beside those in the weights' type."""
BIASED_SCORES = {"bloom": 2}
"""Further copies of the scores in the weights' type: ALiBi's products with the mask, and without it."""
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
    fused_cast: bool
    mask_kinds: int
    window: int


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
    kind, window = model.text("model.type"), model.count("model.sliding_window_tokens") or 0
    static = setup.cache_implementation in ("static", "offloaded_static")
    # A chunk meets more keys than queries, for which SDPA is given a mask.
    padded = workload.mixed_lengths and setup.batching != "loop"
    chunked = setup.prefill_chunk_size is not None and setup.prefill_chunk_size < workload.prompt_tokens
    latent = model.count("model.kv_latent_values") is not None
    backend = _backend(model, setup, latent, alone=kv_heads == 1)
    return _Shape(
        kind=kind,
        hidden=hidden or 0,
        mlp=mlp or 0,
        expert=model.count("model.expert_width") or 0,
        experts=model.count("model.experts_active") or 0,
        heads=heads or 0,
        kv_heads=kv_heads or 0,
        both=key + value,
        latent=latent,
        linear=model.count("model.linear_width") or 0,
        vocabulary=vocabulary or 0,
        itemsize=itemsize,
        backend=backend,
        masked=backend in ("sdpa", PLAIN) and (static or padded or chunked),
        # torch's softmax reads fp16 and writes fp32 in one kernel on a GPU alone (native/SoftMax.cpp).
        fused_cast=setup.device == "cuda" and setup.dtype == "float16",
        mask_kinds=sum(1 for name in ("full_layers", "sliding_layers") if model.count(f"model.{name}")),
        window=window,
    )


PLAIN = "SDPA's plain path"
"""The kernel that torch's CPU takes where keys and values differ in width (MLA) or one head serves all (Falcon)."""


def _backend(model: Facts, setup: Setup, latent: bool, alone: bool) -> str:
    backend = setup.attn_implementation or ("eager" if model.value("model.supports_sdpa") is False else "sdpa")
    plain = backend == "sdpa" and setup.device == "cpu"
    return PLAIN if plain and (latent or (alone and model.text("model.type") == "falcon")) else backend


def _forward(shape: _Shape, rows: int, queries: int, keys: int) -> int:
    """The peak of one forward pass over `queries` new tokens of each row, which meet `keys` tokens."""
    tokens = rows * queries
    scored = shape.heads * rows * queries * keys * shape.itemsize if shape.backend == "eager" else 0
    through = max(
        # Eager attention's last scores stay alive while the MLP runs.
        _mlp(shape, tokens) + scored,
        _attention(shape, rows, queries, keys),
        _linear_attention(shape, tokens) if queries > 1 else 0,
    )
    logits = rows * shape.vocabulary * (shape.itemsize + LOGITS_COPIES * FLOAT32)
    return max(through + _throughout(shape, rows, queries, keys), logits)


def _throughout(shape: _Shape, rows: int, queries: int, keys: int) -> int:
    """What all layers share: a mask for each kind of layer, and the positions, which are the same for every row."""
    masks = _masks(shape, queries, keys) * rows * queries * keys
    if shape.kind == "gpt2":
        return masks + queries * shape.hidden * shape.itemsize
    turned = 0 if shape.kind in ("opt", "bloom") else max(1, shape.mask_kinds) * shape.both
    return masks + queries * turned * shape.itemsize


def _masks(shape: _Shape, queries: int, keys: int) -> int:
    """Bytes of the masks for one pair of query and key. SDPA needs none for whole causal attention."""
    if shape.backend == "eager":
        return max(1, shape.mask_kinds) * shape.itemsize
    if shape.masked:
        return max(1, shape.mask_kinds)
    return 1 if shape.backend in ("sdpa", PLAIN) and shape.window and queries > 1 and keys >= shape.window else 0


def _mlp(shape: _Shape, tokens: int) -> int:
    """The MLP with the residual stream. Experts get a copy of each token for every expert that it goes to."""
    residual = RESIDUAL_COPIES_OF.get(shape.kind or "", RESIDUAL_COPIES) * shape.hidden * shape.itemsize
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

    MLA expands the latent of the whole context to all heads. Eager attention holds every score and, as SDPA does under
    a mask, keys and values repeated for every query head. SDPA's plain path computes in fp32 throughout.
    """
    new = rows * queries * shape.itemsize
    size = new * (shape.heads + shape.kv_heads) * shape.both + 2 * new * shape.hidden
    if shape.backend == "eager" and not shape.latent:  # the new keys and values are the cache's by then
        widths = EAGER_WIDTHS_OF.get(shape.kind or "", EAGER_WIDTHS)
        size = new * (shape.heads * shape.both + widths * shape.hidden)
        size += new * (shape.heads + 2 * shape.kv_heads) * shape.both // 2 if shape.kind in FUSED else 0
    expanded = rows * keys * shape.heads * shape.both * shape.itemsize
    size += expanded if shape.latent else 0
    if shape.backend == "eager":
        size += rows * shape.heads * queries * keys * _score_bytes(shape)
    if shape.backend == PLAIN:
        # Scores and their softmax, and a byte for whether one counts; fp32 queries, keys and values.
        size += rows * shape.heads * queries * keys * (2 * FLOAT32 + 1)
        size += (PLAIN_EXPANDED_LATENT if shape.latent else PLAIN_EXPANDED) * expanded
    if (shape.backend == "eager" or shape.masked) and shape.kv_heads != shape.heads:
        size += expanded
    return size


def _score_bytes(shape: _Shape) -> int:
    """Bytes of one score at the softmax of eager attention: as computed, in fp32, and the result."""
    if shape.kind in OWN_SOFTMAX:
        return OWN_SOFTMAX[shape.kind] * shape.itemsize
    biased = BIASED_SCORES.get(shape.kind or "", 0) * shape.itemsize
    if shape.itemsize == FLOAT32 or shape.kind == "falcon":  # Falcon lets its own scores go before
        return biased + 2 * FLOAT32
    return biased + shape.itemsize + FLOAT32 + (shape.itemsize if shape.fused_cast else FLOAT32)


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
