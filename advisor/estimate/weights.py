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
    "torchao_int8": 8.0,
    "torchao_int4": 4 + 2 * 16 / 128,
    "quanto_int8": 8.0,
    "quanto_int4": 4.0,
    "fp8": 8 + 32 / (128 * 128),
}
"""Bits per weight. bitsandbytes: fp32 scale for each block of 64; with double quantization 8-bit scales and an fp32 one
for each 256 of them (its functional.py). torchao's int4: 16-bit scale and zero point for each 128 (not run here). fp8:
fp32 scale for each 128 x 128 block. Scales of the other schemes depend on rows or on the weights' type: see
`_scale_bytes`."""
SCALE_BYTES = 4
"""An fp32 scale."""
QUANTO_GROUP = 128
"""Weights that share a scale and a shift in quanto's int4."""
CONV1D = ("gpt2",)
"""Types whose layers are Conv1D, which bitsandbytes replaces and the other quantizers leave as they are."""
INT4_COLUMNS = 1024
"""torch's int4 kernel pads the columns of a matrix to a multiple of this (Int4TilePackedTo4dTensor)."""
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
    return _quantized_on_load(model, machine, wanted, total, itemsize, device)


def _quantized_on_load(model: Facts, machine: Facts, wanted: str, total: int, itemsize: int, device: str) -> int | None:
    """Linear layers shrink; embeddings, output projection, norms and, except for fp8, stacked experts stay."""
    if wanted == "fp8" and (kept := is_kept("fp8", machine, device)) is not True:
        return None if kept is None else total * WRITTEN_OUT_BYTES
    reached = _reached(model, machine, wanted)
    hidden = model.count("model.hidden_size")
    if reached is None or hidden is None or wanted not in BITS:
        return None
    padding = _int4_padding(model, hidden) if wanted == "torchao_int4" else 1.0
    small = round(reached * padding * BITS[wanted] / 8) + _scale_bytes(wanted, reached, hidden, itemsize)
    return small + (total - reached) * itemsize


def _scale_bytes(wanted: str, reached: int, hidden: int, itemsize: int) -> int:
    """Scales that go by row, or by group in the weights' type; rows are counted as if all were `hidden` long.

    LLM.int8 keeps an fp32 scale for each row. Read off the tensors of a small model (torchao 0.18, quanto 0.2.7):
    torchao's int8 keeps an fp32 scale and an 8-bit zero point for each row, quanto's int8 a scale in the weights'
    type, quanto's int4 a scale and a shift of that type for each 128 weights.
    """
    rows = reached // hidden
    match wanted:
        case "bnb_int8":
            return SCALE_BYTES * rows
        case "torchao_int8":
            return (SCALE_BYTES + 1) * rows
        case "quanto_int8":
            return itemsize * rows
        case "quanto_int4":
            return 2 * itemsize * (reached // QUANTO_GROUP)
    return 0


def _int4_padding(model: Facts, hidden: int) -> float:
    """How much larger matrices become by padding: down projections by the MLP's width, the others by the hidden one."""
    inner, layers, linear = (
        model.count(f"model.{name}") for name in ("intermediate_size", "layers", "parameters_linear")
    )
    wide = _padded(hidden)
    if not inner or not layers or not linear:
        return wide
    down = min(1.0, layers * hidden * inner / linear)
    return down * _padded(inner) + (1 - down) * wide


def _padded(columns: int) -> float:
    return -(-columns // INT4_COLUMNS) * INT4_COLUMNS / columns


def _reached(model: Facts, machine: Facts, wanted: str) -> int | None:
    """Weights that a scheme replaces: linear layers, for fp8 the experts in one tensor too."""
    if wanted.startswith("bnb"):
        return reached_by_quantization(model, machine)
    if model.text("model.type") in CONV1D:
        return 0
    linear = model.count("model.parameters_linear")
    return linear if wanted == "fp8" else _without_stacked_experts(model, machine, linear)


def _without_stacked_experts(model: Facts, machine: Facts, linear: int | None) -> int | None:
    version = _version(machine, "transformers.version")
    stacked = version is None or version >= CHECKPOINT_DTYPE_SINCE or model.text("model.type") in STACKED_BEFORE_5
    experts = model.count("model.parameters_experts") if model.count("model.experts") else 0
    if linear is None or (stacked and experts is None):
        return None
    return linear - (experts or 0) if stacked else linear


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
    # Unpacked for good by the first forward pass (ModelCompressor.add_decompress_hook).
    return method != "compressed-tensors"


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
