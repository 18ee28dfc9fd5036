"""Rule files -> rules. Every mistake of every file is reported at once, each with its file and line.

The folder of a rule is its rung, the file's stem its id. rules/errors holds another kind of rule (errorbook.py).
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from advisor import code_facts, setup, vocabulary, workload
from advisor.clauses import parse_conditions
from advisor.errors import Mistake, RulebookError, nearest
from advisor.facts import Declaration, Fact, Facts, Known, Unknown, Vocabulary, plain_name, typed
from advisor.rule import EVIDENCE, RUNGS, VERDICTS, Case, Change, ChangeValue, FactReference, Rule
from advisor.shipped import shipped as shipped
from advisor.yaml_lines import Reader, Table, Text, open_rule

KEYS = (
    "summary", "tasks", "when", "requires", "change", "advice", "outranks", "fallbacks", "evidence", "quality",
    "caution", "always", "unpredicted", "why", "not_when", "pitfalls", "sources", "locate", "cases",
)  # fmt: skip
NEEDED = ("summary", "when", "evidence", "why", "sources", "cases")
DEFAULT_TASKS = ("generate",)
PLACEHOLDER = re.compile(r"\{([a-z]\w*(?:\.\w+)+)\}")
"""A fact in a line of advice (notes.py fills them). Braces of Python code look otherwise."""


@cache
def full_vocabulary() -> Vocabulary:
    """All facts that a rule may name: machine, model and estimate, the knobs, the workload, the script."""
    user = workload.DECLARATIONS + code_facts.DECLARATIONS
    return Vocabulary(vocabulary.DECLARATIONS + setup.declarations() + user)


def load(*folders: Path) -> tuple[Rule, ...]:
    """The advice rules of all folders, in the order of the ladder.

    Raises:
        RulebookError: every mistake in every file, and ids that stand twice.
    """
    mistakes: list[Mistake] = []
    rules: dict[str, Rule] = {}
    for folder in folders:
        for path, rung in _files(folder, mistakes):
            shown = _shown(path, folder)
            rule = read_rule(path, rung, shown, mistakes)
            if rule and rule.id in rules:
                mistakes.append(Mistake(shown, f"the id {rule.id} is taken by {rules[rule.id].path}"))
            elif rule:
                rules[rule.id] = rule
    if mistakes:
        raise RulebookError(*mistakes)
    return tuple(sorted(rules.values(), key=lambda rule: (rule.step_on_ladder, rule.id)))


def _shown(path: Path, folder: Path) -> str:
    """How messages name a file: from the folder's own name on, as the user knows it."""
    return str(Path(folder.name) / path.relative_to(folder))


def _files(folder: Path, mistakes: list[Mistake]) -> Iterator[tuple[Path, str]]:
    """Each rule file with its rung. A file outside the named folder (through a link) is refused."""
    if not folder.is_dir():
        mistakes.append(Mistake(str(folder), "no such folder of rules"))
        return
    root = folder.resolve()
    for path in sorted(folder.rglob("*.yaml")):
        parts = path.relative_to(folder).parts
        if parts[0] == "errors":
            continue
        rung = parts[0] if len(parts) == 2 else ""
        if not path.resolve().is_relative_to(root):
            mistakes.append(Mistake(_shown(path, folder), "leads outside the folder of rules"))
        elif rung not in RUNGS:
            close = nearest(rung, RUNGS)
            hint = f"did you mean {close}/?" if close else f"folders are: {', '.join(RUNGS)}"
            mistakes.append(Mistake(_shown(path, folder), "not in the folder of a rung", hint))
        else:
            yield path, rung


def read_rule(path: Path, rung: str, shown: str, mistakes: list[Mistake]) -> Rule | None:
    """The rule in `path`, or None with its mistakes noted."""
    before = len(mistakes)
    reader = open_rule(path, shown, KEYS, mistakes)
    rule = _rule(reader, path.stem, rung) if reader else None
    return rule if len(mistakes) == before else None


def _rule(reader: Reader, name: str, rung: str) -> Rule:
    reader.expect_keys(KEYS, NEEDED)
    if not {"change", "advice"} & set(reader.table.entries):
        reader.wrong(reader.table.line, "a rule has a change of knobs, or advice to type")
    conditions = {
        key: parse_conditions(reader.items(key), full_vocabulary(), reader.shown, reader.mistakes)
        for key in ("when", "requires")
    }
    return Rule(
        id=name,
        rung=rung,
        path=reader.shown,
        summary=reader.text("summary") or "",
        when=conditions["when"],
        requires=conditions["requires"],
        change=_change(reader, reader.sub("change")),
        advice=_advice(reader),
        tasks=_tasks(reader),
        outranks=reader.texts("outranks"),
        fallbacks=tuple(_change(reader, item) for item in reader.items("fallbacks")),
        evidence=reader.one_of("evidence", EVIDENCE) or EVIDENCE[-1],
        why=reader.text("why") or "",
        not_when=reader.text("not_when") or "",
        quality=reader.text("quality"),
        caution=reader.text("caution"),
        always=reader.flag("always"),
        unpredicted=reader.flag("unpredicted"),
        pitfalls=reader.texts("pitfalls"),
        sources=reader.texts("sources"),
        locate=reader.texts("locate"),
        cases=tuple(_cases(reader)),
    )


def _advice(reader: Reader) -> tuple[str, ...]:
    """Lines to type; every fact they name must exist."""
    # Spaces at the beginning of a line count: it may be code.
    lines = tuple(item.value.rstrip() for item in reader.items("advice") if isinstance(item, Text))
    reader.texts("advice")  # notes what is no text
    for name in (name for line in lines for name in PLACEHOLDER.findall(line)):
        if plain_name(name) not in full_vocabulary():
            close = full_vocabulary().nearest(name)
            where = reader.table.key_lines["advice"]
            reader.wrong(where, f"no fact is called {name}", f"did you mean {close}?" if close else "")
    return lines


def _tasks(reader: Reader) -> tuple[str, ...]:
    tasks = reader.texts("tasks") or DEFAULT_TASKS
    for task in tasks:
        if task not in workload.TASKS:
            hint = f"tasks are: {', '.join(workload.TASKS)}"
            reader.wrong(reader.table.key_lines["tasks"], f"{task!r} is no task", hint)
    return tasks


def _change(reader: Reader, node: object) -> Change:
    """Knobs and values of `change` or of one fallback."""
    if node is None:
        return {}
    if not isinstance(node, Table):
        reader.wrong(getattr(node, "line", reader.table.line), "a change is a mapping of knobs to values")
        return {}
    change: dict[str, ChangeValue] = {}
    for name, value in node.entries.items():
        line = node.key_lines[name]
        if name not in setup.knobs():
            reader.wrong(line, setup.unusable(name, None) or "no such knob")
        elif not isinstance(value, Text):
            reader.wrong(line, f"{name}: a value is a text; lists are written with commas")
        elif (read := _change_value(reader, name, value)) is not None:
            change[name] = read
    return change


def _change_value(reader: Reader, name: str, text: Text) -> ChangeValue | None:
    if text.value.startswith("="):
        fact = text.value[1:].strip()
        if fact not in full_vocabulary():
            close = full_vocabulary().nearest(fact)
            reader.wrong(text.line, f"no fact is called {fact}", f"did you mean {close}?" if close else "")
            return None
        return FactReference(fact)
    knob = setup.knobs()[name]
    try:
        value = typed(text.value, Declaration(name, knob.kind, ""))
    except ValueError as error:
        reader.wrong(text.line, f"{name}: {error}")
        return None
    if wrong := setup.unusable(name, value):
        reader.wrong(text.line, wrong)
        return None
    return value


def _cases(reader: Reader) -> Iterator[Case]:
    """The base case, which fires, and the named ones: the base with some facts replaced."""
    table = reader.sub("cases")
    if table is None:
        return
    inner = Reader(table, reader.shown, reader.mistakes)
    inner.expect_keys(("base", *VERDICTS), ("base",))
    base = _facts(inner, inner.sub("base"))
    yield Case("base", "fires", base, table.key_lines.get("base", table.line))
    for verdict in VERDICTS:
        named = inner.sub(verdict)
        for name, node in named.entries.items() if named else ():
            if isinstance(node, Table):
                yield Case(name, verdict, base | _facts(inner, node), node.line)
            else:
                inner.wrong(node.line, f"case {name!r} must be a mapping of facts")


def _facts(reader: Reader, table: Table | None) -> Facts:
    found: dict[str, Fact] = {}
    for name, node in table.entries.items() if table else ():
        line = table.key_lines[name] if table else 0
        if plain_name(name) not in full_vocabulary():
            close = full_vocabulary().nearest(name)
            reader.wrong(line, f"no fact is called {name}", f"did you mean {close}?" if close else "")
        elif (fact := _fact(reader, name, node)) is not None:
            found[name] = fact
    return Facts(found)


def _fact(reader: Reader, name: str, node: object) -> Fact | None:
    if not isinstance(node, Text):
        items = getattr(node, "items", None)
        texts = tuple(item.value for item in items if isinstance(item, Text)) if isinstance(items, tuple) else None
        if texts is None:
            reader.wrong(getattr(node, "line", 0), f"{name}: a value is a text or a list of texts")
        return None if texts is None else Known(texts, "case")
    if node.value == "unknown":
        return Unknown("as the case says")
    declaration = replace(full_vocabulary()[name], values=())
    try:
        return Known(typed(node.value, declaration), "case")
    except ValueError as error:
        reader.wrong(node.line, f"{name}: {error}")
        return None
