"""YAML read as text with line numbers: every scalar stays a string, so `no` is no boolean and 2.10 is not 2.1.

Rule files may come from strangers: aliases, tags and anchors are refused, depth and size are bounded, and nothing is
constructed but texts, lists and mappings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from advisor.errors import Mistake, RulebookError, nearest

LARGEST_FILE_BYTES = 1_000_000
DEEPEST = 12
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Text:
    """A scalar as it is written; `quoted` or block scalars are not stripped of meaning."""

    value: str
    line: int


@dataclass(frozen=True)
class Listing:
    """A sequence."""

    items: tuple["Node", ...]
    line: int


@dataclass(frozen=True)
class Table:
    """A mapping in the order of the file. Keys are unique."""

    entries: dict[str, "Node"]
    key_lines: dict[str, int]
    line: int


Node = Text | Listing | Table


@dataclass(frozen=True)
class Place:
    """A file and a line in it."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def read_file(path: Path, shown: str) -> Node:
    """The one document in `path`; `shown` names the file in messages.

    Raises:
        RulebookError: unreadable, too large, not YAML, or YAML that goes beyond texts, lists and mappings.
    """
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise RulebookError(Mistake(shown, f"larger than {LARGEST_FILE_BYTES:,} bytes"))
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RulebookError(Mistake(shown, f"cannot be read: {error}")) from error
    return read(text, shown)


def read(text: str, shown: str) -> Node:
    """The one document in `text`. Raises RulebookError as `read_file` does."""
    try:
        events = yaml.parse(text, Loader=_Loader)
        node = _Builder(events, shown).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{shown}:{mark.line + 1}" if mark else shown
        problem = getattr(error, "problem", None) or str(error)
        raise RulebookError(Mistake(place, f"not YAML: {problem}")) from None
    return node


class _Builder:
    """Builds nodes from parser events."""

    def __init__(self, events: Iterator[yaml.Event], shown: str) -> None:
        self._events = events
        self._shown = shown

    def document(self) -> Node:
        event = next(self._events)
        while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise RulebookError(Mistake(self._shown, "the file is empty"))
        node = self._node(event, 0)
        for rest in self._events:
            if isinstance(rest, yaml.DocumentStartEvent):
                raise self._refused(rest, "a second document in one file")
        return node

    def _node(self, event: yaml.Event, depth: int) -> Node:
        line = _line(event)
        if depth > DEEPEST:
            raise self._refused(event, f"nested deeper than {DEEPEST} levels")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._refused(event, "anchors and aliases are not read")
        if getattr(event, "tag", None) not in (None, "!"):
            raise self._refused(event, "tags are not read")
        match event:
            case yaml.ScalarEvent():
                return Text(event.value, line)
            case yaml.SequenceStartEvent():
                return Listing(tuple(self._items(depth)), line)
            case _:
                return self._table(line, depth)

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _table(self, line: int, depth: int) -> Table:
        entries: dict[str, Node] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Text):
                raise self._refused(event, "a key that is no text")
            if key.value in entries:
                raise self._refused(event, f"the key {key.value!r} stands twice (first on line {lines[key.value]})")
            entries[key.value] = self._node(next(self._events), depth + 1)
            lines[key.value] = key.line
        return Table(entries, lines, line)

    def _refused(self, event: yaml.Event, why: str) -> RulebookError:
        return RulebookError(Mistake(f"{self._shown}:{_line(event)}", why))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def open_rule(path: Path, shown: str, keys: tuple[str, ...], mistakes: list[Mistake]) -> "Reader | None":
    """A reader of the rule in `path`; None where the file holds no mapping of keys, with the mistake noted."""
    try:
        node = read_file(path, shown)
    except RulebookError as error:
        mistakes.extend(error.mistakes)
        return None
    if not isinstance(node, Table):
        mistakes.append(Mistake(f"{shown}:{node.line}", "a rule is a mapping of keys", f"keys are: {', '.join(keys)}"))
        return None
    return Reader(node, shown, mistakes)


class Reader:
    """Takes the parts of one file's top table, noting every mistake with its line instead of stopping at the first."""

    def __init__(self, table: Table, shown: str, mistakes: list[Mistake]) -> None:
        self.table = table
        self.shown = shown
        self.mistakes = mistakes

    def wrong(self, line: int, what: str, hint: str = "") -> None:
        self.mistakes.append(Mistake(f"{self.shown}:{line}", what, hint))

    def expect_keys(self, known: tuple[str, ...], needed: tuple[str, ...]) -> None:
        """Note keys that nobody reads (with the nearest known one) and needed ones that are missing."""
        for key in self.table.entries:
            if key not in known:
                close = nearest(key, known)
                hint = f"did you mean {close!r}?" if close else f"keys are: {', '.join(known)}"
                self.wrong(self.table.key_lines[key], f"unknown key {key!r}", hint)
        for key in needed:
            if key not in self.table.entries:
                self.wrong(self.table.line, f"the key {key!r} is missing")

    def text(self, key: str) -> str | None:
        """The text under `key` with folded lines stripped; None when absent."""
        node = self.table.entries.get(key)
        if node is None:
            return None
        if isinstance(node, Text):
            return node.value.strip()
        self.wrong(node.line, f"{key} must be a text")
        return None

    def one_of(self, key: str, values: tuple[str, ...]) -> str | None:
        """The text under `key` if it is one of `values`."""
        text = self.text(key)
        if text is None or text in values:
            return text
        close = nearest(text, values)
        hint = f"did you mean {close!r}?" if close else f"one of: {', '.join(values)}"
        self.wrong(self.table.entries[key].line, f"{key}: {text!r} is not known", hint)
        return None

    def flag(self, key: str) -> bool:
        """True or false under `key`; false when absent."""
        return self.one_of(key, ("true", "false")) == "true"

    def items(self, key: str) -> tuple[Node, ...]:
        """The items of the list under `key`; empty when absent."""
        node = self.table.entries.get(key)
        if node is None:
            return ()
        if isinstance(node, Listing):
            return node.items
        self.wrong(node.line, f"{key} must be a list")
        return ()

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts of the list under `key`."""
        found = []
        for item in self.items(key):
            if isinstance(item, Text):
                found.append(item.value.strip())
            else:
                self.wrong(item.line, f"{key}: an item must be a text (quote it if it contains ': ')")
        return tuple(found)

    def sub(self, key: str) -> Table | None:
        """The mapping under `key`; None when absent."""
        node = self.table.entries.get(key)
        if node is None or isinstance(node, Table):
            return node
        self.wrong(node.line, f"{key} must be a mapping")
        return None
