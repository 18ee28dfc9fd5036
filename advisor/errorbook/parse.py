"""YAML -> error rules. Every mistake of a file is noted with its line."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from advisor import setup, vocabulary
from advisor.clauses import Condition, parse_conditions
from advisor.errorbook.rule import MEMORY_KINDS, STAGES, Case, ErrorRule, Fix, Phrases, Sign
from advisor.errors import Mistake
from advisor.facts import Declaration, Value, Vocabulary, typed
from advisor.text_facts import TEXT
from advisor.yaml_lines import Listing, Node, Reader, Table, Text, open_rule

_SIGN_KEYS = ("kind", "reports", "stage", "when", "says", "frames", "unless", "over", "what", "why")
_KEYS = ("summary", "signs", *_SIGN_KEYS, "neighbour", "ask", "fixes", "sources", "explains", "leaves")
_NEEDED = ("summary", "fixes", "sources", "explains")
_FIX_KEYS = ("id", "summary", "change", "command", "when", "needs", "already")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FIGURE = re.compile(r"\{([a-z_]+)\}")
"""In a command, where other braces are Python's."""


@cache
def known_facts() -> Vocabulary:
    """What conditions and sentences may name: the text, the machine and the knobs."""
    return Vocabulary(TEXT + vocabulary.DECLARATIONS + setup.declarations())


def fact_of(name: str) -> str | None:
    """The fact that `{name}` stands for in a sentence: `text.name`, or a fact of the machine by its full name."""
    for full in (f"text.{name}", name):
        if full in known_facts():
            return full
    return None


def read_rule(path: Path, shown: str, mistakes: list[Mistake]) -> ErrorRule | None:
    """The rule in `path`, or None with its mistakes noted."""
    before = len(mistakes)
    reader = open_rule(path, shown, _KEYS, mistakes)
    rule = _rule(reader, path.stem) if reader else None
    return rule if len(mistakes) == before else None


def _rule(reader: Reader, stem: str) -> ErrorRule:
    reader.expect_keys(_KEYS, _NEEDED)
    return ErrorRule(
        id=stem,
        path=reader.shown,
        summary=reader.text("summary") or "",
        signs=tuple(_signs(reader)),
        fixes=tuple(_fixes(reader)),
        sources=reader.texts("sources"),
        cases=(*_explains(reader, stem), *_leaves(reader)),
        neighbour=reader.text("neighbour"),
        ask=reader.text("ask") or "",
    )


def _signs(reader: Reader) -> Iterator[Sign]:
    """The signs of the list, each filled up with what the file says for all; without a list, the file is one sign."""
    if "signs" not in reader.table.entries:
        yield from _sign(reader, reader)
        return
    for item in reader.items("signs"):
        if isinstance(item, Table):
            inner = Reader(item, reader.shown, reader.mistakes)
            inner.expect_keys(_SIGN_KEYS, ())
            yield from _sign(inner, reader)
        else:
            reader.wrong(item.line, "a sign is a mapping", f"keys are: {', '.join(_SIGN_KEYS)}")


def _sign(own: Reader, shared: Reader) -> Iterator[Sign]:
    kinds = _text_or_list(own, "kind") or _text_or_list(shared, "kind")
    for kind in kinds:
        if kind not in MEMORY_KINDS:
            own.wrong(own.table.line, f"kind: {kind!r} is not known", f"one of: {', '.join(MEMORY_KINDS)}")
    reports = own.one_of("reports", (*MEMORY_KINDS, "error"))
    stage = own.one_of("stage", STAGES) or shared.one_of("stage", STAGES) or "error"
    says, frames = _phrases(own, "says"), _phrases(own, "frames")
    when = _conditions(own, "when")
    if not (says or frames or when or kinds):
        own.wrong(own.table.line, "a sign needs `kind`, `says`, `frames` or `when`")
    what, why = (_sentences(own, key) or _sentences(shared, key) for key in ("what", "why"))
    for key, found in (("what", what), ("why", why)):
        if not found:
            own.wrong(own.table.line, f"the key {key!r} is missing")
    unless, over = _checked(own, "unless"), _text_or_list(own, "over")
    yield Sign(kinds, reports, stage, when, says, frames, unless, over, what, why, own.table.line)


def _text_or_list(reader: Reader, key: str) -> tuple[str, ...]:
    node = reader.table.entries.get(key)
    if isinstance(node, Text):
        return (node.value.strip(),)
    return reader.texts(key)


def _conditions(reader: Reader, key: str) -> tuple[Condition, ...]:
    return parse_conditions(reader.items(key), known_facts(), reader.shown, reader.mistakes)


def _phrases(reader: Reader, key: str) -> Phrases:
    groups: list[tuple[str, ...]] = []
    for item in reader.items(key):
        match item:
            case Text(value, line):
                groups.append(_phrase(reader, value, line))
            case Table(entries) if list(entries) == ["any"] and isinstance(entries["any"], Listing):
                parts = [_phrase(reader, part.value, part.line) for part in _only_texts(reader, entries["any"].items)]
                groups.append(tuple(phrase for part in parts for phrase in part))
            case _:
                reader.wrong(item.line, f"{key}: an item is a phrase or `any:` with a list of phrases")
    return tuple(groups)


def _only_texts(reader: Reader, items: tuple[Node, ...]) -> Iterator[Text]:
    for item in items:
        if isinstance(item, Text):
            yield item
        else:
            reader.wrong(item.line, "a phrase must be a text (quote it if it contains ': ')")


def _phrase(reader: Reader, written: str, line: int) -> tuple[str, ...]:
    letters = sum(letter.isalnum() for letter in written)
    if letters < 4:
        reader.wrong(line, f"{written!r} is too short: a phrase needs at least four letters")
    elif any(not part.strip() for part in written.split("...")):
        reader.wrong(line, f"{written!r}: `...` needs words on both sides")
    return (written,)


def _checked(reader: Reader, key: str) -> tuple[str, ...]:
    return tuple(phrase for group in _phrases(reader, key) for phrase in group)


def _sentences(reader: Reader, key: str) -> tuple[str, ...]:
    """The sentences under `key`: one text, or a list of which those with an unknown figure are left out."""
    found = _text_or_list(reader, key)
    node = reader.table.entries.get(key)
    for sentence in found:
        for name in _PLACEHOLDER.findall(sentence):
            if fact_of(name) is None:
                close = known_facts().nearest(f"text.{name}")
                hint = f"did you mean {{{close.removeprefix('text.')}}}?" if close else "figures are named like facts"
                reader.wrong(node.line if node else 0, f"{key}: nothing is called {{{name}}}", hint)
    return tuple(" ".join(sentence.split()) for sentence in found)


def _fixes(reader: Reader) -> Iterator[Fix]:
    for item in reader.items("fixes"):
        if not isinstance(item, Table):
            reader.wrong(item.line, "a fix is a mapping", f"keys are: {', '.join(_FIX_KEYS)}")
            continue
        inner = Reader(item, reader.shown, reader.mistakes)
        inner.expect_keys(_FIX_KEYS, ("id", "summary"))
        when, needs, already = (_conditions(inner, key) for key in ("when", "needs", "already"))
        name, summary, command = inner.text("id") or "", inner.text("summary") or "", inner.text("command")
        for figure in _FIGURE.findall(command or ""):
            if f"text.{figure}" not in known_facts():
                inner.wrong(item.line, f"command: the text has no figure {{{figure}}}")
        yield Fix(name, summary, _change(inner), command, when, needs, already)


def _change(reader: Reader) -> dict[str, Value] | None:
    table = reader.sub("change")
    change: dict[str, Value] = {}
    for name, node in table.entries.items() if table else ():
        if name not in setup.knobs():
            reader.wrong(node.line, setup.unusable(name, None) or "no such knob")
        elif not isinstance(node, Text):
            reader.wrong(node.line, f"{name}: a value is a text; lists are written with commas")
        else:
            try:
                change[name] = typed(node.value, Declaration(name, setup.knobs()[name].kind, ""))
            except ValueError as error:
                reader.wrong(node.line, f"{name}: {error}")
                continue
            if wrong := setup.unusable(name, change[name]):
                reader.wrong(node.line, wrong)
    return change or None


def _explains(reader: Reader, name_of_rule: str) -> Iterator[Case]:
    table = reader.sub("explains")
    for name, node in table.entries.items() if table else ():
        if isinstance(node, Text):
            yield Case(name, node.value, name_of_rule, node.line)
        else:
            reader.wrong(node.line, f"explains: {name!r} must be a text")


def _leaves(reader: Reader) -> Iterator[Case]:
    """Texts that are not this rule's, with the rule whose they are (`nobody` where none knows them)."""
    table = reader.sub("leaves")
    for name, node in table.entries.items() if table else ():
        if not isinstance(node, Table):
            reader.wrong(node.line, f"leaves: {name!r} must be a mapping with `to` and `text`")
            continue
        inner = Reader(node, reader.shown, reader.mistakes)
        inner.expect_keys(("to", "text"), ("to", "text"))
        to = inner.text("to") or ""
        yield Case(name, inner.text("text") or "", None if to == "nobody" else to, node.line)
