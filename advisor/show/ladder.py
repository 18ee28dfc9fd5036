"""The ladder of rules, and one rule's page."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from advisor.clauses import Condition
from advisor.errorbook import ErrorRule
from advisor.patterns import when_used
from advisor.probe.locate import Located, to_json
from advisor.rule import Change, FactReference, Rule, show
from advisor.show.in_code import in_code
from advisor.show.places import place_line

_FIGURE = when_used(r"\{[a-z_]+\}")


def rule_json(rule: Rule, located: Sequence[Located] | None = None) -> dict[str, Any]:
    """A rule as scripts see it; `located` says where its symbols stand, None where no library was asked."""
    places = [{"symbol": symbol} for symbol in rule.locate] if located is None else [to_json(one) for one in located]
    return {
        "id": rule.id,
        "rung": rule.rung,
        "summary": rule.summary,
        "evidence": rule.evidence,
        "sources": list(rule.sources),
        "knobs": list(rule.change),
        "when": [condition.text for condition in rule.when],
        "requires": [condition.text for condition in rule.requires],
        "change": _change_json(rule.change),
        "advice": list(rule.advice),
        "tasks": list(rule.tasks),
        "fallbacks": [_change_json(change) for change in rule.fallbacks],
        "quality": rule.quality,
        "locate": places,
        "file": rule.path,
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {name: _plain(value) for name, value in change.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, FactReference):
        return f"={value.fact}"
    return list(value) if isinstance(value, tuple) else value


def ladder(rules: Sequence[Rule]) -> RenderableType:
    """Every rung with its rules, bottom rung first: the order in which to try them."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for rung, members in groupby(rules, key=lambda rule: rule.rung):
        table.add_row(Text(rung, style="bold"), "")
        for rule in members:
            table.add_row(f"  {rule.id}", Text(rule.summary))
    hint = "perf-advisor rule ID shows the page of one, or of a cause that explain names."
    return Group(table, "", Text(hint, style="dim"))


def page(rule: Rule, located: Sequence[Located] | None = None) -> RenderableType:
    """Everything that a rule's file says, for reading, and where in the library its symbols stand."""
    places = rule.locate if located is None else tuple(place_line(one) for one in located)
    parts: list[RenderableType] = [
        Text.assemble((rule.id, "bold"), f"   {rule.rung}, {rule.evidence}"),
        Text(f"Found: {rule.summary}"),
        "",
        *_conditions("When", rule.when),
        *_conditions("Needs", rule.requires),
        Text("Change" if rule.change else "What to type"),
        *(Text(f"  {line}") for line in _change_lines(rule.change) or rule.advice),
    ]
    for number, fallback in enumerate(rule.fallbacks, start=1):
        parts.append(Text(f"  if that does not hold ({number}): {', '.join(_change_lines(fallback))}", style="dim"))
    for title, text in (("Why", rule.why), ("When not", rule.not_when), ("Outputs", rule.quality or rule.caution)):
        if text:
            parts += ["", Text(title), Padding(Text(" ".join(text.split())), (0, 0, 0, 2))]
    for title, items in (("Pitfalls", rule.pitfalls), ("Sources", rule.sources), ("In the library", places)):
        if items:
            parts += ["", Text(title), *(Padding(Text(f"- {item}"), (0, 0, 0, 2)) for item in items)]
    return Group(*parts)


def error_page(rule: ErrorRule) -> RenderableType:
    """What `explain` knows of one cause."""
    parts: list[RenderableType] = [
        Text.assemble((rule.id, "bold"), "   a cause that explain knows"),
        Text(f"Found: {rule.summary}"),
    ]
    why = dict.fromkeys(sentence for sign in rule.signs for sentence in sign.why)
    parts += ["", Text("Why"), *(Padding(Text(" ".join(sentence.split())), (0, 0, 0, 2)) for sentence in why)]
    parts += ["", Text("What helps")]
    for fix in rule.fixes:
        parts.append(Padding(Text(f"- {fix.summary}"), (0, 0, 0, 2)))
        lines = [*([_as_typed(fix.command)] if fix.command else []), *in_code(fix.change or {})]
        parts += [Padding(Text(line, style="cyan"), (0, 0, 0, 6)) for line in lines]
    if rule.sources:
        parts += ["", Text("Sources"), *(Padding(Text(f"- {item}"), (0, 0, 0, 2)) for item in rule.sources)]
    return Group(*parts)


def error_json(rule: ErrorRule) -> dict[str, Any]:
    """A cause as scripts see it."""
    fixes = [
        {"id": fix.id, "summary": fix.summary, "command": fix.command and _as_typed(fix.command)} for fix in rule.fixes
    ]
    shared = {"id": rule.id, "rung": "errors", "summary": rule.summary, "sources": list(rule.sources)}
    return {**shared, "fixes": fixes, "file": rule.path}


def _as_typed(command: str) -> str:
    """A command whose figures come from a text that is not here."""
    return _FIGURE.sub("N", command)


def _conditions(title: str, conditions: Sequence[Condition]) -> Iterator[RenderableType]:
    if conditions:
        yield Text(title)
        for condition in conditions:
            yield Text(f"  {condition.text}")
        yield ""


def _change_lines(change: Change) -> list[str]:
    lines = []
    for name, value in change.items():
        text = f"as {value.fact} says" if isinstance(value, FactReference) else show(value)
        lines.append(f"{name}: {text}")
    return lines
