"""Which layers go where when a device_map spreads a model: accelerate's way of placing, by bytes.

A port of `get_balanced_memory` and `infer_auto_device_map` (transformers 5.22, integrations/accelerate.py) to what is
known of a model without building it: its parts in their order, all layers of one size. The first device and RAM keep
room for the largest part that may have to come back, and weights alone are counted, not caches or activations. GPT-2's
mask buffers, a mebibyte in each layer, are not known here and may move its border by one layer.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import inf
from typing import Any

from advisor.estimate.room import CONTEXT_BYTES, PLACED_SHARE, QUANTIZED_SHARE, SPREADING, device, named_limits
from advisor.estimate.spread import free_sizes
from advisor.estimate.weights import BYTES, dtype, weights_bytes
from advisor.facts import Facts
from advisor.setup import Setup

BUFFER = 1.25
"""Of the largest part, which an evenly filled device gets beside its share (get_balanced_memory)."""
RAM, DISK = "cpu", "disk"
LAYER = "body.layers."


@dataclass(frozen=True)
class Part:
    """A module by its place in the model, the bytes of its weights, and what it can be split into."""

    name: str
    size: int
    parts: tuple["Part", ...] = ()

    def whole(self) -> tuple["Part", ...]:
        """What is never split."""
        return tuple(leaf for part in self.parts for leaf in part.whole()) if self.parts else (self,)


@dataclass(frozen=True)
class Share:
    """What one device holds: layers from `first_layer` to `last_layer`, both None where it holds none.

    `largest_bytes` is the largest of its parts that are never split.
    """

    device: str
    first_layer: int | None
    last_layer: int | None
    embedding: bool
    head: bool
    weights_bytes: int
    largest_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def split(model: Facts, machine: Facts, setup: Setup) -> tuple[Share, ...] | None:
    """What each device holds, in the order of filling; None where nothing is spread or layers are not known."""
    if setup.device_map not in SPREADING or device(machine, setup) == "cpu":
        return None
    parts, limits = _parts(model, machine, setup), _limits(machine, setup)
    if parts is None or limits is None:
        return None
    if setup.device_map != "sequential":
        limits = balanced(parts, limits)
    if _quantized(setup):
        limits = {name: limit * QUANTIZED_SHARE for name, limit in limits.items()}
    return _shares(parts, tuple(limits.items()), model.is_true("model.tied_embeddings"))


@lru_cache(maxsize=64)
def _shares(parts: tuple[Part, ...], limits: tuple[tuple[str, float], ...], tied: bool) -> tuple[Share, ...]:
    """What each device holds. The planner asks for the same split again and again."""
    where = placed(parts, dict(limits))
    devices = [name for name, _ in limits]
    shares = [_share(name, parts, where, tied) for name in (*devices, *(() if DISK in devices else (DISK,)))]
    return tuple(share for share in shares if share.weights_bytes or share.device != DISK)


def _quantized(setup: Setup) -> bool:
    return setup.quantization not in (None, "none")


def _parts(model: Facts, machine: Facts, setup: Setup) -> tuple[Part, ...] | None:
    """Body (embedding, layers, last norm) and head. None where the layers of a model differ in size."""
    total, itemsize = weights_bytes(model, machine, setup, "cuda"), BYTES.get(dtype(model, machine, setup) or "")
    layers, hidden = model.count("model.layers"), model.count("model.hidden_size")
    embedding, head = model.count("model.parameters_embedding"), model.count("model.parameters_head")
    if total is None or itemsize is None or not layers or hidden is None or embedding is None or head is None:
        return None
    if not _alike(model, layers):
        return None
    inside = (total - (embedding + head + hidden) * itemsize) // layers
    names = tuple(Part(f"{LAYER}{index}", inside) for index in range(layers))
    body = (
        Part("body.embedding", embedding * itemsize),
        Part("body.layers", layers * inside, names),
        Part("body.norm", hidden * itemsize),
    )
    top = (Part("body", sum(part.size for part in body), body),)
    return (*top, Part("head", head * itemsize)) if head else top


def _alike(model: Facts, layers: int) -> bool:
    """Whether all layers have as many parameters: no towers, no linear layers between others, no dense ones first."""
    if model.count("model.parameters_rest") or model.count("model.linear_layers"):
        return False
    experts, width = model.count("model.experts"), model.count("model.expert_width")
    routed, hidden = model.count("model.parameters_experts"), model.count("model.hidden_size")
    if not experts or not width or not routed or not hidden:
        return not experts
    return routed // (experts * width * hidden) >= 3 * layers


def _limits(machine: Facts, setup: Setup) -> dict[str, float] | None:
    """Bytes that each device offers to weights, devices in their order, then RAM."""
    named = named_limits(setup)
    if named:
        order = sorted((name for name in named if name.isdigit()), key=int) + [RAM] * (RAM in named)
        return {name: named[name] for name in order}
    free = free_sizes(machine)
    if free is None and (alone := machine.count("gpu.memory_free_bytes")) is not None:
        free = (alone,) if (machine.count("gpu.count") or 1) == 1 else None
    ram = machine.count("host.ram_available_bytes")
    if free is None or ram is None:
        return None
    # accelerate asks for what is free after it has started every device.
    share = PLACED_SHARE if len(free) == 1 and setup.device_map != "sequential" else 1.0
    return {str(index): share * (size - CONTEXT_BYTES) for index, size in enumerate(free)} | {RAM: PLACED_SHARE * ram}


def balanced(parts: Sequence[Part], limits: dict[str, float]) -> dict[str, float]:
    """An even share and a buffer for each device but the last one, which keeps all it has."""
    devices = [name for name, limit in limits.items() if name != RAM and limit > 0]
    if not devices:
        return limits
    largest = max(leaf.size for part in parts for leaf in part.whole())
    even = sum(part.size for part in parts) // len(devices) + int(BUFFER * largest)
    return {name: min(even, limit) if name in devices[:-1] else limit for name, limit in limits.items()}


def placed(parts: Sequence[Part], limits: dict[str, float]) -> dict[str, str]:
    """The device of each part that is never split, by name."""
    devices, current, used = [*limits, DISK], 0, 0.0
    main = {devices[0], RAM}
    todo, where = list(parts), dict[str, str]()
    most, names = _largest(todo)
    while todo:
        part = todo.pop(0)
        names = [name for name in names if not f"{name}.".startswith(f"{part.name}.")]
        if not names:
            most, names = _largest(todo)
        name = devices[current]
        free = limits.get(name, inf) - (most if name in main else 0) - used
        if part.size <= free:
            used += part.size
            where.update({leaf.name: name for leaf in part.whole()})
        elif part.parts:
            todo = [*part.parts, *todo]
            most, names = _largest(todo)
        else:
            todo.insert(0, part)
            current, used = current + 1, 0.0
    return where


def _largest(parts: Sequence[Part]) -> tuple[int, list[str]]:
    """The size of the largest part that is never split, and the names of all of that size."""
    leaves = [leaf for part in parts for leaf in part.whole()]
    most = max((leaf.size for leaf in leaves), default=0)
    return most, [leaf.name for leaf in leaves if leaf.size == most]


def _share(name: str, parts: Sequence[Part], where: dict[str, str], tied: bool) -> Share:
    own = [leaf for part in parts for leaf in part.whole() if where[leaf.name] == name]
    layers = [int(leaf.name.removeprefix(LAYER)) for leaf in own if leaf.name.startswith(LAYER)]
    embedding = where["body.embedding"] == name
    return Share(
        device=name,
        first_layer=min(layers, default=None),
        last_layer=max(layers, default=None),
        embedding=embedding,
        head=embedding if tied or "head" not in where else where["head"] == name,
        weights_bytes=sum(leaf.size for leaf in own),
        largest_bytes=max((leaf.size for leaf in own), default=0),
    )
