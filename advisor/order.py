"""Rules that set one knob to different values need an order between them: another rung, or `outranks`.

Rules whose conditions cannot hold together need none. Pure.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from advisor.clauses import Clause, Operator
from advisor.errors import Mistake
from advisor.facts import Value
from advisor.rule import Rule


def unordered(rules: Sequence[Rule]) -> Iterator[Mistake]:
    """A mistake for each pair that can fire together, sets one knob differently, and has no order."""
    for one, other in combinations(rules, 2):
        knobs = sorted(name for name in set(one.change) & set(other.change) if one.change[name] != other.change[name])
        if knobs and not ordered(one, other) and not exclusive(one, other):
            what = f"{one.id} and {other.id} set {', '.join(knobs)} differently and can fire together"
            yield Mistake(one.path, what, f"say which counts: `outranks: [{other.id}]`, or a condition that parts them")


def ordered(one: Rule, other: Rule) -> bool:
    """By the ladder, by correctness, or because one says that it outranks the other."""
    by_name = one.id in other.outranks or other.id in one.outranks
    return by_name or one.rung != other.rung or one.always != other.always


def exclusive(one: Rule, other: Rule) -> bool:
    """Whether some condition of one rules a condition of the other out, or they speak for different tasks."""
    if not set(one.tasks) & set(other.tasks):
        return True
    mine, yours = ([c for c in (*rule.when, *rule.requires) if isinstance(c, Clause)] for rule in (one, other))
    return any(a.fact == b.fact and contradict(a, b) for a in mine for b in yours)


def contradict(a: Clause, b: Clause) -> bool:
    """Whether no value of their common fact satisfies both clauses."""
    for first, second in ((a, b), (b, a)):
        allowed = _allowed(first)
        if allowed is not None:
            return not any(_satisfies(value, second) for value in allowed)
    low, high = (a, b) if a.operator in _FROM else (b, a)
    if low.operator in _FROM and high.operator in _TO:
        strict = low.operator is Operator.ABOVE or high.operator is Operator.BELOW
        return _above(low.literal, high.literal) or (strict and low.literal == high.literal)
    return False


_FROM = (Operator.AT_LEAST, Operator.ABOVE)
_TO = (Operator.AT_MOST, Operator.BELOW)


def _allowed(clause: Clause) -> tuple[Value, ...] | None:
    """The values that a clause lets through, where it names them."""
    if clause.operator is Operator.EQUAL:
        return (clause.literal,)
    if clause.operator is Operator.IN and isinstance(clause.literal, tuple):
        return clause.literal
    return None


def _satisfies(value: Value, clause: Clause) -> bool:
    literal = clause.literal
    match clause.operator:
        case Operator.EQUAL:
            return value == literal
        case Operator.UNEQUAL:
            return value != literal
        case Operator.IN:
            return isinstance(literal, tuple) and str(value) in literal
        case Operator.AT_LEAST:
            return not _above(literal, value)
        case Operator.AT_MOST:
            return not _above(value, literal)
        case Operator.ABOVE:
            return _above(value, literal)
        case Operator.BELOW:
            return _above(literal, value)
        case _:
            return True


def _above(one: Value, other: Value) -> bool:
    """Whether one number is greater; False for what has no plain order here, so that nothing is ruled out wrongly."""
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return numbers and float(one) > float(other)  # type: ignore[arg-type]
