"""An encoder's anatomy from its configuration alone: BERT and its close relatives, counted by a closed formula.

From the modeling files of transformers 5; a test holds the shipped shapes of these types against the count. The class
that is counted is the one that embeds, without a head.
"""

from collections.abc import Mapping
from typing import Any

PLAIN = ("bert", "roberta", "xlm-roberta", "camembert")
"""BERT's layers and its three tables: words, positions and token types."""
ENCODERS = (*PLAIN, "mpnet", "modernbert")
OTHERS = (
    *("albert", "big_bird", "convbert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "esm", "eurobert"),
    *("gte", "longformer", "megatron-bert", "mobilebert", "nomic_bert", "rembert", "roberta-prelayernorm", "roformer"),
)
"""Types that are encoders too, and whose parameters this program cannot count without the library."""
GENERATES = ("ForCausalLM", "LMHeadModel")
MPNET_BUCKETS = 32
"""Rows of the table of relative positions (relative_attention_num_buckets, by default)."""
MOST_LAYERS = 10_000
GLOBAL_EVERY = 3
"""ModernBERT: each third layer, from the first, attends to every token (global_attn_every_n_layers, by default)."""


def is_encoder(config: Mapping[str, Any]) -> bool:
    """Whether the configuration is of an encoder: its type is, and no class that generates is named."""
    kind, named = config.get("model_type"), config.get("architectures")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    generating = config.get("is_decoder") is True or any(name.endswith(GENERATES) for name in names)
    return kind in (*ENCODERS, *OTHERS) and not generating


def resolved(text: Mapping[str, Any]) -> dict[str, Any]:
    """The text configuration marked as an encoder's. ModernBERT states both sides of its window together."""
    both = _size(text, "local_attention")
    window = {"sliding_window": both // 2} if both is not None and "sliding_window" not in text else {}
    return {**text, "is_encoder": True, **window}


def layers(text: Mapping[str, Any]) -> tuple[str, ...] | None:
    """How each layer attends; None where the type is not counted here."""
    count, kind = _size(text, "num_hidden_layers"), text.get("model_type")
    if count is None or count > MOST_LAYERS or kind not in ENCODERS:
        return None
    if kind != "modernbert":
        return ("full_attention",) * count
    stated = text.get("layer_types")
    if isinstance(stated, list) and all(isinstance(name, str) for name in stated):
        return tuple(stated)
    every = _size(text, "global_attn_every_n_layers") or GLOBAL_EVERY
    return tuple("sliding_attention" if layer % every else "full_attention" for layer in range(count))


def groups(text: Mapping[str, Any]) -> dict[str, int]:
    """Parameters by group; empty for other types, or where the configuration leaves a size open."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size", "num_attention_heads")
    sizes = [size for name in names if (size := _size(text, name)) is not None]
    kind = text.get("model_type")
    if len(sizes) < len(names) or kind not in ENCODERS:
        return {}
    hidden, wide, count, vocabulary, heads = sizes
    if kind == "modernbert":
        embedding, linear = vocabulary * hidden, count * (4 * hidden * hidden + 3 * hidden * wide)
        # A norm before the MLP in each layer, one before attention in all but the first, at the start and at the end.
        other = hidden * (2 * count + 1)
    else:
        positions = _size(text, "max_position_embeddings")
        if positions is None:
            return {}
        tables = MPNET_BUCKETS * heads if kind == "mpnet" else (_size(text, "type_vocab_size") or 2) * hidden
        embedding = (vocabulary + positions) * hidden + tables
        # The pooler is one more matrix, with its bias; weights and biases of a norm each.
        linear = count * (4 * hidden * hidden + 2 * hidden * wide) + hidden * hidden
        other = count * (4 * hidden + wide + hidden + 4 * hidden) + 2 * hidden + hidden
    parts = {"embedding": embedding, "head": 0, "linear": linear, "other": other, "rest": 0}
    return {"total": sum(parts.values()), **parts, "experts": 0, "quantizable": linear}


def _size(text: Mapping[str, Any], name: str) -> int | None:
    value = text.get(name)
    return value if type(value) is int else None
