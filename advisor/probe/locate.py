"""Where symbols and words stand in the target environment's packages, by their source; nothing of them is imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor import child
from advisor.probe.privacy import without_places

CHILD = Path(__file__).with_name("inside_locate.py")
LIMIT_SECONDS = 20.0


@dataclass(frozen=True)
class Place:
    """Where a symbol stands: the file relative to the folder of its package, the line from 1, and that line's text."""

    symbol: str
    file: str
    line: int
    text: str


@dataclass(frozen=True)
class Missing:
    """A symbol that was not found, and why."""

    symbol: str
    reason: str


Located = Place | Missing


@dataclass(frozen=True)
class Found:
    """The answers in the order asked; for words the places, and for those without any the names most like them.

    `said` holds the library's own warnings about words that it calls deprecated. `transformers` is the version of the
    target environment, None where it has none.
    """

    symbols: tuple[Located, ...]
    words: Mapping[str, tuple[Place, ...]]
    near: Mapping[str, tuple[str, ...]]
    said: Mapping[str, str]
    transformers: str | None


def look(python: str, symbols: Sequence[str], words: Sequence[str] = ()) -> Found:
    """Ask the interpreter `python`, in one child. Where it does not answer, every symbol is missing for that reason."""
    match child.run(python, CHILD, {"symbols": [*symbols], "words": [*words]}, LIMIT_SECONDS):
        case child.Answered(answer):
            places = {word: tuple(map(_place, found)) for word, found in answer["words"].items()}
            near = {word: tuple(names) for word, names in answer["near"].items()}
            return Found(tuple(map(_located, answer["symbols"])), places, near, answer["said"], answer["transformers"])
        case child.Died(told):
            reason = f"the target interpreter gave no answer: {without_places(told)}"
            return Found(tuple(Missing(symbol, reason) for symbol in symbols), {}, {}, {}, None)


def _located(row: Mapping[str, Any]) -> Located:
    return Missing(row["symbol"], row["missing"]) if "missing" in row else _place(row)


def _place(row: Mapping[str, Any]) -> Place:
    return Place(row["symbol"], row["file"], row["line"], row["text"])


def to_json(located: Located) -> dict[str, Any]:
    """As scripts see it: {"symbol", "file", "line", "text"} or {"symbol", "missing"}."""
    match located:
        case Place(symbol, file, line, text):
            return {"symbol": symbol, "file": file, "line": line, "text": text}
        case Missing(symbol, reason):
            return {"symbol": symbol, "missing": reason}
