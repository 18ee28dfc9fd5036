"""Runs the texts that error rules carry: each must be read as the case says."""

from collections.abc import Iterator, Sequence

from advisor.errorbook import Case, ErrorRule
from advisor.errors import Mistake
from advisor.explaining.story import explain


def test_cases(rules: Sequence[ErrorRule]) -> list[Mistake]:
    """Every case that is read otherwise, and every rule without a text that it explains.

    The rules must come with their cases (`load(..., kept=False)`).
    """
    return [mistake for rule in rules for mistake in _failures(rule, rules)]


# pytest collects by name; this is no test of its own.
test_cases.__test__ = False  # type: ignore[attr-defined]


def _failures(rule: ErrorRule, rules: Sequence[ErrorRule]) -> Iterator[Mistake]:
    if not any(case.rule == rule.id for case in rule.cases):
        yield Mistake(rule.path, "no text that this rule explains", "add one under explains")
    for case in rule.cases:
        found = explain(case.text, case.name, None, rules)
        if found.rule != case.rule:
            yield Mistake(f"{rule.path}:{case.line}", _what(case, found.rule))


def _what(case: Case, rule: str | None) -> str:
    return f"case {case.name!r} should be explained by {case.rule or 'nobody'} and is by {rule or 'nobody'}"
