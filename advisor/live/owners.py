"""Names for tensors: by which variables of the failing frames they can be reached, and which models are among those.

Only `__dict__`s, lists, tuples and mappings are walked, and no attribute is asked for, so that no code of the program
runs. Ids and texts are kept, never the objects.
"""

import contextlib
import inspect
import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FrameType, FunctionType, ModuleType, TracebackType
from typing import Any

MOST_STEPS = 200_000
DEEPEST = 24
LONGEST_LIST = 4_000
_INSIDE_MODULES = ("_parameters", "_buffers", "_modules")
_NEVER = (str, bytes, int, float, complex, bool, type, ModuleType, FunctionType, CodeType, FrameType, TracebackType)


@dataclass(frozen=True)
class ModelNow:
    """A model in reach: its variable, class, the type of its first weight, and modules by device of its map."""

    name: str
    kind: str
    dtype: str | None
    device_map: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Owners:
    """Names by the ids of tensors, and the models that were met."""

    names: Mapping[int, str]
    models: tuple[ModelNow, ...]


def owners(error: BaseException) -> Owners:
    """The names that the frames of an error, and the program's top level, give to tensors; the innermost counts."""
    walk = _Walk(sys.modules.get("torch"))
    walk.run(itertools.chain(_of_frames(error), _of_program()))
    return Owners(walk.names, walk.models)


def _of_frames(error: BaseException) -> Iterator[tuple[str, Any]]:
    frames: list[FrameType] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        trace = cause.__traceback__
        while trace is not None:
            frames.append(trace.tb_frame)
            trace = trace.tb_next
        cause = cause.__cause__ or cause.__context__
    for frame in reversed(frames):
        where = "" if frame.f_code.co_name == "<module>" else f" in {frame.f_code.co_name}"
        for name, value in _variables(frame):
            if not name.startswith("__"):
                yield f"{name}\0{where}", value


def _variables(frame: FrameType) -> list[tuple[str, Any]]:
    """A frame's variables. Up to Python 3.12 the frame keeps the mapping that it answers with, and so all that is in
    it, even what the program deletes later; the mapping is emptied again where nobody else holds it."""
    mapping = frame.f_locals
    found = list(mapping.items())
    own = frame.f_code.co_flags & inspect.CO_OPTIMIZED and type(mapping) is dict
    # The frame, our variable and the argument.
    if own and sys.getrefcount(mapping) <= 3:
        mapping.clear()
    return found


def _of_program() -> Iterator[tuple[str, Any]]:
    main = sys.modules.get("__main__")
    for name, value in list(vars(main).items()) if main else ():
        # Notebooks keep what cells printed under names like _3.
        if not name.startswith("__"):
            yield f"{name}\0", value


class _Walk:
    """Breadth first, so that the shortest name of a thing is found, within a fixed number of steps."""

    def __init__(self, torch: Any) -> None:
        self.tensor = getattr(torch, "Tensor", None)
        self.module = getattr(getattr(torch, "nn", None), "Module", None)
        self.names: dict[int, str] = {}
        self._met: list[tuple[int, set[int], ModelNow]] = []

    def run(self, roots: Iterable[tuple[str, Any]]) -> None:
        waiting: deque[tuple[str, Any, int]] = deque()
        waiting.extend((name, value, 0) for name, value in roots)
        seen: set[int] = set()
        for _ in range(MOST_STEPS):
            if not waiting:
                return
            name, value, depth = waiting.popleft()
            if value is None or isinstance_plain(value, _NEVER) or id(value) in seen:
                continue
            seen.add(id(value))
            if self._is(value, self.tensor):
                self.names[id(value)] = "".join(name.split("\0"))
            if self._is(value, self.module):
                self._model(name, value)
            if depth < DEEPEST:
                # Another thread may change a mapping meanwhile; then it is left out.
                with contextlib.suppress(RuntimeError):
                    waiting.extend([(inner, part, depth + 1) for inner, part in self._parts(name, value)])

    def _is(self, value: Any, kind: Any) -> bool:
        return kind is not None and kind in type(value).__mro__

    def _parts(self, name: str, value: Any) -> Iterator[tuple[str, Any]]:
        path, _, where = name.partition("\0")
        kind = type(value)
        if dict in kind.__mro__:
            for key in itertools.islice(dict.keys(value), LONGEST_LIST):
                step = f".{key}" if path.endswith("\1") else f"[{key!r}]" if _short(key) else "[...]"
                yield f"{path.rstrip(chr(1))}{step}\0{where}", dict.get(value, key)
        elif kind in (list, tuple, set, frozenset, deque):
            for number, part in enumerate(itertools.islice(value, LONGEST_LIST)):
                yield f"{path}[{number}]\0{where}", part
        else:
            yield from self._attributes(path, where, value)

    def _attributes(self, path: str, where: str, value: Any) -> Iterator[tuple[str, Any]]:
        try:
            inner = object.__getattribute__(value, "__dict__")
        except Exception:
            return
        if type(inner) is not dict:
            return
        module = self._is(value, self.module)
        for key, part in list(inner.items()):
            if module and key in _INSIDE_MODULES:
                # \1 says that the keys of this mapping read like attributes.
                yield f"{path}\1\0{where}", part
            elif not module or self._is(part, self.tensor):
                yield f"{path}.{key}\0{where}", part

    def _model(self, name: str, value: Any) -> None:
        """Note a model of the library, or one that accelerate has spread; parts of noted ones are taken out later."""
        inner = object.__getattribute__(value, "__dict__")
        named_so = any(kind.__name__ == "PreTrainedModel" for kind in type(value).__mro__)
        if not named_so and "hf_device_map" not in inner:
            return
        placed = inner.get("hf_device_map")
        counts: dict[str, int] = {}
        for device in placed.values() if type(placed) is dict else ():
            counts[str(device)] = counts.get(str(device), 0) + 1
        model = ModelNow("".join(name.split("\0")), type(value).__name__, _dtype(value), counts)
        self._met.append((id(value), {id(part) for part in _modules(value)}, model))

    @property
    def models(self) -> tuple[ModelNow, ...]:
        """Those that are no part of another one."""
        return tuple(model for own, _, model in self._met if not any(own in parts for _, parts, _ in self._met))


def _modules(root: Any) -> Iterator[Any]:
    """All modules inside a module, in their order; the walk ends where a module contains itself."""
    waiting, seen = [root], {id(root)}
    while waiting:
        for part in (object.__getattribute__(waiting.pop(), "__dict__").get("_modules") or {}).values():
            if part is not None and id(part) not in seen:
                seen.add(id(part))
                yield part
                waiting.append(part)


def _dtype(model: Any) -> str | None:
    """The type of the first floating-point weight."""
    for module in (model, *_modules(model)):
        for weight in (object.__getattribute__(module, "__dict__").get("_parameters") or {}).values():
            try:
                if weight is not None and weight.is_floating_point():
                    return str(weight.dtype).removeprefix("torch.")
            except Exception:
                return None
    return None


def isinstance_plain(value: Any, kinds: tuple[type, ...]) -> bool:
    """isinstance by the object's real type: a proxy's `__class__` would run its code."""
    return any(kind in type(value).__mro__ for kind in kinds)


def _short(key: Any) -> bool:
    return type(key) in (int, bool) or (type(key) is str and len(key) <= 40)
