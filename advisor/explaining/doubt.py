"""How sure a diagnosis is, and what would settle it where it is not.

A wrong answer is worse than none. So a cause that follows from one weak sign alone (only the phase, only the figures,
only that memory ran out) is told as one of two, with the question that separates them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advisor.clauses import AnyOf, clauses_of, judge
from advisor.errorbook import ErrorRule
from advisor.explaining.matching import Match
from advisor.reading import Passage

PLAIN = 20
"""Letters (squeezed) of a library's own words from which on they stand for one message only."""
SETTLED = ("limit", "request", "free", "others", "cached")
"""Stages that figures or a named limit settle."""
NOTHING_KNOWN = "unknown"
"""The cause that is none: its neighbours are what it may be."""
WEAK = ("bare", "remainder")
"""Stages in which nothing tells the call that failed."""


@dataclass(frozen=True)
class Candidate:
    """A cause that the text allows, and the question whose yes speaks for it."""

    cause: str
    summary: str
    ask: str

    def to_json(self) -> dict[str, Any]:
        return {"cause": self.cause, "summary": self.summary, "ask": self.ask or None}


def signs_that_agree(match: Match, passage: Passage) -> int:
    """How many independent things of the text speak for the match: words, frames, conditions, figures, the phase."""
    figures = passage.facts.number("text.figures") or 0
    counted = (
        bool(match.sign.says),
        len(match.sign.says) > 1,
        bool(match.sign.frames),
        bool(match.sign.when),
        match.letters >= PLAIN,
        bool(match.sign.kinds) and figures >= 3,
        bool(match.sign.kinds) and passage.facts.text("text.phase") is not None,
    )
    return sum(counted)


def confidence(match: Match, others: Sequence[Match], passage: Passage) -> str:
    """`high`, `medium` or `low`."""
    stage, signs = match.sign.stage, signs_that_agree(match, passage)
    if stage in WEAK:
        return "low" if signs < 3 else "medium"
    if stage in SETTLED:
        return "high"
    if stage == "symptom":
        rivals = {other.rule.id for other in others if other.sign.stage == stage} - {match.rule.id}
        return "low" if rivals else "medium"
    if stage in ("card", "phase"):
        return "medium" if signs >= 2 else "low"
    return "high" if signs >= 2 else "medium"


def candidates(
    match: Match, others: Sequence[Match], rules: Mapping[str, ErrorRule], passage: Passage
) -> tuple[Candidate, ...]:
    """The two causes that a text of little evidence allows: the one that was read, and the next that holds too, else
    the neighbour that the rule itself names. What the text rules out is no question."""
    rivals = [other.rule for other in others if other.rule.id != match.rule.id and other.sign.stage != "remainder"]
    named = rules.get(match.rule.neighbour) if match.rule.neighbour else None
    if named and _ruled_out(named, passage):
        named = None
    second = named or next(iter(rivals), None)
    if second is None:
        return ()
    pair: tuple[ErrorRule | None, ErrorRule | None] = (match.rule, second)
    if match.rule.id == NOTHING_KNOWN:
        pair = (second, rules.get(second.neighbour or ""))
    return tuple(Candidate(rule.id, rule.summary, rule.ask) for rule in pair if rule)


def _ruled_out(rule: ErrorRule, passage: Passage) -> bool:
    """Whether the kind of failure or a figure of the text contradicts every sign of the rule."""
    kind = passage.said.form.kind if passage.said else None
    return all(
        (sign.kinds and kind not in sign.kinds)
        or any(
            judge(clause, passage.facts) is False
            for condition in sign.when
            for clause in clauses_of(condition)
            if clause.fact.endswith("_bytes") and not isinstance(condition, AnyOf)
        )
        for sign in rule.signs
    )


def question(found: Sequence[Candidate]) -> str | None:
    """What to find out, from whichever of the two has a question of its own."""
    if not found:
        return None
    asked = next((each.ask for each in found if each.ask), None)
    return asked or " Or: ".join(f"{each.summary}?" for each in found)
