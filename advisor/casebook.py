"""Runs the cases that rule files carry, and refuses a rule with a condition that no case isolates.

A case isolates a condition when that condition fails in it and every other one holds. Comparisons must stand on their
boundary in the base case, so that `>= 8.0` cannot drift to `> 8.0` unnoticed.
"""

from collections.abc import Iterator, Sequence

from advisor.clauses import AnyOf, Clause, Condition, Operator, judge
from advisor.engine import verdict
from advisor.errors import Mistake, nearest
from advisor.facts import Facts, Known, Vocabulary
from advisor.order import unordered
from advisor.rule import Case, Rule, show

_BOUNDARY = (Operator.AT_LEAST, Operator.AT_MOST)


def check(rules: Sequence[Rule], vocabulary: Vocabulary) -> list[Mistake]:
    """Every case that gives another verdict than it says, every condition that no case isolates, and every pair of
    rules that set one knob differently without an order between them."""
    each = [mistake for rule in rules for mistake in _of_rule(rule, vocabulary)]
    return [*each, *_strangers(rules), *unordered(rules)]


def _of_rule(rule: Rule, vocabulary: Vocabulary) -> Iterator[Mistake]:
    yield from _wrong_verdicts(rule)
    # Every case is the base with something replaced: where the base does not fire, no condition can be isolated, and
    # lines that ask for cases which stand there would mislead.
    if not rule.cases or verdict(rule, rule.cases[0].facts).name == rule.cases[0].verdict:
        yield from _gaps(rule, vocabulary)


def _strangers(rules: Sequence[Rule]) -> Iterator[Mistake]:
    """Names under `outranks` that no rule of these folders has."""
    names = {rule.id for rule in rules}
    for rule in rules:
        for name in rule.outranks:
            if name not in names:
                close = nearest(name, names)
                yield Mistake(
                    rule.path, f"outranks {name}, which is no rule", f"did you mean {close}?" if close else ""
                )


def _wrong_verdicts(rule: Rule) -> Iterator[Mistake]:
    for case in rule.cases:
        found = verdict(rule, case.facts)
        if found.name != case.verdict:
            reasons = "; ".join(str(because) for because in found.because)
            what = f"case {case.name!r} {_SHOULD[case.verdict]} and {_DOES[found.name]}: {reasons}"
            hint = "a case knows only the facts that it or the base names" if found.name == "undecided" else ""
            yield Mistake(f"{rule.path}:{case.line}", what, hint)


_SHOULD = {"fires": "should fire"} | {name: f"should be {name}" for name in ("silent", "blocked", "undecided")}
_DOES = {"fires": "fires"} | {name: f"is {name}" for name in ("silent", "blocked", "undecided")}


def _gaps(rule: Rule, vocabulary: Vocabulary) -> Iterator[Mistake]:
    for conditions, expected in ((rule.when, "silent"), (rule.requires, "blocked")):
        for condition in conditions:
            place = f"{rule.path}:{condition.line}"
            isolating = _isolating(rule, condition, expected)
            if not isolating:
                what = f"no {expected} case in which only `{condition.text}` fails"
                yield Mistake(place, what, f"add under {expected}: {_suggestion(condition, vocabulary)}")
            elif isinstance(condition, AnyOf):
                yield from _any_gaps(rule, condition)
            else:
                yield from _clause_gaps(rule, condition, isolating, vocabulary)


def _isolating(rule: Rule, condition: Condition, expected: str) -> list[Case]:
    others = [other for other in (*rule.when, *rule.requires) if other is not condition]
    return [
        case
        for case in rule.cases
        if case.verdict == expected
        and judge(condition, case.facts) is False
        and all(judge(other, case.facts) is True for other in others)
    ]


def _any_gaps(rule: Rule, condition: AnyOf) -> Iterator[Mistake]:
    """Each alternative needs a firing case in which it alone holds."""
    firing = [case.facts for case in rule.cases if case.verdict == "fires"]
    for clause in condition.clauses:
        others = [other for other in condition.clauses if other is not clause]
        alone = any(judge(clause, f) is True and not any(judge(o, f) is True for o in others) for f in firing)
        if not alone:
            what = f"no firing case in which `{clause.text}` alone of its group holds"
            yield Mistake(f"{rule.path}:{condition.line}", what)


def _clause_gaps(rule: Rule, clause: Clause, isolating: list[Case], vocabulary: Vocabulary) -> Iterator[Mistake]:
    place = f"{rule.path}:{clause.line}"
    base = rule.cases[0].facts.get(clause.fact) if rule.cases else None
    if clause.operator in _BOUNDARY and isinstance(base, Known) and base.value != clause.literal:
        what = f"the base case does not stand on the boundary of `{clause.text}`"
        yield Mistake(place, what, f"base: {clause.fact}: {show(clause.literal)}")
    choices = vocabulary[clause.fact].values
    third = clause.operator is Operator.EQUAL and isinstance(clause.literal, str) and len(choices) != 2
    if third and len({_value(case.facts, clause.fact) for case in isolating}) < 2:
        yield Mistake(place, f"`{clause.text}` has only one other value in its cases", "add a case with a third value")


def _value(facts: Facts, name: str) -> str:
    return str(facts.value(name))


_NEXT = {Operator.AT_LEAST: -1, Operator.EQUAL: -1, Operator.AT_MOST: 1}
"""What to add to a literal so that it no longer satisfies the comparison; the others fail on the literal itself."""


def _suggestion(condition: Condition, vocabulary: Vocabulary) -> str:
    """A line that can be pasted: the condition's fact with a value that fails it."""
    clause = condition.clauses[0] if isinstance(condition, AnyOf) else condition
    literal = clause.literal
    if isinstance(literal, bool):
        value = show(not literal)
    elif isinstance(literal, int | float):
        value = str(literal + _NEXT.get(clause.operator, 0))
    else:
        others = [name for name in vocabulary[clause.fact].values if name != literal and name not in str(literal)]
        value = others[0] if others else "another value"
    return f"{{{clause.fact}: {value}}}"
