"""What a model is made of, as facts `model.*`: from the installed library, a shipped shape, or a config alone.

Pure: an `Anatomy` in, facts out. The field names are those of transformers' text configurations, after the classes
have filled in their defaults.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advisor.facts import Fact, Facts, Known, Unknown, Value

SLIDING = ("sliding_attention", "chunked_attention", "hybrid_sliding", "reference_sliding_attention")
"""Layers that keep a window of tokens, as transformers' caches name them."""
LINEAR = ("linear_attention", "conv", "mamba", "hybrid", "hybrid_sliding")
"""Layers that keep a state of constant size, some of them beside keys and values."""
FULL = ("full_attention", "hybrid")
"""Layers that keep every token."""
FLOAT32_BYTES = 4
LARGEST = 2**40
FOUR_TIMES_WIDE = ("gpt2", "bloom", "gptj", "codegen", "gpt_bigcode", "falcon", "gpt_neo")
"""Types whose MLP is four times as wide as the residual stream when the configuration names no width."""
GROUPS = ("total", "embedding", "head", "linear", "experts", "other", "rest", "quantizable")


@dataclass(frozen=True)
class Anatomy:
    """A model's class, its resolved text configuration, the kinds of its cached layers, and its parameters by group.

    `groups` and `supports` are empty where they are not known; `missing` then says why. `auto_compile` names where
    generate compiles the model by itself, None where that is not known.
    """

    architecture: str | None
    text: Mapping[str, Any]
    cache_layers: tuple[str, ...] | None
    groups: Mapping[str, int]
    supports: Mapping[str, bool]
    dtype: str | None
    source: str
    missing: str = "not known"
    auto_compile: tuple[str, ...] | None = None

    @property
    def is_encoder(self) -> bool:
        """Whether the model reads whole texts at once and generates nothing."""
        return self.text.get("is_encoder") is True

    def count(self, *names: str) -> int | None:
        """The first of the configuration's integers under `names` that can be a size, or None."""
        for name in names:
            value = self.text.get(name)
            if type(value) is int and 0 <= value < LARGEST:
                return value
        return None


def facts(anatomy: Anatomy) -> Facts:
    """All facts `model.*` that follow from the anatomy; nothing about files."""
    known: dict[str, Value | None] = {
        "architecture": anatomy.architecture,
        "type": kind if isinstance(kind := anatomy.text.get("model_type"), str) else None,
        "config_dtype": anatomy.dtype,
        **_sizes(anatomy),
        **_layers(anatomy),
        **_experts(anatomy),
    }
    named: dict[str, Fact] = {f"model.{name}": _fact(value, anatomy, _NOT_STATED) for name, value in known.items()}
    counted = {f"model.{name}": _fact(value, anatomy, anatomy.missing) for name, value in _parameters(anatomy).items()}
    backends = {
        f"model.supports_{name}": _fact(anatomy.supports.get(name), anatomy, anatomy.missing)
        for name in ("sdpa", "flash_attention", "flex_attention", "static_cache", "tp")
    }
    unasked = _NO_CHECK if anatomy.supports else anatomy.missing
    compiles = {"model.auto_compile": _fact(anatomy.auto_compile, anatomy, unasked)}
    return Facts({**named, **counted, **backends, **compiles})


_NOT_STATED = "the configuration does not say"
_NO_CHECK = "this version of transformers has no check for it"


def _fact(value: Value | None, anatomy: Anatomy, missing: str) -> Fact:
    return Unknown(missing) if value is None else Known(value, anatomy.source)


def _sizes(anatomy: Anatomy) -> dict[str, Value | None]:
    hidden, heads = anatomy.count("hidden_size"), anatomy.count("num_attention_heads")
    plain = anatomy.count("head_dim") or (hidden // heads if hidden and heads else None)
    latent, rope = anatomy.count("kv_lora_rank"), anatomy.count("qk_rope_head_dim")
    nope = anatomy.count("qk_nope_head_dim")
    is_latent = latent is not None and rope is not None and nope is not None
    return {
        "hidden_size": hidden,
        "heads": heads,
        "kv_heads": _kv_heads(anatomy),
        "head_dim": nope + rope if is_latent and nope is not None and rope is not None else plain,
        "value_head_dim": anatomy.count("v_head_dim") or plain,
        "vocab_size": anatomy.count("vocab_size"),
        "context_tokens": anatomy.count("max_position_embeddings"),
        "mtp_layers": anatomy.count("num_mtp_layers", "num_nextn_predict_layers"),
        "kv_latent_values": latent + rope if is_latent and latent is not None and rope is not None else None,
        "tied_embeddings": _flag(anatomy.text.get("tie_word_embeddings")),
        "decoder_only": _decoder_only(anatomy),
        "encoder_only": anatomy.is_encoder,
    }


def _decoder_only(anatomy: Anatomy) -> bool | None:
    if anatomy.is_encoder:
        return False
    both = _flag(anatomy.text.get("is_encoder_decoder"))
    return None if both is None else not both


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _kv_heads(anatomy: Anatomy) -> int | None:
    """Heads of the cached keys. Falcon's first generation states one shared head by a flag (modeling_falcon.py)."""
    if anatomy.text.get("model_type") == "falcon":
        if anatomy.text.get("new_decoder_architecture"):
            return anatomy.count("num_kv_heads")
        if anatomy.text.get("multi_query"):
            return 1
        return anatomy.count("num_attention_heads")
    return anatomy.count("num_key_value_heads", "num_attention_heads")


def _layers(anatomy: Anatomy) -> dict[str, Value | None]:
    kinds = anatomy.cache_layers
    window = anatomy.count("sliding_window", "attention_chunk_size")
    found: dict[str, Value | None] = {"layers": anatomy.count("num_hidden_layers")}
    if kinds is None or not all(kind in (*SLIDING, *LINEAR, *FULL) for kind in kinds):
        return {**found, **dict.fromkeys(("full_layers", "sliding_layers", "linear_layers", "attention_kind"))}
    count = Counter(kinds)
    full, sliding, linear = (sum(count[kind] for kind in names) for names in (FULL, SLIDING, LINEAR))
    state, convolution, value_width = _linear_state(anatomy, linear)
    return {
        **found,
        "full_layers": full,
        "sliding_layers": sliding,
        "linear_layers": linear,
        "sliding_window_tokens": window if sliding else None,
        "linear_state_bytes": state,
        "linear_conv_values": convolution,
        "linear_width": value_width,
        "attention_kind": _kind(anatomy, full, sliding, linear),
    }


def _kind(anatomy: Anatomy, full: int, sliding: int, linear: int) -> str | None:
    if sum(1 for share in (full, sliding, linear) if share) > 1:
        return "hybrid"
    if linear:
        return "linear"
    if sliding:
        return "sliding"
    if anatomy.count("kv_lora_rank"):
        return "MLA"
    heads, kv_heads = anatomy.count("num_attention_heads"), _kv_heads(anatomy)
    if heads is None or kv_heads is None:
        return None
    return "MHA" if heads == kv_heads else "MQA" if kv_heads == 1 else "GQA"


def _linear_state(anatomy: Anatomy, layers: int) -> tuple[int | None, int | None, int | None]:
    """Recurrent bytes and convolution values of all linear layers for one sequence, and the width of one's values.

    Known for the gated delta rule (Qwen3-Next): the recurrent state is fp32, key width x value width for each value
    head; the convolution keeps its kernel's length of keys, queries and values (modeling_qwen3_next.py). Other
    linear layers store other states.
    """
    if layers == 0:
        return 0, 0, 0
    key_heads, value_heads = anatomy.count("linear_num_key_heads"), anatomy.count("linear_num_value_heads")
    key, value = anatomy.count("linear_key_head_dim"), anatomy.count("linear_value_head_dim")
    kernel = anatomy.count("linear_conv_kernel_dim")
    if key_heads is None or value_heads is None or key is None or value is None or kernel is None:
        return None, None, None
    mixed = 2 * key_heads * key + value_heads * value
    return layers * value_heads * key * value * FLOAT32_BYTES, layers * mixed * kernel, value_heads * value


def _experts(anatomy: Anatomy) -> dict[str, Value | None]:
    routed = anatomy.count("num_experts", "num_local_experts", "n_routed_experts")
    if not routed:
        none = dict.fromkeys(("experts", "experts_active", "expert_width"), 0)
        return {**none, "intermediate_size": _mlp_width(anatomy)}
    active = anatomy.count("num_experts_per_tok")
    width = anatomy.count("moe_intermediate_size", "intermediate_size")
    shared = anatomy.count("shared_expert_intermediate_size")
    if shared is None and width is not None:
        shared = (anatomy.count("n_shared_experts") or 0) * width
    whole = active * width + shared if active is not None and width is not None and shared is not None else None
    return {"experts": routed, "experts_active": active, "expert_width": width, "intermediate_size": whole}


def _mlp_width(anatomy: Anatomy) -> int | None:
    stated = anatomy.count("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
    hidden = anatomy.count("hidden_size")
    if stated is None and hidden is not None and anatomy.text.get("model_type") in FOUR_TIMES_WIDE:
        return 4 * hidden
    return stated


def _parameters(anatomy: Anatomy) -> dict[str, Value | None]:
    groups = anatomy.groups
    counted: dict[str, Value | None] = {
        f"parameters_{name}": groups.get(name)
        for name in ("embedding", "head", "linear", "experts", "other", "rest", "quantizable")
    }
    return {"parameters": groups.get("total"), "parameters_active": active_parameters(anatomy), **counted}


def active_parameters(anatomy: Anatomy) -> int | None:
    """Parameters that one token of text goes through: of the routed experts only the chosen, no tower."""
    total, experts = anatomy.groups.get("total"), anatomy.groups.get("experts")
    if total is None or experts is None:
        return None
    text = total - anatomy.groups.get("rest", 0)
    if experts == 0:
        return text
    routed = anatomy.count("num_experts", "num_local_experts", "n_routed_experts")
    active = anatomy.count("num_experts_per_tok")
    return text - experts + experts * active // routed if routed and active else None
