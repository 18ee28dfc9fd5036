"""Loaded by inside_dry_run.py in the target interpreter: a model without memory, and what its weights take."""

from __future__ import annotations  # The target may run an older Python than this program does.

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

quantizing: Any = None
"""The program inside_quantizing.py, which inside_dry_run.py puts here: these programs have no package to import."""
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
    given = {named: dtype, "attn_implementation": case["attn_implementation"]}
    if case["experts"] is not None:
        given["experts_implementation"] = case["experts"]
    with torch.device("cpu"), no_init():
        model = kind.from_config(whole, **given)
    keep_in_float32(model, dtype)
    if case["quantization"] is not None:
        quantizing.quantize(model, case, config.get("quantization_config"), transformers)
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
    """Bytes of parameters, scales and buffers by group of modules and type, each storage once."""
    found: dict[str, dict[str, int]] = {}
    for name, tensor in named(model):
        types = found.setdefault(name, {})
        dtype = str(tensor.dtype).removeprefix("torch.")
        types[dtype] = types.get(dtype, 0) + tensor.untyped_storage().nbytes()
    return found


def named(model: Any) -> Iterator[tuple[str, Any]]:
    """Each storage once, by a tensor of it and the group of its module."""
    for _, kind, tensor in placed(model):
        yield kind, tensor


def placed(model: Any) -> Iterator[tuple[str, str, Any]]:
    """Each storage once: the path of its module, the group, and a tensor of it."""
    seen: set[int] = set()
    head = model.get_output_embeddings()
    for place, module in model.named_modules():
        own = [(group(place, module, name, one, head), one) for name, one in module.named_parameters(recurse=False)]
        own += [("scales", tensor) for tensor in quantizing.states(module)]
        own += [("buffers", tensor) for tensor in module.buffers(recurse=False)]
        for kind, tensor in own:
            if (key := tensor.untyped_storage()._cdata) not in seen:
                seen.add(key)
                yield place, kind, tensor


def by_layer(model: Any, rounded: Callable[[int], int]) -> dict[str, Any]:
    """Bytes of each layer of the largest stack, of the embedding, of the output, and of what else there is.

    An output that is tied to the embedding has none of its own. Of several stacks (a model that sees has two) the
    smaller ones count as `rest`.
    """
    stacks: dict[str, dict[int, int]] = {}
    found = {"embedding": 0, "head": 0, "rest": 0}
    for place, kind, tensor in placed(model):
        size = rounded(tensor.untyped_storage().nbytes())
        prefix, index = stack_of(place)
        if kind in ("embedding", "head"):
            found[kind] += size
        elif index is None:
            found["rest"] += size
        else:
            layers = stacks.setdefault(prefix, {})
            layers[index] = layers.get(index, 0) + size
    largest = max(stacks, key=lambda prefix: sum(stacks[prefix].values()), default="")
    found["rest"] += sum(sum(layers.values()) for prefix, layers in stacks.items() if prefix != largest)
    layers = stacks.get(largest, {})
    return {**found, "layers": [layers[index] for index in sorted(layers)]}


def stack_of(place: str) -> tuple[str, int | None]:
    """The path of the list of layers that a module stands in, and its place there; None where it is in no list."""
    parts = place.split(".")
    for at, part in enumerate(parts):
        if part.isdecimal():
            return ".".join(parts[:at]), int(part)
    return "", None


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


def own_storages(model: Any) -> dict[int, tuple[int, Any]]:
    """Bytes of every storage of the weights, and the storage, by its identity."""
    own = (tensor.untyped_storage() for _, tensor in named(model))
    return {storage._cdata: (storage.nbytes(), storage) for storage in own}
