"""Loaded by inside_dry_run.py in the target interpreter: a model without memory, and what its weights take."""

from __future__ import annotations  # The target may run an older Python than this program does.

import contextlib
from typing import Any

DROPPED = ("auto_map", "quantization_config", "compression_config", "attn_implementation")
"""Entries of a configuration that would load code or quantize."""


def imported(config: dict[str, Any], transformers: Any) -> None:
    """Import what building a model takes, the model's own file too. What fails here fails again when it is built."""
    __import__("transformers.modeling_utils")
    with contextlib.suppress(Exception):
        auto_class(configured(config, transformers), transformers)


def configured(config: dict[str, Any], transformers: Any) -> Any:
    """The configuration as an object of its own class.

    Raises:
        ValueError: this transformers has no such model.
    """
    mapping = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    given = {name: value for name, value in config.items() if name not in DROPPED and not name.startswith("_attn")}
    if given["model_type"] not in mapping:
        raise ValueError(f"this transformers does not know model_type {given['model_type']}")
    return mapping[given["model_type"]].from_dict(given)


def built(config: dict[str, Any], case: dict[str, Any], transformers: Any) -> Any:
    """The model of this configuration, on fake tensors; the caller has entered FakeTensorMode.

    Raises:
        ValueError: this transformers has no such model, or it is none that goes on with a text.
    """
    import torch

    whole = configured(config, transformers)
    kind = auto_class(whole, transformers)
    dtype = getattr(torch, case["dtype"])
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    named = "dtype" if version >= (4, 56) else "torch_dtype"
    with torch.device("cpu"), no_init():
        model = kind.from_config(whole, attn_implementation=case["attn_implementation"], **{named: dtype})
    keep_in_float32(model, dtype)
    model.tie_weights()
    return model.eval()


def auto_class(config: Any, transformers: Any) -> Any:
    """The automatic class that makes a model of this configuration which goes on with a text.

    Raises:
        ValueError: there is none.
    """
    auto = transformers.models.auto.modeling_auto
    if not getattr(config, "is_encoder_decoder", False):
        if type(config) in auto.MODEL_FOR_CAUSAL_LM_MAPPING:
            return transformers.AutoModelForCausalLM
        if type(config) in getattr(auto, "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING", ()):
            return transformers.AutoModelForImageTextToText
    raise ValueError(f"no class of {config.model_type} goes on with a prompt alone")


def no_init() -> Any:
    """The library's own way to leave weights as they are; it moved in 5.0."""
    try:
        from transformers.initialization import no_init_weights
    except ImportError:
        from transformers.modeling_utils import no_init_weights
    return no_init_weights()


def keep_in_float32(model: Any, dtype: Any) -> None:
    """Parameters that from_pretrained leaves in float32 whatever type is asked for; from_config does not."""
    import torch

    if not hasattr(model, "_get_dtype_plan"):
        return
    plan = model._get_dtype_plan(dtype)
    for name, parameter in model.named_parameters():
        if any(part in name for part in plan):
            parameter.data = parameter.data.to(torch.float32)


def weights(model: Any) -> dict[str, dict[str, int]]:
    """Bytes of parameters and buffers by group of modules and type, each storage once."""
    found: dict[str, dict[str, int]] = {}
    seen: set[int] = set()
    head = model.get_output_embeddings()
    for place, module in model.named_modules():
        own = [(name, tensor, False) for name, tensor in module.named_parameters(recurse=False)]
        own += [(name, tensor, True) for name, tensor in module.named_buffers(recurse=False)]
        for name, tensor, buffer in own:
            storage = tensor.untyped_storage()
            if storage._cdata not in seen:
                seen.add(storage._cdata)
                types = found.setdefault("buffers" if buffer else group(place, module, name, tensor, head), {})
                dtype = str(tensor.dtype).removeprefix("torch.")
                types[dtype] = types.get(dtype, 0) + storage.nbytes()
    return found


def group(place: str, module: Any, name: str, parameter: Any, head: Any) -> str:
    import torch

    if isinstance(module, torch.nn.Embedding):
        return "embedding"
    if module is head:
        return "head"
    parts = place.split(".")
    if "experts" in parts and "shared_experts" not in parts and parameter.dim() >= 2 and "bias" not in name:
        return "experts"
    linear = isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"
    return "linear" if name == "weight" and linear else "other"


def own_storages(model: Any) -> dict[int, int]:
    """Bytes of every storage of parameters and buffers, by its identity."""
    own = (tensor.untyped_storage() for tensor in [*model.parameters(), *model.buffers()])
    return {storage._cdata: storage.nbytes() for storage in own}
