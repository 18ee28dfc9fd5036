"""Bytes of the weights once they are loaded, by group of parameters and type."""

from packaging.version import Version

from advisor.facts import Facts, Known
from advisor.setup import Setup

BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
BITS = {
    "bnb_int8": 8.0,
    "bnb_nf4": 4 + 32 / 64,
    "bnb_fp4": 4 + 32 / 64,
    "bnb_nf4_double": 4 + 8 / 64 + 32 / (64 * 256),
}
"""Bits per weight: fp32 scale for each block of 64; with double quantization 8-bit scales and an fp32 one for each 256
of them (bitsandbytes functional.py)."""
SCALE_BYTES = 4
"""LLM.int8 keeps an fp32 scale for each output row."""
FILE_BITS = {"mxfp4": 4 + 8 / 32, "fp8": 8 + 32 / (128 * 128)}
"""Bits per weight of checkpoints of a fixed format: 8-bit scale per 32 values; fp32 scale per 128 x 128 block."""
WRITTEN_OUT_BYTES = 2
"""A checkpoint that the device cannot use as it is becomes bfloat16 on load."""
STACKED_BEFORE_5 = ("gpt_oss", "llama4", "llama4_text", "dbrx")
"""Types that held all experts in one tensor before transformers 5 did so for every type."""
CHECKPOINT_DTYPE_SINCE = Version("5.0")
FP8_CAPABILITY = 8.9
MXFP4_CAPABILITY = 7.5
MXFP4_TRITON = {"cuda": Version("3.4.0"), "xpu": Version("3.5.0"), "cpu": Version("3.5.0")}
"""What the quantizers of transformers ask for before they keep these formats (quantizer_mxfp4.py,
quantizer_finegrained_fp8.py); otherwise they write the weights out, with a warning."""


def dtype(model: Facts, machine: Facts, setup: Setup) -> str | None:
    """The type of weights and cache: as set, else the library's default; None where that is not known."""
    if setup.dtype is not None:
        return setup.dtype
    version = _version(machine, "transformers.version")
    if version is not None and version < CHECKPOINT_DTYPE_SINCE:
        return "float32"
    return model.text("model.config_dtype") or model.text("model.checkpoint_dtype")


def weights_bytes(model: Facts, machine: Facts, setup: Setup, device: str) -> int | None:
    """Bytes of all weights on `device`; None where a size or a format is not known."""
    total = model.count("model.parameters")
    itemsize = BYTES.get(dtype(model, machine, setup) or "")
    method = model.text("model.checkpoint_quantization")
    wanted = setup.quantization or "none"
    if total is None or method is None:
        return None
    if method != "none":
        return _stored(model, machine, method, total, device) if wanted == "none" else None
    if itemsize is None:
        return None
    if wanted == "none":
        return total * itemsize
    return _quantized_on_load(model, machine, wanted, total, itemsize)


def _quantized_on_load(model: Facts, machine: Facts, wanted: str, total: int, itemsize: int) -> int | None:
    """bitsandbytes: linear layers shrink; embeddings, output projection, norms and stacked experts stay."""
    reached = reached_by_quantization(model, machine)
    hidden = model.count("model.hidden_size")
    if reached is None or hidden is None or wanted not in BITS:
        return None
    scales = SCALE_BYTES * reached // hidden if wanted == "bnb_int8" else 0
    return round(reached * BITS[wanted] / 8) + scales + (total - reached) * itemsize


def reached_by_quantization(model: Facts, machine: Facts) -> int | None:
    """Weights that bitsandbytes replaces on load.

    A shipped shape was counted with transformers 5, which holds a layer's experts in one tensor that stays as it is;
    before, experts were linear layers like others.
    """
    fact = model.get("model.parameters_quantizable")
    version = _version(machine, "transformers.version")
    shape = isinstance(fact, Known) and fact.source.startswith("shape")
    if version is None or version >= CHECKPOINT_DTYPE_SINCE or not shape:
        return model.count("model.parameters_quantizable")
    linear, experts = model.count("model.parameters_linear"), model.count("model.parameters_experts")
    if linear is None or experts is None:
        return None
    return linear - experts if model.text("model.type") in STACKED_BEFORE_5 else linear


def _stored(model: Facts, machine: Facts, method: str, total: int, device: str) -> int | None:
    """A checkpoint that is quantized already: as it is on disk, unless the device makes the library write it out."""
    kept = is_kept(method, machine, device)
    if kept is None:
        return None
    if not kept:
        return total * WRITTEN_OUT_BYTES
    on_disk = model.count("model.checkpoint_bytes")
    if on_disk is not None:
        return on_disk
    small = model.count("model.parameters_experts" if method == "mxfp4" else "model.parameters_linear")
    if small is None or method not in FILE_BITS:
        return None
    return round(small * FILE_BITS[method] / 8) + (total - small) * WRITTEN_OUT_BYTES


def is_kept(method: str, machine: Facts, device: str) -> bool | None:
    """Whether a quantized checkpoint stays quantized on `device`; None where that is not known."""
    capability = machine.number("gpu.capability") if device == "cuda" else None
    if method == "fp8":
        if device != "cuda":
            return device == "xpu"
        return None if capability is None else capability >= FP8_CAPABILITY
    if method == "mxfp4":
        return _keeps_mxfp4(machine, device, capability)
    return True


def _keeps_mxfp4(machine: Facts, device: str, capability: float | None) -> bool | None:
    needed, triton = MXFP4_TRITON.get(device), _version(machine, "triton.version")
    if needed is None or (capability is not None and capability < MXFP4_CAPABILITY):
        return False
    if machine.value("triton.installed") is False or machine.value("kernels.accepted") is False:
        return False
    if triton is None or machine.value("kernels.accepted") is None or (device == "cuda" and capability is None):
        return None
    return triton >= needed


def _version(machine: Facts, name: str) -> Version | None:
    text = machine.text(name)
    return None if text is None else Version(text)
