"""Conditions over facts, as rule files write them: read from text, and judged in three values.

gpu.capability >= 8.0        a fact, an operator, a literal of the fact's declared kind
model.supports_sdpa          a flag that must be true
not workload.repeats         a flag that must be false
setup.dtype in [float16, bfloat16]
transformers.attention has flash_attention_3
transformers.loading_arguments lacks load_in_8bit
any: [ ... ]                 one of several clauses
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from advisor.errors import Mistake
from advisor.facts import Declaration, Facts, Kind, Unknown, Value, Vocabulary, typed
from advisor.patterns import when_used

if TYPE_CHECKING:
    from packaging.version import Version

    from advisor.yaml_lines import Node


class Operator(Enum):
    """What a clause may ask of a fact."""

    EQUAL = "=="
    UNEQUAL = "!="
    AT_LEAST = ">="
    AT_MOST = "<="
    ABOVE = ">"
    BELOW = "<"
    IN = "in"
    HAS = "has"
    LACKS = "lacks"


_OF_LISTS = (Operator.HAS, Operator.LACKS)
_ORDERED = (Kind.COUNT, Kind.NUMBER, Kind.VERSION)
_FLAG = when_used(r"(not\s+)?([a-z][\w.]*)")
_COMPARISON = when_used(r"([a-z][\w.]*)\s*(==|!=|>=|<=|>|<|\bin\b|\bhas\b|\blacks\b)\s*(.+)", re.DOTALL)


@dataclass(frozen=True)
class Clause:
    """One condition on one fact; `text` is how the file writes it."""

    fact: str
    operator: Operator
    literal: Value
    text: str
    line: int


@dataclass(frozen=True)
class AnyOf:
    """Holds when one of its clauses holds."""

    clauses: tuple[Clause, ...]
    text: str
    line: int


Condition = Clause | AnyOf


def clauses_of(condition: Condition) -> tuple[Clause, ...]:
    """The single clauses of a condition."""
    return condition.clauses if isinstance(condition, AnyOf) else (condition,)


def parse_conditions(
    items: "tuple[Node, ...]", vocabulary: Vocabulary, shown: str, mistakes: list[Mistake]
) -> tuple[Condition, ...]:
    """The conditions of a list in a rule file; what is wrong is added to `mistakes` as `shown:line`."""
    # Imported here, as packaging is below: conditions of rules that are kept are judged without either.
    from advisor.yaml_lines import Listing, Table, Text

    found: list[Condition] = []
    for item in items:
        match item:
            case Text(value, line):
                clause = _clause(value, line, vocabulary, shown, mistakes)
                found.extend([clause] if clause else [])
            case Table(entries) if list(entries) == ["any"] and isinstance(entries["any"], Listing):
                parts = parse_conditions(entries["any"].items, vocabulary, shown, mistakes)
                clauses = tuple(part for part in parts if isinstance(part, Clause))
                found.append(AnyOf(clauses, " or ".join(clause.text for clause in clauses), item.line))
            case _:
                mistakes.append(Mistake(f"{shown}:{item.line}", "a condition is a text or `any:` with a list"))
    return tuple(found)


def _clause(text: str, line: int, vocabulary: Vocabulary, shown: str, mistakes: list[Mistake]) -> Clause | None:
    text = " ".join(text.split())
    parsed = _split(text)
    if parsed is None:
        hint = "write `fact operator literal`, a flag, or `not flag`"
        mistakes.append(Mistake(f"{shown}:{line}", f"{text!r} is not a condition", hint))
        return None
    name, operator, literal = parsed
    if name not in vocabulary:
        close = vocabulary.nearest(name)
        hint = f"did you mean {close}?" if close else "perf-advisor probe --json lists the machine's facts"
        mistakes.append(Mistake(f"{shown}:{line}", f"no fact is called {name}", hint))
        return None
    try:
        return Clause(name, operator, _literal(literal, operator, vocabulary[name]), text, line)
    except ValueError as error:
        mistakes.append(Mistake(f"{shown}:{line}", f"{text}: {error}"))
        return None


def _split(text: str) -> tuple[str, Operator, str] | None:
    if comparison := _COMPARISON.fullmatch(text):
        return comparison[1], Operator(comparison[2]), comparison[3].strip()
    if flag := _FLAG.fullmatch(text):
        return flag[2], Operator.EQUAL, "" if not flag[1] else "not"
    return None


def _literal(text: str, operator: Operator, declaration: Declaration) -> Value:
    """The literal in the fact's kind. Raises ValueError when kind, operator and literal do not go together."""
    if declaration.kind is Kind.FLAG:
        if operator is not Operator.EQUAL or text not in ("", "not", "true", "false"):
            raise ValueError(f"{declaration.name} is a flag: write it bare, or with `not` before it")
        return text in ("", "true")
    if text in ("", "not"):
        raise ValueError(f"{declaration.name} is no flag but a {declaration.kind.value}: compare it with a value")
    if operator is Operator.IN:
        parts = [part.strip() for part in text.strip("[]").split(",")]
        return tuple(str(typed(part, declaration)) for part in parts)
    if (operator in _OF_LISTS) != (declaration.kind is Kind.NAMES):
        raise ValueError(f"`has` and `lacks` ask a list of names; {declaration.name} is a {declaration.kind.value}")
    if operator not in (Operator.EQUAL, Operator.UNEQUAL, *_OF_LISTS) and declaration.kind not in _ORDERED:
        raise ValueError(f"a {declaration.kind.value} has no order; use ==, != or in")
    return text if operator in _OF_LISTS else typed(text, declaration)


def judge(condition: Condition, facts: Facts) -> bool | None:
    """True, False, or None where an unknown fact leaves it open."""
    if isinstance(condition, Clause):
        return _judge_clause(condition, facts)
    found = [_judge_clause(clause, facts) for clause in condition.clauses]
    if any(verdict is True for verdict in found):
        return True
    return None if None in found else False


def _judge_clause(clause: Clause, facts: Facts) -> bool | None:
    fact = facts.get(clause.fact)
    if isinstance(fact, Unknown):
        return None
    value, literal = fact.value, clause.literal
    match clause.operator:
        case Operator.IN:
            return str(value) in literal if isinstance(literal, tuple) else None
        case Operator.HAS:
            return literal in value if isinstance(value, tuple) else None
        case Operator.LACKS:
            return literal not in value if isinstance(value, tuple) else None
        case Operator.EQUAL | Operator.UNEQUAL:
            return (_ordered(value) == _ordered(literal)) == (clause.operator is Operator.EQUAL)
        case _:
            return _COMPARE[clause.operator](_ordered(value), _ordered(literal))


@cache
def _version(text: str) -> "Version | str":
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text)
    except InvalidVersion:
        return text


def _ordered(value: Value) -> "Value | Version":
    """A value in a form that compares rightly: version texts as versions (2.10 after 2.9)."""
    return _version(value) if isinstance(value, str) and value[:1].isdigit() else value


_COMPARE: dict[Operator, Callable[..., bool]] = {
    Operator.AT_LEAST: lambda a, b: a >= b,
    Operator.AT_MOST: lambda a, b: a <= b,
    Operator.ABOVE: lambda a, b: a > b,
    Operator.BELOW: lambda a, b: a < b,
}
