"""What an error rule is: the signs by which it is recognized, what it means, and what helps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advisor.clauses import AnyOf, Clause, Condition, Operator, clauses_of
from advisor.facts import Value

STAGES = (
    "limit", "request", "free", "others", "cached", "operation", "card", "phase", "bare", "remainder",
    "error", "notice", "symptom",
)  # fmt: skip
"""The order of reading; the first stage with a sign that holds decides. The stages up to `remainder` read a shortage of
memory: a named limit, an absurd request, free memory that should do, memory held elsewhere, cached memory, the failing
call, a small card, the phase, the figures alone, nothing but the fact. The others read any other text: an error, a mere
notice, a description."""

MEMORY_KINDS = (
    "gpu_oom", "cpu_oom", "killed", "host_pinned", "kv_cache_budget", "quant_dispatch", "alloc_failed_library",
    "disk_or_shm",
)  # fmt: skip
"""The kinds of memory failure; any other failure that is known has the kind `error`."""

Phrases = tuple[tuple[str, ...], ...]
"""All of these must stand in the text; of several in one group, one is enough."""


@dataclass(frozen=True)
class Sign:
    """One way in which a cause shows.

    `kinds` are the kinds of memory failure that it may explain (none: the text need not report one), `reports` is the
    kind to report where it is not the one read. `says` must stand in the text, `frames` in the stretch around the
    message, of `unless` nothing in the text. A sign that holds silences the rules named in `over` (`memory`: all that
    explain a memory failure).
    """

    kinds: tuple[str, ...]
    reports: str | None
    stage: str
    when: tuple[Condition, ...]
    says: Phrases
    frames: Phrases
    unless: tuple[str, ...]
    over: tuple[str, ...]
    what: tuple[str, ...]
    why: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Fix:
    """Something to do about it. `when` says for which texts it is meant, `needs` what machine or text must offer,
    `already` what shows that it is in force."""

    id: str
    summary: str
    change: Mapping[str, Value] | None
    command: str | None
    when: tuple[Condition, ...]
    needs: tuple[Condition, ...]
    already: tuple[Condition, ...]


@dataclass(frozen=True)
class Case:
    """A text, and the rule that must explain it (None: none may)."""

    name: str
    text: str
    rule: str | None
    line: int


@dataclass(frozen=True)
class ErrorRule:
    """One cause. Its id is the file's stem. `neighbour` is the cause that it is taken for most easily, `ask` the
    question whose yes speaks for this one."""

    id: str
    path: str
    summary: str
    signs: tuple[Sign, ...]
    fixes: tuple[Fix, ...]
    sources: tuple[str, ...]
    cases: tuple[Case, ...]
    neighbour: str | None = None
    ask: str = ""


def to_json(rule: ErrorRule) -> dict[str, Any]:
    """Everything but the cases, which only tests read."""
    return {
        "id": rule.id, "path": rule.path, "summary": rule.summary, "sources": rule.sources,
        "neighbour": rule.neighbour, "ask": rule.ask,
        "signs": [_sign_json(sign) for sign in rule.signs], "fixes": [_fix_json(fix) for fix in rule.fixes],
    }  # fmt: skip


def from_json(data: Mapping[str, Any]) -> ErrorRule:
    """Raises KeyError, TypeError or ValueError for anything that `to_json` did not write."""
    return ErrorRule(
        id=data["id"], path=data["path"], summary=data["summary"], cases=(),
        neighbour=data["neighbour"], ask=data["ask"],
        sources=tuple(data["sources"]), signs=tuple(_sign(sign) for sign in data["signs"]),
        fixes=tuple(_fix(fix) for fix in data["fixes"]),
    )  # fmt: skip


def _sign_json(sign: Sign) -> list[Any]:
    conditions = [_condition_json(condition) for condition in sign.when]
    return [
        sign.kinds, sign.reports, sign.stage, conditions, sign.says, sign.frames, sign.unless, sign.over, sign.what,
        sign.why, sign.line,
    ]  # fmt: skip


def _sign(data: list[Any]) -> Sign:
    kinds, reports, stage, when, says, frames, unless, over, what, why, line = data
    conditions = tuple(_condition(condition) for condition in when)
    return Sign(
        kinds=tuple(kinds), reports=reports, stage=stage, when=conditions, says=_groups(says), frames=_groups(frames),
        unless=tuple(unless), over=tuple(over), what=tuple(what), why=tuple(why), line=line,
    )  # fmt: skip


def _groups(data: list[list[str]]) -> Phrases:
    return tuple(tuple(group) for group in data)


def _fix_json(fix: Fix) -> list[Any]:
    conditions = [[_condition_json(item) for item in group] for group in (fix.when, fix.needs, fix.already)]
    return [fix.id, fix.summary, fix.change, fix.command, *conditions]


def _fix(data: list[Any]) -> Fix:
    name, summary, change, command, *groups = data
    when, needs, already = (tuple(_condition(item) for item in group) for group in groups)
    change = None if change is None else {knob: _value(value) for knob, value in change.items()}
    return Fix(name, summary, change, command, when, needs, already)


def _condition_json(condition: Condition) -> list[Any]:
    parts = [[c.fact, c.operator.value, c.literal, c.text, c.line] for c in clauses_of(condition)]
    return [isinstance(condition, AnyOf), condition.text, condition.line, parts]


def _condition(data: list[Any]) -> Condition:
    several, text, line, parts = data
    clauses = tuple(
        Clause(fact, Operator(operator), _value(literal), written, number)
        for fact, operator, literal, written, number in parts
    )
    return AnyOf(clauses, text, line) if several else clauses[0]


def _value(value: Any) -> Value:
    return tuple(value) if isinstance(value, list) else value
