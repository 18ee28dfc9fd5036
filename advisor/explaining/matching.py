"""Which rule explains a text. Every sign of every rule is held against it; the order of reading decides among those
that hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from advisor.clauses import clauses_of, judge
from advisor.errorbook import STAGES, ErrorRule, Sign
from advisor.reading import Passage

MEMORY = "memory"
"""Under `over`, a sign of this name explains a memory message away: the message follows from the error."""


DEVICE_SIZED = 0.9
"""A request of this share of the device's total fits in no case: the context takes the rest. The frames that name its
tensor are then read as early as the request itself."""


ERROR = STAGES.index("error")
"""Memory that is only told of in somebody's own words is read after the errors that a library printed."""


@dataclass(frozen=True)
class Match:
    """A sign that holds: where the text shows it (position in the squeezed text), and how much of it is words."""

    rule: ErrorRule
    sign: Sign
    position: int
    letters: int


def best(rules: Sequence[ErrorRule], passage: Passage) -> Match | None:
    """The match that explains the text, or None."""
    return next(iter(ranked(rules, passage)), None)


def ranked(rules: Sequence[ErrorRule], passage: Passage) -> list[Match]:
    """Every match, the one that explains the text first.

    What a sign is declared to be over is left out. Then the earliest stage decides, so that a memory failure is read
    before any other error, which may follow from it; then, of two that hold, the one that stands further down, which
    is the innermost call; then the one that asks for more.
    """
    matches = [match for rule in rules for sign in rule.signs if (match := held(rule, sign, passage))]
    return sorted(_not_overruled(matches), key=lambda match: _order(match, passage))


def _order(match: Match, passage: Passage) -> tuple[float, int, int, int, str]:
    stage: float = STAGES.index(match.sign.stage)
    share = passage.facts.number("text.request_share") or 0
    if match.sign.stage == "operation" and share >= DEVICE_SIZED:
        stage = STAGES.index("request")
    if match.sign.kinds and passage.said and passage.said.form.name == "told" and stage < ERROR:
        stage = ERROR + stage / len(STAGES)
    return stage, -match.position, -len(match.sign.when), -match.letters, match.rule.id


def _not_overruled(matches: Sequence[Match]) -> Iterator[Match]:
    overruled = {name for match in matches for name in match.sign.over if name != match.rule.id}
    for match in matches:
        if match.rule.id not in overruled and not (MEMORY in overruled and match.sign.kinds):
            yield match


def held(rule: ErrorRule, sign: Sign, passage: Passage) -> Match | None:
    """The match if this sign holds for the passage: its kind, all its conditions, all its phrases, none of `unless`.
    A sign that names no phrase and no tensor stands before all that do (-1)."""
    if sign.kinds and (passage.said is None or passage.said.form.kind not in sign.kinds):
        return None
    if sign.stage == "symptom" and not passage.facts.is_true("text.description"):
        return None
    if any(judge(condition, passage.facts) is not True for condition in sign.when):
        return None
    places = _places(sign, passage)
    if places is None or any(passage.find(phrase) for phrase in sign.unless):
        return None
    letters = sum(stop - start for start, stop in places)
    return Match(rule, sign, max((start for start, _ in places), default=_place_of_facts(sign, passage)), letters)


def _place_of_facts(sign: Sign, passage: Passage) -> int:
    """Where the conditions are told: only the tensor that failed has a place of its own."""
    asked = {clause.fact for condition in sign.when for clause in clauses_of(condition)}
    return passage.tensor_at if "text.tensor" in asked else -1


def _places(sign: Sign, passage: Passage) -> list[tuple[int, int]] | None:
    """The last place of any phrase of each group; None where a group has none."""
    places = []
    for groups, find in ((sign.says, passage.find), (sign.frames, passage.find_in_scope)):
        for group in groups:
            found = [place for phrase in group if (place := find(phrase))]
            if not found:
                return None
            places.append(max(found))
    return places
