"""The weight files of a model, read from their headers: names, types and shapes of tensors, never the numbers.

A safetensors file begins with 8 bytes that give the length of a JSON header, little-endian. The header is checked
against the file before anything is believed. Pickle files (`.bin`) are never opened: only their size is taken.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.errors import Mistake, ModelError

LARGEST_HEADER_BYTES = 100_000_000
"""The safetensors library itself refuses longer headers."""
LARGEST_JSON_BYTES = 100_000_000
LARGEST_CONFIG_BYTES = 10_000_000
_TYPES_BY_BYTES = {
    1: ("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"),
    2: ("U16", "I16", "F16", "BF16"),
    4: ("U32", "I32", "F32"),
    8: ("U64", "I64", "F64", "C64"),
}
BYTES = {name: size for size, names in _TYPES_BY_BYTES.items() for name in names}
FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
EIGHT_BIT_FLOATS = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
DAMAGED = "download the file again"


@dataclass(frozen=True)
class Tensor:
    """One stored tensor: its type as the header names it, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of stored values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Files:
    """The weight files of one model. `tensors` is None where no header can be read without running code."""

    tensors: Mapping[str, Tensor] | None
    size_bytes: int
    format: str


def in_folder(folder: Path) -> Files | None:
    """The weight files in a local folder; None when there are none.

    Raises:
        ModelError: the index names files that are missing, or a header cannot be believed; every such file is named.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return _safetensors([folder / name for name in shards(read_json(index), str(index))])
    single = folder / "model.safetensors"
    found = [single] if single.is_file() else sorted(folder.glob("*.safetensors"))
    if found:
        return _safetensors(found)
    pickles = sorted(folder.glob("pytorch_model*.bin"))
    return Files(None, sum(path.stat().st_size for path in pickles), "pickle") if pickles else None


def _safetensors(paths: Iterable[Path]) -> Files:
    tensors: dict[str, Tensor] = {}
    mistakes: list[Mistake] = []
    size = 0
    for path in paths:
        try:
            tensors |= read_header(path)
            size += path.stat().st_size
        except ModelError as error:
            mistakes.extend(error.mistakes)
    if mistakes:
        raise ModelError(*mistakes)
    return Files(tensors, size, "safetensors")


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file by name.

    Raises:
        ModelError: the file is missing, cut short, or its header does not describe it.
    """
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(total - 8, LARGEST_HEADER_BYTES):
                raise _damaged(path, f"the header should be {length} bytes long, the file has {total}")
            raw = file.read(length)
    except OSError as error:
        raise ModelError(Mistake(str(path), error.strerror or "cannot be read", DAMAGED)) from None
    return _tensors(raw, total - 8 - length, path)


def _tensors(raw: bytes, data_bytes: int, path: Path) -> dict[str, Tensor]:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        raise _damaged(path, "the header is not JSON") from None
    if not isinstance(header, dict):
        raise _damaged(path, "the header is no object")
    tensors: dict[str, Tensor] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        tensor, end = _tensor(entry)
        if tensor is None:
            raise _damaged(path, f"the entry of {name[:100]!r} is malformed")
        if end > data_bytes:
            raise _damaged(path, f"{name[:100]!r} ends {end - data_bytes} bytes behind the end of the file")
        tensors[name] = tensor
    return tensors


def _tensor(entry: Any) -> tuple[Tensor | None, int]:
    """The tensor and where its data end; None when the entry does not hold together."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if all(
            type(side) is int and 0 <= side < 2**48 for side in shape
        ):
            tensor = Tensor(dtype, tuple(shape))
            right = dtype not in BYTES or end - begin == tensor.size * BYTES[dtype]
            return (tensor, end) if right and 0 <= begin <= end else (None, 0)
    return None, 0


def _damaged(path: Path, what: str) -> ModelError:
    return ModelError(Mistake(str(path), f"damaged safetensors file: {what}", DAMAGED))


def read_json(path: Path, largest_bytes: int = LARGEST_JSON_BYTES) -> Any:
    """The JSON in `path`.

    Raises:
        ModelError: it cannot be read, is too long for what it should be, or is no JSON.
    """
    try:
        if path.stat().st_size > largest_bytes:
            raise ModelError(Mistake(str(path), f"longer than {largest_bytes} bytes, which no such file is"))
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(Mistake(str(path), error.strerror or "cannot be read")) from None
    except (ValueError, RecursionError) as error:
        raise ModelError(Mistake(str(path), f"not JSON: {str(error)[:200]}", DAMAGED)) from None


def shards(index: Any, where: str) -> list[str]:
    """The file names in a `model.safetensors.index.json`.

    Raises:
        ModelError: there is no map of weights, or a name that leaves the folder.
    """
    table = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise ModelError(Mistake(where, "has no weight_map from tensors to files", DAMAGED))
    found = sorted(set(table.values()))
    if strange := [name for name in found if not re.fullmatch(r"[\w][\w.-]*\.safetensors", name, re.ASCII)]:
        raise ModelError(Mistake(f"{where}: weight_map", f"{strange[0][:100]!r} is no file name beside the index"))
    return found


def dtype(tensors: Mapping[str, Tensor]) -> str | None:
    """The floating-point type that holds most of the values; 8-bit floats only where there is no other."""
    for kinds in (FLOATS, EIGHT_BIT_FLOATS):
        held = {kind: sum(t.size for t in tensors.values() if t.dtype == kind) for kind in kinds}
        largest = max(held, key=lambda kind: held[kind])
        if held[largest]:
            return kinds[largest]
    return None


def quantization(tensors: Mapping[str, Tensor]) -> str | None:
    """The quantization that the tensors' names show; None where they show none."""
    signs = {
        "bitsandbytes": (".SCB", ".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4"),
        "gptq": (".g_idx",),
        "awq": (".qweight",),
        "mxfp4": ("_blocks",),
        "fp8": (".weight_scale_inv",),
        "compressed-tensors": (".weight_packed",),
    }
    for method, endings in signs.items():
        if any(name.endswith(endings) for name in tensors):
            return method
    return None
