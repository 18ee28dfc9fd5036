"""The vocabulary: named, typed values that are either known, with their source, or unknown, with the reason.

Nothing here touches the machine. A `Facts` object is immutable and goes to JSON and back without loss, so that a
run can be replayed anywhere.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from advisor.errors import MachineError, Mistake, nearest

SCHEMA = 1
RECORD = "record one with: perf-advisor probe --json"

Value = bool | int | float | str | tuple[str, ...]


class Kind(Enum):
    """The type of a fact. Units are part of the name (`_bytes`, `_seconds`, `_tokens`), not of the kind."""

    FLAG = "flag"
    COUNT = "count"
    NUMBER = "number"
    VERSION = "version"
    NAME = "name"
    NAMES = "names"


@dataclass(frozen=True)
class Known:
    """A value and where it comes from (`nvml`, `torch`, `config.json`, `you`, `assumed` ...)."""

    value: Value
    source: str


@dataclass(frozen=True)
class Unknown:
    """No value, and why. Never replaced by 0, an empty text or a guess."""

    reason: str


Fact = Known | Unknown


@dataclass(frozen=True)
class Question:
    """What to ask a person about a fact: the text, the answers offered (value, label), and what is assumed unasked."""

    text: str
    answers: tuple[tuple[Value, str], ...]
    assumed: Value


@dataclass(frozen=True)
class Declaration:
    """A fact's one declaration: dotted name, kind, one line, and for names the values it may take."""

    name: str
    kind: Kind
    line: str
    values: tuple[str, ...] = ()
    question: Question | None = None


class Vocabulary(Mapping[str, Declaration]):
    """All declared facts by name. Facts of one of several devices (`gpu.1.name`) share the plain declaration."""

    def __init__(self, declarations: tuple[Declaration, ...]) -> None:
        self._by_name = {declaration.name: declaration for declaration in declarations}
        if len(self._by_name) != len(declarations):
            raise ValueError("a fact is declared twice")

    def __getitem__(self, name: str) -> Declaration:
        return self._by_name[plain_name(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def nearest(self, name: str) -> str | None:
        """The declared name that looks most like `name`, for "did you mean"."""
        return nearest(name, self._by_name)


NOT_LOOKED_UP = Unknown("not looked up")


def plain_name(name: str) -> str:
    """`gpu.1.name` -> `gpu.name`: the device's index is not part of the declaration."""
    return ".".join(part for part in name.split(".") if not part.isdigit())


class Deferred:
    """A fact that is computed when it is first asked for."""

    def __init__(self, compute: Callable[[], Fact]) -> None:
        self.fact = cache(compute)


@dataclass(frozen=True)
class Facts:
    """An immutable set of facts. A name that is not there reads as unknown."""

    _facts: Mapping[str, Fact | Deferred] = field(default_factory=dict)

    def get(self, name: str) -> Fact:
        found = self._facts.get(name, NOT_LOOKED_UP)
        return found.fact() if isinstance(found, Deferred) else found

    def value(self, name: str) -> Value | None:
        """The value, or None where it is unknown."""
        match self.get(name):
            case Known(value):
                return value
            case Unknown():
                return None

    def number(self, name: str) -> float | None:
        """The value of a numeric fact, or None where it is unknown or no number."""
        value = self.value(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def count(self, name: str) -> int | None:
        """The value of an integer fact, or None where it is unknown or no integer."""
        value = self.value(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, name: str) -> str | None:
        """The value of a fact that holds text (a name or a version), or None."""
        value = self.value(name)
        return value if isinstance(value, str) else None

    def is_true(self, name: str) -> bool:
        """Whether a flag is known and true."""
        return self.value(name) is True

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __or__(self, other: "Facts") -> "Facts":
        """Both sets; where both have a name, the right one counts."""
        return Facts({**self._facts, **other._facts})

    def under(self, prefix: str) -> "Facts":
        """The facts whose name begins with `prefix` and a dot."""
        return Facts({name: fact for name, fact in self._facts.items() if name.startswith(prefix + ".")})


def typed(text: str, declaration: Declaration) -> Value:
    """Read `text` as a value of the declared kind.

    Raises:
        ValueError: the text is no value of that kind; the message says what would be.
    """
    text = text.strip()
    match declaration.kind:
        case Kind.FLAG:
            if text.lower() not in ("true", "false"):
                raise ValueError(f"{text!r} is not true or false")
            return text.lower() == "true"
        case Kind.COUNT:
            return _number(text.replace("_", ""), int, "a whole number")
        case Kind.NUMBER:
            return _number(text.replace("_", ""), float, "a number")
        case Kind.VERSION:
            if not _is_version(text):
                raise ValueError(f"{text!r} is not a version")
            return text
        case Kind.NAME:
            return _named(text, declaration)
        case Kind.NAMES:
            return tuple(part.strip() for part in text.strip("[]").split(",") if part.strip())


def _is_version(text: str) -> bool:
    # Imported here: few facts are versions, and a text is explained in the time of a blink.
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _number(text: str, kind: type[int] | type[float], what: str) -> int | float:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not {what}")
    return value


def _named(text: str, declaration: Declaration) -> str:
    if declaration.values and text not in declaration.values:
        close = nearest(text, declaration.values)
        hint = f"did you mean {close!r}?" if close else f"one of: {', '.join(declaration.values)}"
        raise ValueError(f"{text!r} is not a value of {declaration.name}; {hint}")
    return text


def fits(value: object, declaration: Declaration) -> bool:
    """Whether a value that came from JSON is of the declared kind."""
    match declaration.kind:
        case Kind.FLAG:
            return isinstance(value, bool)
        case Kind.COUNT:
            return isinstance(value, int) and not isinstance(value, bool)
        case Kind.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case Kind.VERSION:
            return isinstance(value, str) and _is_version(value)
        case Kind.NAME:
            return isinstance(value, str)
        case Kind.NAMES:
            return isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)


def to_json(facts: Facts) -> dict[str, Any]:
    """`{name: {"value": ..., "source": ...} | {"unknown": reason}}`, sorted by name."""
    return {name: fact_to_json(facts.get(name)) for name in sorted(facts)}


def fact_to_json(fact: Fact) -> dict[str, Any]:
    match fact:
        case Known(value, source):
            return {"value": list(value) if isinstance(value, tuple) else value, "source": source}
        case Unknown(reason):
            return {"unknown": reason}


def from_json(data: object, vocabulary: Vocabulary, where: str) -> Facts:
    """Facts from the JSON of `to_json`; names that are not declared are refused.

    Raises:
        MachineError: every mistake in `data`, each with its place below `where`.
    """
    if not isinstance(data, dict):
        raise MachineError(Mistake(where, "no object of facts", RECORD))
    facts: dict[str, Fact] = {}
    mistakes: list[Mistake] = []
    for name, entry in data.items():
        read = _read_fact(str(name), entry, vocabulary)
        if isinstance(read, str):
            mistakes.append(Mistake(f"{where}.{name}", read))
        else:
            facts[str(name)] = read
    if mistakes:
        raise MachineError(*mistakes)
    return Facts(facts)


def _read_fact(name: str, entry: object, vocabulary: Vocabulary) -> Fact | str:
    """The fact, or what is wrong with it."""
    if plain_name(name) not in vocabulary:
        close = vocabulary.nearest(name)
        return "no such fact" + (f", did you mean {close}?" if close else "")
    match entry:
        case {"unknown": str(reason)}:
            return Unknown(reason)
        case {"value": value, "source": str(source)} if fits(value, vocabulary[name]):
            return Known(tuple(value) if isinstance(value, list) else value, source)
        case {"value": value}:
            return f"{value!r} is no {vocabulary[name].kind.value} with a source"
    return "neither a value with its source nor unknown with its reason"


def read_machine(path: Path, vocabulary: Vocabulary) -> Facts:
    """The facts that `probe --json` wrote to `path`.

    Raises:
        MachineError: the file is missing, no JSON, of another schema, or holds facts that are not declared.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MachineError(Mistake(str(path), error.strerror or str(error))) from error
    except ValueError as error:
        raise MachineError(
            Mistake(str(path), f"not JSON: {error}", "record one with: perf-advisor probe --json")
        ) from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise MachineError(Mistake(f"{path}: schema", f"expected {SCHEMA}", "record it again with this version"))
    return from_json(data.get("facts"), vocabulary, f"{path}: facts")
