"""From a pasted text to a diagnosis: what failed, why on this machine, and which remedies apply.

Pure: the text and the machine's facts come in, a finished object goes out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from advisor.clauses import Clause, clauses_of, judge
from advisor.errorbook import MEMORY_KINDS, STEPS, ErrorRule, Fix, Sign
from advisor.errors import Mistake
from advisor.facts import Facts, Known, Unknown
from advisor.reading import Passage, masked, read
from advisor.rule import show
from advisor.reading.sentences import sentences

LONGEST_QUOTE = 400
"""Characters of the quoted line."""
MEMORY_FIGURES = (
    "requested_bytes", "total_bytes", "free_bytes", "allocated_bytes", "reserved_bytes", "reserved_unallocated_bytes",
    "process_bytes", "other_process_bytes", "device_index",
)  # fmt: skip

_FRAME, _SIZE = STEPS.index("frame"), STEPS.index("size")
_DEVICE_SIZED = 0.9
"""A request of this share of the device's total cannot be placed whatever else is freed: the context takes the rest."""


@dataclass(frozen=True)
class Remedy:
    """A fix, and whether it applies: `yes`, `already`, `unknown`, or `no: reason`."""

    fix: Fix
    applies: str

    def to_json(self) -> dict[str, Any]:
        change = self.fix.change
        return {
            "id": self.fix.id,
            "summary": self.fix.summary,
            "change": None if change is None else {k: list(v) if isinstance(v, tuple) else v for k, v in change.items()},
            "command": self.fix.command,
            "applies": self.applies,
        }


@dataclass(frozen=True)
class Diagnosis:
    """What is known about one text. `rule` is None where the text was not recognized."""

    source: str
    kind: str | None
    rule: ErrorRule | None
    phase: str | None
    memory: dict[str, int | float | None]
    what: str
    why: str
    quoted_line: str
    fixes: tuple[Remedy, ...]

    @property
    def recognized(self) -> bool:
        return self.rule is not None

    def to_json(self) -> dict[str, Any]:
        name = self.rule.id if self.rule else None
        return {
            "source": self.source,
            "recognized": self.recognized,
            "kind": self.kind,
            "cause": name,
            "phase": self.phase,
            "rule": name,
            "memory": self.memory,
            "what": self.what,
            "why": self.why,
            "quoted_line": self.quoted_line,
            "fixes": [remedy.to_json() for remedy in self.fixes],
        }


@dataclass(frozen=True)
class Match:
    """A sign that holds, and where in the squeezed text it was seen (-1: in the figures alone)."""

    rule: ErrorRule
    sign: Sign
    step: int
    at: int


def explain(text: str, source: str, machine: Facts | None, rules: Sequence[ErrorRule]) -> Diagnosis:
    """What `text` reports. `machine` None: nothing is known about the machine, and remedies that depend on it say so."""
    passage = read(text)
    match = decide(passage, rules)
    if match is None:
        return Diagnosis(source, None, None, None, {}, _NOT_KNOWN, "", _quote(passage, -1), ())
    facts = (machine or Facts()) | passage.facts
    kind = match.sign.reports or (passage.facts.text("text.kind") if match.sign.kinds else None) or "error"
    in_memory = kind in MEMORY_KINDS
    return Diagnosis(
        source=source,
        kind=kind,
        rule=match.rule,
        phase=passage.facts.text("text.phase"),
        memory=_memory(passage) if in_memory else {},
        what=masked(sentences(match.rule.what, facts)),
        why=masked(sentences(match.rule.why, facts)),
        quoted_line=_quote(passage, -1 if in_memory else match.at),
        fixes=tuple(Remedy(fix, _applies(fix, facts)) for fix in match.rule.fixes),
    )


_NOT_KNOWN = "No rule knows this text. Paste the whole traceback, down to the last line of the error."


def decide(passage: Passage, rules: Sequence[ErrorRule]) -> Match | None:
    """The match of the earliest step of reading; within a step the one told last, which is the innermost call."""
    best: tuple[tuple[int, int, int, str], Match] | None = None
    share = passage.facts.number("text.request_share") or 0
    for rule in rules:
        for sign in rule.signs:
            step = _SIZE if sign.step == _FRAME and share >= _DEVICE_SIZED else sign.step
            if best and step > best[0][0]:
                continue
            at = _holds(sign, passage)
            if at is None:
                continue
            key = (step, -at, -len(sign.when) - len(sign.also), rule.id)
            if best is None or key < best[0]:
                best = key, Match(rule, sign, step, at)
    return best[1] if best else None


def _holds(sign: Sign, passage: Passage) -> int | None:
    """Where the sign is seen: a position, -1 where it names no phrase, None where it does not hold."""
    if sign.kinds and passage.facts.text("text.kind") not in sign.kinds:
        return None
    if any(judge(condition, passage.facts) is not True for condition in sign.when):
        return None
    find = passage.find_in_scope if sign.step == _FRAME else passage.find
    places = [place for written in sign.says if (place := find(written))]
    if sign.says and not places:
        return None
    if sign.also and not any(passage.find(written) for written in sign.also):
        return None
    if any(find(written) for written in sign.without):
        return None
    return max((start for start, _ in places), default=-1)


def _memory(passage: Passage) -> dict[str, int | float | None]:
    """The contract's figures, null where the text has none, and what else it gives."""
    found = dict(passage.figures)
    found.setdefault("reserved_unallocated_bytes", found.get("cached_unused_bytes"))  # type: ignore[arg-type]
    return {**{name: found.get(name) for name in MEMORY_FIGURES}, **found}


def _quote(passage: Passage, at: int) -> str:
    """The decisive line, without secrets."""
    if at >= 0:
        line = passage.line_at(at)
    elif passage.said is not None:
        line = passage.lines[passage.said.line].shown
    else:
        line = next((line.shown for line in reversed(passage.lines) if line.bare), "")
    line = masked(line)
    return line if len(line) <= LONGEST_QUOTE else line[: LONGEST_QUOTE - 3] + "..."


def _applies(fix: Fix, facts: Facts) -> str:
    in_force = facts.value("text.settings")
    if isinstance(in_force, tuple) and set(in_force) & set(fix.already):
        return "already"
    judged = [(condition, judge(condition, facts)) for condition in fix.when]
    for condition, verdict in judged:
        if verdict is False:
            return "no: needs " + "; ".join(_found(clause, facts) for clause in clauses_of(condition))
    return "unknown" if any(verdict is None for _, verdict in judged) else "yes"


def _found(clause: Clause, facts: Facts) -> str:
    match facts.get(clause.fact):
        case Known(value):
            return f"{clause.text}, found {show(value)}"
        case Unknown(reason):
            return f"{clause.text} (unknown: {reason})"


def failing_cases(rules: Sequence[ErrorRule]) -> Iterator[Mistake]:
    """Each in-file case whose text is explained by another rule than it says, or leaves its rule without a sentence."""
    for rule in rules:
        for case in rule.cases:
            found = explain(case.text, case.name, None, rules)
            name = found.rule.id if found.rule else None
            if name != case.rule:
                said = f"case {case.name!r} should go to {case.rule or 'nobody'} and goes to {name or 'nobody'}"
                yield Mistake(f"{rule.path}:{case.line}", said)
            elif found.rule and not (found.what and found.why):
                yield Mistake(f"{rule.path}:{case.line}", f"case {case.name!r} leaves no sentence of what or why")
