"""Sentences with the figures of this text and this machine. A sentence that names an unknown figure is left out."""

from collections.abc import Sequence

from advisor.amounts import size
from advisor.clauses import AnyOf, Clause, Condition, clauses_of, judge
from advisor.facts import Facts, Known, Unknown, Value
from advisor.patterns import when_used

_PLACEHOLDER = when_used(r"\{([a-z][\w.]{0,60})\}")


def sentences(written: Sequence[str], facts: Facts) -> str:
    """Those of the sentences whose figures are all known, with the figures in place."""
    return " ".join(filter(None, (_filled(sentence, facts) for sentence in written)))


def _filled(sentence: str, facts: Facts) -> str | None:
    values = {name: _value(name, facts) for name in _PLACEHOLDER.findall(sentence)}
    if any(value is None for value in values.values()):
        return None
    return _PLACEHOLDER.sub(lambda found: values[found[1]] or "", sentence)


def typed_out(command: str, facts: Facts) -> str | None:
    """A command with the text's figures as they are typed, without units and separators; None where one is unknown."""
    values = {name: facts.value(f"text.{name}") for name in _PLACEHOLDER.findall(command)}
    if any(value is None for value in values.values()):
        return None
    return _PLACEHOLDER.sub(lambda found: str(values[found[1]]), command)


def _value(name: str, facts: Facts) -> str | None:
    for full in (f"text.{name}", name):
        fact = facts.get(full)
        if isinstance(fact, Known):
            return formatted(full, fact.value)
    return None


def formatted(name: str, value: Value) -> str:
    """A value as people read it; the unit is the end of the fact's name."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, str):
        return value
    if name.endswith("_bytes"):
        return size(value)
    if name.endswith("_share"):
        return f"{value:.0%}" if value < 2 else f"{value:.1f} times"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else f"{value:g}"


def hindrance(conditions: Sequence[Condition], facts: Facts) -> str | None:
    """The first condition that fails here, in words; None where none fails."""
    failing = next((condition for condition in conditions if judge(condition, facts) is False), None)
    return None if failing is None else _in_words(failing, facts)


def _in_words(condition: Condition, facts: Facts) -> str:
    if isinstance(condition, AnyOf):
        return " and ".join(_clause_in_words(clause, facts) for clause in clauses_of(condition))
    return _clause_in_words(condition, facts)


def _clause_in_words(clause: Clause, facts: Facts) -> str:
    fact = facts.get(clause.fact)
    subject = clause.fact.removeprefix("text.").replace("_", " ")
    if clause.fact.endswith((".installed", ".found")):
        return f"{clause.fact.rpartition('.')[0]} is not installed" if clause.literal is True else f"{subject}"
    match fact:
        case Unknown(reason):
            return f"{clause.text} is unknown ({reason})"
        case Known(value):
            return f"needs {clause.text}, found {formatted(clause.fact, value)}"
