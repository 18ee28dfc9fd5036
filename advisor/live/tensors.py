"""The largest tensors that the collector of garbage knows, each piece of memory once, alike ones together."""

import gc
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

SHOWN = 8


_NUMBERS = re.compile(r"\[\d+\]|(?<=\.)\d+(?=\.|\[| |$)")


@dataclass(frozen=True)
class TensorNow:
    """One tensor, or `count` of one shape that differ in an index of their names alone (the layers of a model, what a
    list collected): the bytes of their storages, and how a variable reaches them, if one does."""

    bytes: int
    shape: tuple[int, ...]
    dtype: str
    device: str
    owner: str | None
    count: int = 1


@dataclass(frozen=True)
class Tensors:
    """The largest tensors, and how many there are with how many bytes, by device.

    What autograd keeps for the backward pass has no Python object, so it is not among them.
    """

    largest: tuple[TensorNow, ...]
    count: Mapping[str, int]
    bytes: Mapping[str, int]


def tensors(names: Mapping[int, str], most: int = SHOWN) -> Tensors:
    """What is alive now. No reference to a tensor outlives the call."""
    kind = getattr(sys.modules.get("torch"), "Tensor", None)
    if kind is None:
        return Tensors((), {}, {})
    is_tensor: dict[type, bool] = {}
    found: dict[tuple[str, int], TensorNow] = {}
    for thing in gc.get_objects():
        its = type(thing)
        if its not in is_tensor:
            is_tensor[its] = kind in its.__mro__
        if is_tensor[its]:
            _take(found, thing, names.get(id(thing)))
    count: dict[str, int] = {}
    total: dict[str, int] = {}
    for tensor in found.values():
        count[tensor.device] = count.get(tensor.device, 0) + 1
        total[tensor.device] = total.get(tensor.device, 0) + tensor.bytes
    largest = sorted(_together(found.values()), key=lambda tensor: -tensor.bytes)[:most]
    return Tensors(tuple(largest), count, total)


def _together(found: Iterable[TensorNow]) -> Iterator[TensorNow]:
    alike: defaultdict[tuple[object, ...], list[TensorNow]] = defaultdict(list)
    for tensor in found:
        alike[_numbered(tensor.owner), tensor.shape, tensor.dtype, tensor.device].append(tensor)
    for group in alike.values():
        first = group[0]
        if len(group) == 1:
            yield first
        else:
            total = sum(tensor.bytes for tensor in group)
            yield replace(first, bytes=total, owner=_numbered(first.owner), count=len(group))


def _numbered(owner: str | None) -> str | None:
    """The name with stars for its numbers."""
    return None if owner is None else _NUMBERS.sub(lambda found: "[*]" if found[0].startswith("[") else "*", owner)


def _take(found: dict[tuple[str, int], TensorNow], thing: Any, owner: str | None) -> None:
    """Note a tensor under its storage; of several views of one, the one that has a name."""
    try:
        with _plain():
            device = str(thing.device)
            if device == "meta":
                return
            storage = thing.untyped_storage()
            key, size = (device, storage.data_ptr()), int(storage.nbytes())
            now = TensorNow(size, tuple(thing.shape), str(thing.dtype).removeprefix("torch."), device, owner)
    except Exception:
        # Tensors that are views of another library, half deleted or only described have no storage to speak of.
        return
    if size and (key not in found or (found[key].owner is None and owner is not None)):
        found[key] = now


def _plain() -> Any:
    """Subclasses of Tensor may answer questions with code of their own; inside this they do not."""
    return sys.modules["torch"]._C.DisableTorchFunctionSubclass()
