"""The story of `explain`: read the text, find the rule, say it with the figures of this text and machine."""

from collections.abc import Iterator, Mapping, Sequence

from advisor.clauses import judge
from advisor.errorbook import ErrorRule, Fix
from advisor.explaining.arithmetic import arithmetic
from advisor.explaining.diagnosis import Diagnosis, FixFound
from advisor.explaining.doubt import candidates, confidence, question
from advisor.explaining.handled import went_on
from advisor.explaining.matching import Match, ranked
from advisor.explaining.missing import missing
from advisor.explaining.wording import hindrance, sentences, typed_out
from advisor.facts import Facts, Value
from advisor.reading import Passage, masked, read
from advisor.witness import in_force

LONGEST_QUOTE = 300
ERROR = "error"
"""The kind of a known failure that is no shortage of memory."""


def explain(text: str, source: str, machine: Facts | None, rules: Sequence[ErrorRule]) -> Diagnosis:
    """What went wrong in `text`. `source` names the text in the answer; `machine` lets fixes be checked against it."""
    passage = read(text)
    matches = ranked(rules, passage)
    if not matches:
        return Diagnosis(source, recognized=False, what=went_on(passage) or "", missing=missing(passage))
    match, *others = matches
    sure = confidence(match, others, passage)
    doubts = candidates(match, others, {rule.id: rule for rule in rules}, passage) if sure == "low" else ()
    facts = (machine or Facts()) | passage.facts
    kind = match.sign.reports or (passage.said.form.kind if passage.said and match.sign.kinds else ERROR)
    memory = kind != ERROR
    return Diagnosis(
        source=source,
        recognized=True,
        kind=kind,
        cause=match.rule.id,
        phase=passage.facts.text("text.phase"),
        rule=match.rule.id,
        summary=match.rule.summary,
        figures=_figures(passage) if memory else {},
        what=masked(sentences(match.sign.what, facts) or f"{match.rule.summary}."),
        why=masked(sentences(match.sign.why, facts)),
        quoted_line=_quoted(passage, match, memory),
        fixes=tuple(_fixes(match.rule.fixes, facts, in_force(passage))),
        arithmetic=arithmetic(passage) if memory else (),
        confidence=sure,
        candidates=doubts,
        question=question(doubts),
        missing=missing(passage) if sure == "low" else None,
        training=passage.of_training,
    )


def _figures(passage: Passage) -> dict[str, int | float]:
    """What the text states. `cached` of older versions of PyTorch is what newer ones call reserved but unallocated."""
    found = dict(passage.figures)
    if "cached_unused_bytes" in found:
        found.setdefault("reserved_unallocated_bytes", found["cached_unused_bytes"])
    return found


def _quoted(passage: Passage, match: Match, memory: bool) -> str:
    """The line that settles it: the message of a memory failure, else the words of the rule."""
    position = passage.said.start if memory and passage.said else match.position
    line = masked(passage.line_at(position)).strip()
    return line if len(line) <= LONGEST_QUOTE else line[: LONGEST_QUOTE - 3] + "..."


def _fixes(fixes: Sequence[Fix], facts: Facts, shown: Mapping[str, Value]) -> Iterator[FixFound]:
    """Fixes of one id are alternatives: the first whose conditions hold and whose figures are known is given."""
    given: set[str] = set()
    for fix in fixes:
        if fix.id in given or not all(judge(condition, facts) is True for condition in fix.when):
            continue
        command = None if fix.command is None else typed_out(fix.command, facts)
        if command is None and fix.command is not None:
            continue
        given.add(fix.id)
        yield FixFound(fix.id, fix.summary, fix.change, command, _applies(fix, facts, shown))


def _applies(fix: Fix, facts: Facts, shown: Mapping[str, Value]) -> str:
    """`shown` are knobs that the text shows to be set: what is in force is no advice."""
    if fix.change and all(shown.get(knob) == value for knob, value in fix.change.items()):
        return "already"
    if any(judge(condition, facts) is True for condition in fix.already):
        return "already"
    reason = hindrance(fix.needs, facts)
    if reason is not None:
        return f"no: {reason}"
    return "unknown" if any(judge(condition, facts) is None for condition in fix.needs) else "yes"
