"""How long the sequence was, by the size of the tensor that did not fit."""

import math

from advisor.amounts import size
from advisor.facts import Facts
from advisor.reading.passage import Passage

_SCORES = ("eager_attention_forward", "attn_weights = ")
_LOGITS = ("logits.float(", "logits = logits.float")
_CACHE_GROWS = (
    "self.keys = torch.cat(",
    "self.values = torch.cat(",
    "self.key_cache[layer_idx] = torch.cat(",
    "self.value_cache[layer_idx] = torch.cat(",
)
"""Lines of cache_utils.py, by version, in which one layer's keys or values are written anew, longer than before."""


def length(passage: Passage, model: Facts, batch: int, answer: int, width: int) -> tuple[int, str] | None:
    """Tokens of the prompt and how they follow, for `batch` sequences, values of `width` bytes and `answer` tokens to
    be generated.

    Attention scores have batch x heads x length x length values, one layer's keys or values batch x length x heads of
    the cache x width of a head, logits batch x length x vocabulary.
    """
    requested = passage.facts.count("text.requested_bytes")
    if not requested:
        return None
    heads, vocabulary = model.count("model.heads"), model.count("model.vocab_size")
    if heads and _failed_in(passage, _SCORES):
        shape = f"{batch} x {heads} heads x length x length x {width} bytes"
        return math.isqrt(requested // (batch * heads * width)), f"{size(requested)} = {shape}"
    if (token := _cached_token_bytes(model, width)) and _failed_in(passage, _CACHE_GROWS):
        tokens = requested // (batch * token)
        shape = f"{batch} x {tokens} tokens x {token} bytes of one layer's keys"
        # The cache holds the prompt and what was generated; how far that was is not told.
        return tokens - answer if tokens > answer else tokens, f"{size(requested)} = {shape}"
    if vocabulary and _failed_in(passage, _LOGITS):
        shape = f"{batch} x length x {vocabulary} tokens x 4 bytes"
        return requested // (batch * vocabulary * 4), f"{size(requested)} = {shape}"
    return None


def _failed_in(passage: Passage, phrases: tuple[str, ...]) -> bool:
    return any(passage.find_in_scope(phrase) for phrase in phrases)


def _cached_token_bytes(model: Facts, width: int) -> int | None:
    """Bytes of one token's keys in one layer."""
    heads, head = model.count("model.kv_heads"), model.count("model.head_dim")
    return heads * head * width if heads and head and not model.count("model.kv_latent_values") else None
