"""A model's anatomy from its configuration alone, where no library can be asked (no torch in the target).

Only what the configuration states and what follows from it for well-known types: Llama and its close relatives are
counted by a closed formula; for any other type the count is unknown, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advisor.probe import encoder_config
from advisor.probe.anatomy import Anatomy

OTHER_NAMES = {
    "hidden_size": ("n_embd", "n_embed", "d_model"),
    "num_hidden_layers": ("n_layer", "n_layers"),
    "num_attention_heads": ("n_head", "n_heads"),
    "max_position_embeddings": ("n_positions", "n_ctx", "max_seq_len"),
    "intermediate_size": ("ffn_dim", "n_inner", "ffn_hidden_size"),
}
LARGEST = 2**40
MOST_LAYERS = 10_000
TEXT_PARTS = ("text_config", "llm_config", "language_config")


@dataclass(frozen=True)
class Family:
    """How a relative of Llama differs: norms in a layer, tied unless stated, biases on q, k and v, norms of q and k.

    From the modeling files of transformers 5; a test holds every shipped shape of these types against the count.
    """

    norms: int = 2
    tied: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False


FAMILIES = {
    "llama": Family(),
    "mistral": Family(),
    "phi3": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen3": Family(qk_norm=True),
    "smollm3": Family(tied=True),
    "gemma": Family(tied=True),
    "gemma2": Family(norms=4, tied=True),
    "gemma3_text": Family(norms=4, tied=True, qk_norm=True),
    "mixtral": Family(),
    "qwen3_moe": Family(qk_norm=True),
}
MIXTURES = ("mixtral", "qwen3_moe")
ALTERNATING = {"gemma2": 2, "gemma3_text": 6}
"""Types of which every n-th layer keeps all tokens and the others a window."""
WINDOWED = ("mistral", "mixtral", "phi3", "starcoder2")
"""Types whose layers all keep a window when the configuration states one."""


def anatomy(config: Mapping[str, Any], why: str) -> Anatomy:
    """The anatomy as far as the configuration tells; `why` says why the library was not asked."""
    text = _text(config)
    classes = config.get("architectures")
    dtype = config.get("dtype", config.get("torch_dtype"))
    counted = _groups(text) if _type(text) in FAMILIES and config.get("model_type") == _type(text) else {}
    if encoder_config.is_encoder(config):
        text, counted = encoder_config.resolved(text), encoder_config.groups(text)
    return Anatomy(
        architecture=classes[0] if isinstance(classes, list) and classes and isinstance(classes[0], str) else None,
        text=text,
        cache_layers=encoder_config.layers(text) if text.get("is_encoder") else _cache_layers(text),
        groups=counted,
        supports={},
        dtype=dtype if isinstance(dtype, str) else None,
        source="config.json",
        missing=why,
    )


def layers(config: Mapping[str, Any]) -> int:
    """The layers that the configuration names; 0 where it names none."""
    return _size(_text(config), "num_hidden_layers") or 0


def _text(config: Mapping[str, Any]) -> dict[str, Any]:
    """The language model's part, under the names that newer configurations use, with the defaults of known types.

    Only names, flags, lists and sensible counts are taken over: a configuration may hold anything.
    """
    part = next((config[name] for name in TEXT_PARTS if isinstance(config.get(name), dict)), config)
    raw = {"model_type": config.get("model_type"), **part}
    text = {name: value for name, value in raw.items() if _is_sensible(value)}
    for name, others in OTHER_NAMES.items():
        given = next((text[other] for other in (name, *others) if type(text.get(other)) is int), None)
        if given is not None:
            text[name] = given
    family = FAMILIES.get(_type(text))
    if family is not None and not isinstance(text.get("tie_word_embeddings"), bool):
        text["tie_word_embeddings"] = family.tied
    return text


def _is_sensible(value: Any) -> bool:
    return isinstance(value, str | bool | list) or (type(value) is int and 0 < value < LARGEST)


def _type(text: Mapping[str, Any]) -> str:
    kind = text.get("model_type")
    return kind if isinstance(kind, str) else ""


def _size(text: Mapping[str, Any], name: str) -> int | None:
    value = text.get(name)
    return value if type(value) is int else None


def _cache_layers(text: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The kind of each layer, where the configuration or a known type tells; None otherwise."""
    layers, kind = _size(text, "num_hidden_layers"), _type(text)
    stated = text.get("layer_types")
    if isinstance(stated, list) and all(isinstance(entry, str) for entry in stated):
        return tuple(stated)
    if layers is None or layers > MOST_LAYERS:
        return None
    if (every := _size(text, "full_attention_interval")) is not None:
        return _every(layers, every, "linear_attention")
    if kind in ALTERNATING:
        return _every(layers, _size(text, "sliding_window_pattern") or ALTERNATING[kind], "sliding_attention")
    if kind in WINDOWED and _size(text, "sliding_window") is not None:
        return ("sliding_attention",) * layers
    return ("full_attention",) * layers if kind in FAMILIES and not text.get("use_sliding_window") else None


def _every(layers: int, every: int, others: str) -> tuple[str, ...]:
    return tuple("full_attention" if (layer + 1) % every == 0 else others for layer in range(layers))


def _groups(text: Mapping[str, Any]) -> dict[str, int]:
    """Parameters of a relative of Llama by group; empty when the configuration leaves a size open."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    sizes = [size for name in names if (size := _size(text, name)) is not None]
    if len(sizes) < len(names):
        return {}
    hidden, wide, layers, heads, vocabulary = sizes
    family = FAMILIES[text["model_type"]]
    head_dim = _size(text, "head_dim") or hidden // heads
    q, kv = heads * head_dim, (_size(text, "num_key_value_heads") or heads) * head_dim
    experts, router = _experts(text, hidden, wide)
    mlp = 0 if text["model_type"] in MIXTURES else 3 * hidden * wide
    linear = layers * (2 * hidden * q + 2 * hidden * kv + mlp + experts)
    norms = layers * (family.norms * hidden + (2 * head_dim if family.qk_norm else 0)) + hidden
    biases = layers * (q + 2 * kv) if family.qkv_bias else 0
    groups = {
        "embedding": vocabulary * hidden,
        "head": 0 if text["tie_word_embeddings"] else vocabulary * hidden,
        "linear": linear,
        "other": norms + biases + layers * router,
        "rest": 0,
    }
    whole = {"total": sum(groups.values()), **groups, "experts": layers * experts}
    return whole if experts else {**whole, "quantizable": linear}


def _experts(text: Mapping[str, Any], hidden: int, wide: int) -> tuple[int, int]:
    """Weights of the routed experts of one layer, and of its router; zeros for a dense model."""
    if text["model_type"] not in MIXTURES:
        return 0, 0
    routed = _size(text, "num_experts") or _size(text, "num_local_experts") or 0
    return routed * 3 * hidden * (_size(text, "moe_intermediate_size") or wide), routed * hidden
