"""Bytes that a forward pass needs beside weights and cache: at the prompt, and for each token after it."""

from dataclasses import dataclass

from advisor.estimate.cache import Kept, Request
from advisor.facts import Facts
from advisor.setup import Setup

FLOAT32 = 4
MOST_BATCH_TOKENS = 2048
"""Tokens of one forward pass of continuous batching, as a recipe sets them."""


@dataclass(frozen=True)
class Peaks:
    """Bytes at the prompt and while decoding."""

    prefill: int
    decode: int


@dataclass(frozen=True)
class _Widths:
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    vocabulary: int


def peaks(model: Facts, setup: Setup, call: Request, cache: Kept, itemsize: int) -> Peaks | None:
    """The peaks of one call; None where a width is not known.

    Of the three parts that follow one another in a forward pass the largest counts: MLP, attention, logits.
    `itemsize` is the number of bytes of one activation.
    """
    widths = _widths(model)
    if widths is None:
        return None
    tokens = call.prompt_tokens
    if setup.batching == "continuous":
        tokens = min(MOST_BATCH_TOKENS, max(call.prompt_tokens + call.new_tokens, call.rows * call.prompt_tokens))
        return _continuous(model, setup, call, widths, tokens, cache, itemsize)
    prefill = max(
        _mlp(widths, call.rows * tokens, itemsize),
        _attention(model, setup, widths, call.rows, tokens, tokens, itemsize),
        _logits(widths, call.rows, itemsize),
    )
    if setup.use_cache is False:
        whole = Request(call.rows, call.prompt_tokens + call.new_tokens - 1, 1)
        steps = max(
            _mlp(widths, whole.rows * whole.prompt_tokens, itemsize),
            _attention(model, setup, widths, whole.rows, whole.prompt_tokens, whole.prompt_tokens, itemsize),
        )
        return Peaks(prefill, max(prefill, steps))
    decode = max(
        _mlp(widths, call.rows, itemsize),
        _attention(model, setup, widths, call.rows, 1, call.stored_tokens, itemsize),
        _logits(widths, call.rows, itemsize),
    )
    grows = setup.cache_implementation in (None, "dynamic", "offloaded")
    return Peaks(prefill, decode + (cache.layer if grows else 0))


def _widths(model: Facts) -> _Widths | None:
    names = ("hidden_size", "intermediate_size", "heads", "kv_heads", "head_dim", "value_head_dim", "vocab_size")
    found = [model.count(f"model.{name}") for name in names]
    return _Widths(*[size for size in found if size is not None]) if None not in found else None


def _mlp(widths: _Widths, tokens: int, itemsize: int) -> int:
    """Gate, up and their product, and the residual stream with its copies."""
    return tokens * itemsize * (3 * widths.mlp + 4 * widths.hidden)


def _attention(model: Facts, setup: Setup, widths: _Widths, rows: int, queries: int, keys: int, itemsize: int) -> int:
    """Queries, keys, values and output; eager attention also holds every score, and keys for every query head.

    Scores: one product in the weights' type, its fp32 softmax, and that cast back. MLA re-expands the latent of the
    whole context to all heads.
    """
    both = widths.head_dim + widths.value_dim
    size = rows * queries * itemsize * (widths.heads * both + widths.kv_heads * both + 2 * widths.hidden)
    if model.count("model.kv_latent_values") is not None:
        size += rows * keys * widths.heads * both * itemsize
    if setup.attn_implementation == "eager":
        size += rows * widths.heads * queries * keys * (2 * itemsize + FLOAT32)
        if widths.kv_heads != widths.heads:
            size += rows * keys * widths.heads * both * itemsize
    return size


def _logits(widths: _Widths, rows: int, itemsize: int) -> int:
    """generate keeps the logits of one position, and a copy in fp32 to choose from."""
    return rows * widths.vocabulary * (itemsize + FLOAT32)


def _continuous(
    model: Facts, setup: Setup, call: Request, widths: _Widths, tokens: int, cache: Kept, itemsize: int
) -> Peaks:
    """One pass over tokens of many requests: keys and values read back from the pages, and a mask over all of them.

    Other than flash attention, the backends repeat them for every query head and mask each token against the whole
    cache (continuous_batching/cache.py).
    """
    token = widths.kv_heads * (widths.head_dim + widths.value_dim) * itemsize
    readable = cache.layer // token if token else 0
    flash = "flash" in (setup.attn_implementation or "")
    heads = 2 * widths.kv_heads if flash else 2 * widths.heads + widths.kv_heads
    mask = 0 if flash else tokens * (readable + tokens) * itemsize
    attention = _attention(model, setup, widths, 1, tokens, readable, itemsize)
    read = readable * heads * widths.head_dim * itemsize
    peak = max(_mlp(widths, tokens, itemsize), attention + read, _logits(widths, call.rows, itemsize)) + mask
    return Peaks(peak, peak)
