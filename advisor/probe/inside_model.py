"""Runs in the target interpreter: what the installed transformers makes of a model's configuration.

Two paths on the command line: the request and the answer, both JSON. The model is built on the meta device, which
holds shapes and no numbers, so a model of any size takes well under a second of work. Nothing is downloaded.

Request: {"ask": "versions"} or {"ask": "model", "config": {...}, "source": str | null, "revision": str | null,
"trust_remote_code": bool}; `source` is where code of the model's own may be read, only when that is trusted.
"""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FIELDS = (
    *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings", "sliding_window"),
    *("attention_chunk_size", "tie_word_embeddings", "multi_query", "new_decoder_architecture", "num_kv_heads"),
    *("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"),
    *("num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok", "n_shared_experts"),
    *("moe_intermediate_size", "shared_expert_intermediate_size"),
    *("linear_num_value_heads", "linear_num_key_heads", "linear_key_head_dim", "linear_value_head_dim"),
    *("linear_conv_kernel_dim", "is_encoder_decoder", "ffn_dim", "n_inner", "ffn_hidden_size"),
)


def versions() -> dict[str, str | None]:
    """Versions by distribution name, without importing anything heavy."""
    from importlib import metadata

    found: dict[str, str | None] = {}
    for name in ("torch", "transformers"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def describe(request: dict[str, Any]) -> dict[str, Any]:
    """The model as the installed library builds it; {"known": false} when it does not have the model type."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    config = configuration(request, transformers)
    if config is None:
        return {"known": False}
    trusted = {"trust_remote_code": True} if request["trust_remote_code"] else {}
    with torch.device("meta"):
        model = auto_class(config, transformers, request).from_config(config, **trusted)
    text = text_config(config)
    encoder = is_encoder(config, transformers)
    named = getattr(config, "architectures", None) if encoder else None  # a head may be saved that is not loaded here
    return {
        "known": True,
        "architecture": named[0] if named else type(model).__name__,
        "text": {**stated(text), "num_mtp_layers": mtp_layers(text), **({"is_encoder": True} if encoder else {})},
        "cache_layers": cache_layers(text),
        "groups": groups(model, multimodal=text is not config),
        "supports": {**supports(type(model)), "tp": has_tp_plan(model)},
        "auto_compile": [] if encoder else auto_compile(model, config, transformers),
        "dtype": dtype_name(config),
    }


def configuration(request: dict[str, Any], transformers: Any) -> Any:
    """The library's configuration object, or None when this version does not have the model type."""
    if request["trust_remote_code"] and request["source"]:
        return transformers.AutoConfig.from_pretrained(
            request["source"], revision=request["revision"], trust_remote_code=True
        )
    given = {
        name: value
        for name, value in request["config"].items()
        if name not in ("auto_map", "quantization_config", "compression_config", "attn_implementation")
        and not name.startswith("_attn")
    }
    mapping = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    if given["model_type"] not in mapping:
        return None
    return mapping[given["model_type"]].from_dict(given)


def auto_class(config: Any, transformers: Any, request: dict[str, Any]) -> Any:
    """The automatic class that makes a text-generating model of this configuration, or an encoder without a head."""
    auto = transformers.models.auto.modeling_auto
    if is_encoder(config, transformers):
        return transformers.AutoModel
    if type(config) in auto.MODEL_FOR_CAUSAL_LM_MAPPING or request["trust_remote_code"]:
        return transformers.AutoModelForCausalLM
    if type(config) in getattr(auto, "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING", ()):
        return transformers.AutoModelForImageTextToText
    if type(config) in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return transformers.AutoModelForSeq2SeqLM
    return transformers.AutoModelForCausalLM  # raises the library's own explanation


def is_encoder(config: Any, transformers: Any) -> bool:
    """Whether the configuration is of an encoder: a type that predicts masked tokens, or has no head that generates.

    Some types (BERT, RoBERTa) have a class that generates, too: it counts where the configuration says `is_decoder`
    or names it.
    """
    auto = transformers.models.auto.modeling_auto
    kind, named = config.model_type, getattr(config, "architectures", None) or ()
    if getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False):
        return False
    causal = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    if kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return causal is None or causal not in named
    generating = ("SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "VISION_2_SEQ", "SPEECH_SEQ_2_SEQ")
    others = (getattr(auto, f"MODEL_FOR_{name}_MAPPING_NAMES", {}) for name in generating)
    return causal is None and kind in auto.MODEL_MAPPING_NAMES and not any(kind in names for names in others)


def text_config(config: Any) -> Any:
    """The part of the configuration that describes the language model."""
    try:
        return config.get_text_config(decoder=True)
    except (AttributeError, TypeError, ValueError):
        return config


def stated(text: Any) -> dict[str, Any]:
    """The fields that describe sizes, as the class has filled them in."""
    return {name: value for name in FIELDS if isinstance(value := getattr(text, name, None), (bool, int, str))}


def mtp_layers(text: Any) -> int:
    """Layers of multi-token prediction; newer classes read the checkpoint's name under a name of the library's own."""
    given = (getattr(text, name, None) for name in ("num_mtp_layers", "num_nextn_predict_layers"))
    return next((layers for layers in given if type(layers) is int), 0)


def cache_layers(text: Any) -> list[str] | None:
    """The kind of each layer that keeps something between tokens, as the library's cache will be built; or None."""
    try:
        from transformers.cache_utils import get_layer_types_and_kwargs
    except ImportError:
        kinds = getattr(text, "layer_types", None)
        return list(kinds) if kinds else None
    return list(get_layer_types_and_kwargs(text)[0])


def groups(model: Any, multimodal: bool) -> dict[str, int]:
    """Parameters by what becomes of them, each stored tensor counted once. `experts` are part of `linear`."""
    language = language_parameters(model) if multimodal else None
    names = ("total", "embedding", "head", "linear", "experts", "other", "rest", "quantizable")
    counts = dict.fromkeys(names, 0)
    for place, module, name, parameter in stored(model):
        size = parameter.numel()
        counts["total"] += size
        if language is not None and id(parameter) not in language:
            counts["rest"] += size
        else:
            group = group_of(model, place, module, name, parameter)
            counts["linear" if group == "experts" else group] += size
            counts["experts"] += size if group == "experts" else 0
        counts["quantizable"] += size if is_replaced(model, module, name) else 0
    return counts


def stored(model: Any) -> Iterator[tuple[str, Any, str, Any]]:
    """Every parameter once, with its module's place, its module and its own name."""
    seen = set()
    for place, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield place, module, name, parameter


def group_of(model: Any, place: str, module: Any, name: str, parameter: Any) -> str:
    """The group of one parameter, by its module and its place in the model."""
    import torch

    if isinstance(module, torch.nn.Embedding):
        return "embedding"
    if module is model.get_output_embeddings():
        return "head" if name == "weight" else "other"
    parts = place.split(".")
    if "experts" in parts and "shared_experts" not in parts and parameter.dim() >= 2 and "bias" not in name:
        return "experts"
    is_linear = isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"
    return "linear" if name == "weight" and is_linear else "other"


def is_replaced(model: Any, module: Any, name: str) -> bool:
    """Whether bitsandbytes quantizes this tensor on load (transformers/integrations/bitsandbytes.py).

    The output projection stays. From transformers 5 only exactly nn.Linear and GPT-2's Conv1D are replaced: a
    subclass of nn.Linear is not, nor are experts that are held as one tensor for all.
    """
    import torch
    import transformers

    if name != "weight" or module is model.get_output_embeddings():
        return False
    exactly = int(transformers.__version__.split(".")[0]) >= 5
    linear = type(module) is torch.nn.Linear if exactly else isinstance(module, torch.nn.Linear)
    return linear or type(module).__name__ == "Conv1D"


def language_parameters(model: Any) -> set[int]:
    """Identities of the parameters that generate text; the others belong to towers for images or sound."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    head = model.get_output_embeddings()
    parts = [decoder] + ([head] if head is not None else [])
    return {id(parameter) for part in parts for parameter in part.parameters()}


def supports(kind: type) -> dict[str, bool]:
    """Which attention backends the class runs with; the flags were renamed between versions."""
    names = {
        "sdpa": ("_supports_sdpa",),
        "flash_attention": ("_supports_flash_attn", "_supports_flash_attn_2"),
        "flex_attention": ("_supports_flex_attn",),
        "static_cache": ("_can_compile_fullgraph", "_supports_static_cache"),
    }
    return {name: any(bool(getattr(kind, flag, False)) for flag in flags) for name, flags in names.items()}


def has_tp_plan(model: Any) -> bool:
    """Whether a tensor-parallel plan stands with the model, its base or its configuration.

    The property `supports_tp_plan` of some versions counts an empty plan as one.
    """
    owners = (model, getattr(model, "base_model", None))
    plans = [getattr(owner, "_tp_plan", None) for owner in owners]
    return any((*plans, getattr(model.config, "base_model_tp_plan", None)))


def auto_compile(model: Any, config: Any, transformers: Any) -> list[str] | None:
    """Where generate would compile this model by itself with a static cache, by the model's own check.

    `_valid_auto_compile_criteria` (transformers 4.52 and later) is called with a real StaticCache, once for each place.
    A meta model is on no device that counts, so its `device` says for the length of the call what it would say there;
    a quantizer (bitsandbytes, made without running its constructor) and a device map are attached likewise.
    `quantized` and `offloaded` are asked on cuda. None where this version has no such check or refuses the question.
    """
    import torch

    check = getattr(model, "_valid_auto_compile_criteria", None)
    if check is None:
        return None
    try:
        asked = ({"past_key_values": static_cache(config, transformers)}, transformers.GenerationConfig())
        quantizer = object.__new__(transformers.quantizers.auto.AUTO_QUANTIZER_MAPPING["bitsandbytes_4bit"])
        places: dict[str, dict[str, Any]] = {
            "cuda": {},
            "cpu": {"device": torch.device("cpu")},
            "quantized": {"hf_quantizer": quantizer},
            "offloaded": {"hf_device_map": {"model": 0, "lm_head": "cpu"}},
        }
        with_device = {place: {"device": torch.device("cuda"), **given} for place, given in places.items()}
        return [place for place, given in with_device.items() if said_of(model, given, check.__func__, asked)]
    except (AttributeError, ImportError, KeyError, RuntimeError, TypeError, ValueError):
        return None


def static_cache(config: Any, transformers: Any) -> Any:
    """A static cache of one short sequence; its parameters changed between versions."""
    given = {"config": config, "max_cache_len": 8, "max_batch_size": 1, "device": "meta"}
    known = inspect.signature(transformers.StaticCache.__init__).parameters
    return transformers.StaticCache(**{name: value for name, value in given.items() if name in known})


def said_of(model: Any, attributes: dict[str, Any], check: Any, asked: Any) -> bool:
    """The answer of `check` for a model that has these attributes, which are set on a class of its own."""
    posing: Any = object.__new__(type(type(model).__name__, (type(model),), attributes))
    posing.__dict__ = model.__dict__
    return bool(check(posing, *asked))


def dtype_name(config: Any) -> str | None:
    """The floating-point type that the configuration asks for, without the `torch.` in front."""
    dtype = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    return None if dtype is None else str(dtype).removeprefix("torch.")


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer: dict[str, Any] = {"versions": versions()}
    if request["ask"] == "model" and all(answer["versions"].values()):
        answer["model"] = describe(request)
    whole = Path(sys.argv[2] + ".part")
    whole.write_text(json.dumps(answer), encoding="utf-8")
    whole.replace(sys.argv[2])


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if str(Path(entry or ".").resolve()) != here]
    main()
