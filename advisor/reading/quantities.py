"""Amounts of memory as messages write them, in bytes."""

import math

from advisor.patterns import when_used

AMOUNT = r"(\d{1,30}(?:[.,]\d{0,12}){0,6})(eib|pib|tib|gib|mib|kib|bytes|byte|tb|gb|mb|kb|[bgmk](?![a-z]))"
"""An amount in a squeezed text: number, unit."""

_BINARY = {"eib": 60, "pib": 50, "tib": 40, "gib": 30, "mib": 20, "kib": 10, "g": 30, "m": 20, "k": 10}
_DECIMAL = {"tb": 12, "gb": 9, "mb": 6, "kb": 3}
_TORCH = {"tb": 40, "gb": 30, "mb": 20, "kb": 10}
_THOUSANDS = when_used(r"\d{1,3}(?:,\d{3})+(?:\.\d*)?")

NO_LIMIT = 2**60
"""A cap of an exbibyte or more is the allocator's way of saying that there is none."""

# Sizes of the element types that TensorFlow, JAX and NumPy name in messages.
ELEMENT_BYTES = {
    "float": 4, "float32": 4, "f32": 4, "int32": 4, "s32": 4, "uint32": 4, "float64": 8, "f64": 8, "double": 8,
    "int64": 8, "s64": 8, "uint64": 8, "half": 2, "float16": 2, "f16": 2, "bfloat16": 2, "bf16": 2, "int16": 2,
    "uint16": 2, "int8": 1, "uint8": 1, "s8": 1, "u8": 1, "bool": 1, "pred": 1, "complex64": 8, "complex128": 16,
}  # fmt: skip


def number(text: str) -> float | None:
    """1,234.5 and 1900,00 (a decimal comma) and 902. as numbers; None for anything else."""
    text = text.strip(".,") if text.endswith(".") else text.rstrip(",")
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def in_bytes(value: str, unit: str, torch_units: bool = False) -> int | None:
    """An amount in bytes. Some allocators of PyTorch write GB for 2^30 bytes (`torch_units`); others mean 10^9."""
    amount = number(value)
    if amount is None:
        return None
    if unit in _BINARY:
        return int(amount * 2.0 ** _BINARY[unit] + 0.5)
    if torch_units and unit in _TORCH:
        return int(amount * 2.0 ** _TORCH[unit] + 0.5)
    return int(amount * 10.0 ** _DECIMAL.get(unit, 0) + 0.5)


def shape_bytes(shape: str, element: str) -> int | None:
    """The size of a tensor of a shape written as `4096,128` (empty: a scalar) and an element type."""
    size = ELEMENT_BYTES.get(element)
    lengths = [int(part) for part in shape.split(",") if part.isdigit()]
    return None if size is None else size * math.prod(lengths)
