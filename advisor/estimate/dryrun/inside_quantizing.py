"""Loaded by inside_dry_run.py in the target interpreter: weights of a model without memory, laid out as quantized.

The library's own quantizer decides which modules are replaced; what it puts there is filled with fake tensors by the
functions of the package that quantizes, so that the sizes are the package's own.
"""

from __future__ import annotations  # The target may run an older Python than this program does.

from collections.abc import Sequence
from typing import Any

STORED = "checkpoint"
"""The scheme of weights that are quantized in the checkpoint already."""


def configuration(case: dict[str, Any], stored: Any, transformers: Any) -> Any:
    """The `quantization_config` that a user would write for this case, or the one `stored` with the checkpoint.

    Raises:
        ValueError: nobody has written down what this scheme stores.
    """
    import torch

    scheme = case["quantization"]
    if scheme == STORED and isinstance(stored, dict) and is_of_bitsandbytes(stored):
        return transformers.BitsAndBytesConfig.from_dict(dict(stored))
    if scheme == "bnb_int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    if scheme in ("bnb_nf4", "bnb_nf4_double", "bnb_fp4"):
        return transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=scheme.split("_")[1],
            bnb_4bit_compute_dtype=getattr(torch, case["dtype"]),
            bnb_4bit_use_double_quant=scheme.endswith("double"),
        )
    raise ValueError(f"the dry run does not know {scheme}")


def is_of_bitsandbytes(stored: dict[str, Any]) -> bool:
    """Older checkpoints name no method."""
    named = stored.get("quant_method", "bitsandbytes")
    return named == "bitsandbytes" and bool(stored.get("load_in_4bit") or stored.get("load_in_8bit"))


def quantize(model: Any, case: dict[str, Any], stored: Any, transformers: Any) -> None:
    """Replace the modules that the library would, and fill them; the caller has entered FakeTensorMode.

    Raises:
        ValueError: the installed library is none that this was written for.
    """
    import torch
    from torch._subclasses.fake_tensor import unset_fake_temporarily
    from transformers.quantizers.auto import AutoHfQuantizer

    dtype = getattr(torch, case["dtype"])
    quantizer = AutoHfQuantizer.from_config(configuration(case, stored, transformers), pre_quantized=False)
    with unset_fake_temporarily():  # parameters of a class of their own cannot be made of fake tensors
        quantizer.preprocess_model(model=model, device_map={"": case["device"]}, dtype=dtype)
        if getattr(quantizer.quantization_config, "bnb_4bit_use_double_quant", False):
            know_the_scales()
    for place, module in list(model.named_modules()):
        fill = FILLED.get(type(module).__name__)
        if fill is not None:
            fill(module, dtype, case["device"])
        left = [name for name, one in module.named_parameters(recurse=False) if one.device.type == "meta"]
        if left and left != ["bias"]:
            raise ValueError(f"{type(module).__name__} at {place} is not known")
        for name in left:
            module._parameters[name] = empty(module.bias.shape, dtype)
        if case["quantization"] == STORED and (state := getattr(module, "quant_state", None)) and state.nested:
            state.state2.code = torch.empty(256, dtype=torch.float32)  # each layer reads its own from the file


def check(packages: Sequence[str]) -> None:
    """See that these are installed, each a name and a version.

    Raises:
        ValueError: another version is installed than the question was about.
    """
    from importlib import metadata

    for package in packages:
        name, _, version = package.partition(" ")
        if metadata.version(name) != version:
            raise ValueError(f"{package} is no longer installed")


def empty(shape: Any, dtype: Any) -> Any:
    import torch

    return torch.nn.Parameter(torch.empty(shape, dtype=dtype), requires_grad=False)


def know_the_scales() -> None:
    """Make the 256 values that bitsandbytes quantizes scales to, once for all; they are computed from one another."""
    from bitsandbytes import functional

    if "dynamic" not in functional.name2qmap:
        functional.name2qmap["dynamic"] = functional.create_dynamic_map()


def four_bits(module: Any, dtype: Any, device: str) -> None:
    import torch
    from bitsandbytes.functional import quantize_4bit

    wanted = module.weight
    packed, state = quantize_4bit(
        torch.empty(wanted.shape, dtype=dtype),
        blocksize=wanted.blocksize,
        compress_statistics=wanted.compress_statistics,
        quant_type=wanted.quant_type,
        quant_storage=wanted.quant_storage,
    )
    weight = torch.nn.Parameter(packed, requires_grad=False)
    weight.quant_state = module.quant_state = state
    module._parameters["weight"] = weight
    if device != "cpu":
        module.support_avx512bf16_for_cpu = False  # packs the weights anew on a CPU


def eight_bits(module: Any, _: Any, __: str) -> None:
    import torch
    from bitsandbytes.functional import int8_vectorwise_quant

    small, scales, _none = int8_vectorwise_quant(torch.empty(module.weight.shape, dtype=torch.float16))
    weight = torch.nn.Parameter(small, requires_grad=False)
    weight.CB, weight.SCB, weight.has_fp16_weights = small, scales, False
    module._parameters["weight"] = weight


FILLED = {"Linear4bit": four_bits, "Linear8bitLt": eight_bits}


def states(module: Any) -> list[Any]:
    """Tensors that a quantized module keeps beside its parameters: scales, and what these are scaled by."""
    import torch

    found: list[Any] = []
    waiting = [getattr(module, name, None) for name in ("quant_state", "state")]
    weight = module._parameters.get("weight")
    waiting += [getattr(weight, name, None) for name in ("CB", "SCB", "quant_state")]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, torch.Tensor):
            found.append(one)
        elif type(one).__module__.startswith("bitsandbytes") and id(one) not in seen:
            seen.add(id(one))
            waiting += vars(one).values()
    return found
