"""Popular architectures as data, one JSON file each, for gated models and work without a network.

A shape holds the published configuration's essential fields and what the library makes of them: it needs neither
torch nor the Hub, and has no weights. `bench/make_shapes.py` makes the files.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from advisor.errors import nearest
from advisor.probe.anatomy import Anatomy

_FOLDER = files("advisor") / "shapes"


@dataclass(frozen=True)
class Shape:
    """One shipped architecture. `published_parameters` is the publisher's own figure, in billions as printed."""

    name: str
    hub_id: str
    config: Mapping[str, Any]
    anatomy: Anatomy
    checkpoint_dtype: str
    published_parameters: str


def names() -> list[str]:
    """The names of all shipped shapes, sorted."""
    return sorted(entry.name.removesuffix(".json") for entry in _FOLDER.iterdir() if entry.name.endswith(".json"))


def load(name: str) -> Shape:
    """The shape called `name`.

    Raises:
        KeyError: there is no such shape.
    """
    if name not in names():
        raise KeyError(name)
    data = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    anatomy = Anatomy(
        architecture=data["architecture"],
        text=data["resolved"],
        cache_layers=tuple(kind for kind, layers in data["cache_layers"].items() for _ in range(layers)),
        groups=data["groups"],
        supports=data["supports"],
        dtype=data["config_dtype"],
        auto_compile=tuple(data["auto_compile"]),
        source=f"shape {name} ({data['made_with']})",
    )
    return Shape(name, data["hub_id"], data["config"], anatomy, data["checkpoint_dtype"], data["published_parameters"])


def closest(text: str) -> str | None:
    """The shape that a person who typed `text` most likely means: the same Hub id first, then a like name."""
    known = names()
    wanted = text.rstrip("/").rsplit("/", 1)[-1].lower()
    for name in known:
        if load(name).hub_id.lower() == text.lower():
            return name
    return _longest_prefix(wanted, known) or _shortest_completion(wanted, known) or nearest(wanted, tuple(known))


def _longest_prefix(wanted: str, known: Iterable[str]) -> str | None:
    """`llama-3.1-8b` for `meta-llama-3.1-8b-instruct`: the longest name that stands in the wanted one."""
    inside = [name for name in known if name in wanted]
    return max(inside, key=len) if inside else None


def _shortest_completion(wanted: str, known: Iterable[str]) -> str | None:
    """`llama-3.1-8b` for `llama3`: the shortest name that goes on from the wanted letters and digits."""
    start = "".join(filter(str.isalnum, wanted))
    longer = [name for name in known if start and "".join(filter(str.isalnum, name)).startswith(start)]
    return min(longer, key=lambda name: (len(name), name)) if longer else None
