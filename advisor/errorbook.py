"""rules/errors/*.yaml -> error rules: what a pasted text means. One file, one cause; the id is the file's stem.

A rule states signs by which its cause is seen in a text, in the order of reading STEPS: the sign of the earliest step
that holds decides. Every mistake of every file is reported at once, each with its file and line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from advisor import setup, vocabulary
from advisor.clauses import Condition, parse_conditions
from advisor.errors import Mistake, RulebookError, nearest
from advisor.facts import Declaration, Value, Vocabulary, typed
from advisor.yaml_lines import Node, Reader, Table, Text, read_file

MEMORY_KINDS = (
    "gpu_oom", "cpu_oom", "killed", "host_pinned", "kv_cache_budget", "quant_dispatch", "alloc_failed_library",
    "disk_or_shm",
)  # fmt: skip

STEPS = (
    "root", "limit", "size", "free", "elsewhere", "cached", "frame", "card", "phase", "bare", "rest",
    "error", "notice", "symptom",
)  # fmt: skip
"""The order of reading. `root`: a cause that makes what follows a consequence. For memory: a named `limit`; an absurd
or device-sized request (`size`); enough memory is `free`; it is held `elsewhere`; it is `cached`; the failing `frame`
names a tensor; the `card` is small; only the `phase` is known; the failure is `bare`; nothing is known (`rest`).
Then other errors, notices and slow symptoms."""

MOST_WORDS = 400
KEYS = ("summary", "signs", "what", "why", "fixes", "sources", "cases")
NEEDED = ("summary", "signs", "what", "why", "fixes", "cases")
SIGN_KEYS = ("step", "kinds", "reports", "when", "says", "also", "without")
FIX_KEYS = ("id", "summary", "change", "command", "when", "already")


@dataclass(frozen=True)
class Sign:
    """One way to see the cause. `says`: one of the phrases stands in the text; `also`: one of these too; `without`:
    none of these. `kinds` are the kinds of memory failure it may explain (empty: no memory failure is needed), and
    `reports` the kind to report where it is not the one read."""

    step: int
    kinds: tuple[str, ...]
    reports: str | None
    when: tuple[Condition, ...]
    says: tuple[str, ...]
    also: tuple[str, ...]
    without: tuple[str, ...]


@dataclass(frozen=True)
class Fix:
    """A remedy. `change` sets knobs, `command` is to be typed; `when` must hold on the machine for it to apply;
    `already` names the settings in the text (text.settings) that mean it is in force."""

    id: str
    summary: str
    change: Mapping[str, Value] | None
    command: str | None
    when: tuple[Condition, ...]
    already: tuple[str, ...]


@dataclass(frozen=True)
class ErrorCase:
    """A text in the rule's file, and the rule that must explain it (None: nobody may)."""

    name: str
    text: str
    rule: str | None
    line: int


@dataclass(frozen=True)
class ErrorRule:
    """What is known about one cause. `what` and `why` are sentences with {figures}; one whose figure is unknown is
    left out."""

    id: str
    path: str
    summary: str
    signs: tuple[Sign, ...]
    what: tuple[str, ...]
    why: tuple[str, ...]
    fixes: tuple[Fix, ...]
    sources: tuple[str, ...]
    cases: tuple[ErrorCase, ...]


@cache
def words() -> Vocabulary:
    """The facts that an error rule may name: the text's and the machine's."""
    return Vocabulary(vocabulary.DECLARATIONS + vocabulary.TEXT)


def load(*folders: Path) -> tuple[ErrorRule, ...]:
    """The error rules of all folders, sorted by id.

    Raises:
        RulebookError: every mistake in every file, and ids that stand twice.
    """
    mistakes: list[Mistake] = []
    rules: dict[str, ErrorRule] = {}
    for path, shown in files(*folders):
        rule = _load_one(path, shown, mistakes)
        if rule and rule.id in rules:
            mistakes.append(Mistake(shown, f"the id {rule.id} is taken by {rules[rule.id].path}"))
        elif rule:
            rules[rule.id] = rule
    if mistakes:
        raise RulebookError(*mistakes)
    return tuple(rules[name] for name in sorted(rules))


def files(*folders: Path) -> Iterator[tuple[Path, str]]:
    """Every error rule's file and how messages name it. Links that lead outside are left out."""
    for folder in folders:
        root = folder.resolve()
        for path in sorted(folder.glob("*.yaml")):
            if path.resolve().is_relative_to(root):
                yield path, f"{folder.parent.name}/{folder.name}/{path.name}"


def _load_one(path: Path, shown: str, mistakes: list[Mistake]) -> ErrorRule | None:
    try:
        node = read_file(path, shown)
    except RulebookError as error:
        mistakes.extend(error.mistakes)
        return None
    return read_rule(node, path.stem, shown, mistakes)


def read_rule(node: Node, name: str, shown: str, mistakes: list[Mistake]) -> ErrorRule | None:
    """The rule of one file's content, or None with its mistakes noted."""
    before = len(mistakes)
    if not isinstance(node, Table):
        mistakes.append(Mistake(f"{shown}:{node.line}", "an error rule is a mapping", f"keys are: {', '.join(KEYS)}"))
        return None
    reader = Reader(node, shown, mistakes)
    reader.expect_keys(KEYS, NEEDED)
    rule = ErrorRule(
        id=name,
        path=shown,
        summary=reader.text("summary") or "",
        signs=tuple(_signs(reader)),
        what=reader.texts("what"),
        why=reader.texts("why"),
        fixes=tuple(_fixes(reader)),
        sources=reader.texts("sources"),
        cases=tuple(_cases(reader, name)),
    )
    return rule if len(mistakes) == before else None


def _tables(reader: Reader, key: str) -> Iterator[Reader]:
    for item in reader.items(key):
        if isinstance(item, Table):
            yield Reader(item, reader.shown, reader.mistakes)
        else:
            reader.wrong(item.line, f"an item of {key} must be a mapping")


def _signs(reader: Reader) -> Iterator[Sign]:
    for part in _tables(reader, "signs"):
        part.expect_keys(SIGN_KEYS, ("step",))
        step = part.one_of("step", STEPS) or STEPS[-1]
        kinds = part.texts("kinds")
        for kind in kinds:
            if kind not in MEMORY_KINDS:
                part.wrong(part.table.key_lines["kinds"], f"{kind!r} is no kind of memory failure", _near(kind))
        sign = Sign(
            step=STEPS.index(step),
            kinds=kinds,
            reports=part.one_of("reports", (*MEMORY_KINDS, "error")),
            when=parse_conditions(part.items("when"), words(), part.shown, part.mistakes),
            says=_phrases(part, "says"),
            also=_phrases(part, "also"),
            without=_phrases(part, "without"),
        )
        if not (sign.kinds or sign.says):
            part.wrong(part.table.line, "a sign needs `kinds` or `says`", "without them it would hold for any text")
        yield sign


def _near(kind: str) -> str:
    close = nearest(kind, MEMORY_KINDS)
    return f"did you mean {close}?" if close else f"one of: {', '.join(MEMORY_KINDS)}"


def _phrases(reader: Reader, key: str) -> tuple[str, ...]:
    found = reader.texts(key)
    for item, text in zip(reader.items(key), found, strict=False):
        if not 4 <= len("".join(text.split())) <= MOST_WORDS or not all(part.strip() for part in text.split("...")):
            reader.wrong(item.line, f"{key}: a phrase has 4 to {MOST_WORDS} letters, and words around each `...`")
    return found


def _fixes(reader: Reader) -> Iterator[Fix]:
    for part in _tables(reader, "fixes"):
        part.expect_keys(FIX_KEYS, ("id", "summary"))
        yield Fix(
            id=part.text("id") or "",
            summary=part.text("summary") or "",
            change=_change(part, part.sub("change")),
            command=part.text("command"),
            when=parse_conditions(part.items("when"), words(), part.shown, part.mistakes),
            already=part.texts("already"),
        )


def _change(reader: Reader, table: Table | None) -> dict[str, Value] | None:
    if table is None:
        return None
    change: dict[str, Value] = {}
    for name, node in table.entries.items():
        knob = setup.knobs().get(name)
        if knob is None or not isinstance(node, Text):
            reader.wrong(table.key_lines[name], setup.unusable(name, None) or "a value is a text")
            continue
        try:
            value = typed(node.value, Declaration(name, knob.kind, ""))
        except ValueError as error:
            reader.wrong(node.line, f"{name}: {error}")
            continue
        if wrong := setup.unusable(name, value):
            reader.wrong(node.line, wrong)
        change[name] = value
    return change


def _cases(reader: Reader, name: str) -> Iterator[ErrorCase]:
    """`explains`: name -> text; `leaves`: name -> {to: id or nobody, text: ...}."""
    table = reader.sub("cases")
    if table is None:
        return
    inner = Reader(table, reader.shown, reader.mistakes)
    inner.expect_keys(("explains", "leaves"), ("explains",))
    explained = inner.sub("explains")
    for title, node in explained.entries.items() if explained else ():
        if isinstance(node, Text):
            yield ErrorCase(title, node.value, name, node.line)
        else:
            inner.wrong(node.line, f"case {title!r} must be a text")
    left = inner.sub("leaves")
    for title, node in left.entries.items() if left else ():
        if isinstance(node, Table):
            part = Reader(node, reader.shown, reader.mistakes)
            part.expect_keys(("to", "text"), ("to", "text"))
            to = part.text("to")
            yield ErrorCase(title, part.text("text") or "", None if to == "nobody" else to, node.line)
        else:
            inner.wrong(node.line, f"case {title!r} must be a mapping of `to` and `text`")
