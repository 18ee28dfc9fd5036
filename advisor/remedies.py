"""A diagnosis joined with the model: what would make it fit, by the estimate, the change that costs least first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from advisor.conflicts import conflict
from advisor.diagnosing import Diagnosis, Subject
from advisor.engine import fires
from advisor.explaining import FixFound
from advisor.facts import Facts, Known, Value
from advisor.merit import LOSS_PRICE
from advisor.plan import Estimate
from advisor.rule import FactReference
from advisor.setup import Setup
from advisor.workload import Workload

MOST_WAYS = 6
SIZES = ("batch", "prompt_tokens")


@dataclass(frozen=True)
class Way:
    """One change, of knobs or of the workload's sizes. `enough` says whether it closes the gap (None: not known),
    `speed` is the factor on all tokens a second, `quality` what it costs in outputs."""

    id: str
    summary: str
    change: Mapping[str, Value]
    total_bytes: int | None
    saved_bytes: int | None
    enough: bool | None
    speed: float | None
    quality: str | None

    def to_json(self) -> dict[str, Any]:
        change = {name: list(value) if isinstance(value, tuple) else value for name, value in self.change.items()}
        return {**vars(self), "change": change}


@dataclass(frozen=True)
class Remedies:
    """The setup in force and its workload, what they miss, and the ways out, the one that costs least first.

    `missing_bytes` is what the estimate misses; where it sees no shortage, what the text shows to be missing.
    `together` is the plan's whole change where no way alone suffices. Where only the text shows a shortage and
    `sizes_known` is false, nobody can say what helps: the requests were larger than assumed.
    """

    setup: Setup
    workload: Workload
    estimate: Estimate
    missing_bytes: int | None
    by_text: bool
    ways: tuple[Way, ...]
    together: Mapping[str, Value]
    together_fits: bool | None
    sizes_known: bool = True

    def to_json(self) -> dict[str, Any]:
        return {
            "workload": self.workload.to_json(),
            "estimate": self.estimate.to_json(),
            "missing_bytes": self.missing_bytes,
            "missing_by": "text" if self.by_text else "estimate",
            "ways": [way.to_json() for way in self.ways],
            "together": {k: list(v) if isinstance(v, tuple) else v for k, v in self.together.items()},
            "together_fits": self.together_fits,
            "sizes_known": self.sizes_known,
        }


def remedies(
    story: Diagnosis, subject: Subject, fixes: Sequence[FixFound], missing: int | None, sizes_known: bool = True
) -> Remedies:
    """What would make `subject` fit. `missing` is by how much the text's request was too large, `sizes_known` whether
    the sizes of the requests are told rather than assumed."""
    setup, _ = subject.baseline()
    here = story.estimate(subject, setup)
    short = _shortfall(here)
    by_text = not short and missing is not None
    gap = missing if by_text else short
    taken = here.memory.total_bytes
    found = Remedies(setup, subject.workload, here, gap, by_text, (), {}, None, sizes_known or not by_text)
    tight, closer = subject, story
    if by_text and missing is not None:
        if taken is None or missing >= taken or not sizes_known:
            return found
        # The process took more than predicted. Rules see as much less room as makes the prediction miss what was
        # missing; what a change saves is reckoned on the device as it is.
        tight = _tightened(subject, max(0, taken - missing))
        # Estimates are remembered for one machine.
        closer = Diagnosis(story.rules, story.estimators)
    wanted = gap if by_text else None
    tried = [_way(story, subject, here, wanted, *candidate) for candidate in _candidates(closer, tight, fixes)]
    ways = _ranked([way for way in tried if way is not None])
    if not gap or any(way.enough for way in ways):
        return replace(found, ways=ways)
    composed = closer.compose(replace(tight, workload=replace(tight.workload, goal="fit"))).setup
    there = story.estimate(subject, composed)
    return replace(found, ways=ways, together=setup.difference(composed), together_fits=_suffices(here, there, wanted))


def _suffices(here: Estimate, there: Estimate, wanted: int | None) -> bool | None:
    """Whether a change closes the gap: where the text tells it, by saving `wanted` bytes, else by fitting."""
    if wanted is None:
        return there.memory.fits
    before, after = here.memory.total_bytes, there.memory.total_bytes
    return None if before is None or after is None else before - after >= wanted


def _tightened(subject: Subject, free: int) -> Subject:
    """The subject on a device with less free memory."""
    name = "host.ram_available_bytes" if subject.baseline()[0].device == "cpu" else "gpu.memory_free_bytes"
    names = (name, "gpu.0.memory_free_bytes") if name.startswith("gpu") else (name,)
    return replace(subject, machine=subject.machine | Facts(dict.fromkeys(names, Known(free, "as the text shows"))))


def judged(fixes: Sequence[FixFound], setup: Setup) -> tuple[FixFound, ...]:
    """The fixes, with what is in force already said, and what the setup rules out."""
    return tuple(_judged(fix, setup) for fix in fixes)


def _judged(fix: FixFound, setup: Setup) -> FixFound:
    if not fix.change or fix.applies not in ("yes", "unknown"):
        return fix
    after = setup.changed(fix.change)
    if after == setup:
        return replace(fix, applies="already")
    reason = conflict(after) if conflict(setup) is None else None
    return replace(fix, applies=f"no: {reason}") if reason else fix


def _shortfall(estimate: Estimate) -> int | None:
    """Bytes that the estimate misses; 0 where it fits, None where it does not know."""
    memory = estimate.memory
    if memory.fits is None or memory.total_bytes is None or memory.available_bytes is None:
        return None
    return 0 if memory.fits else max(1, memory.total_bytes - memory.available_bytes)


_Candidate = tuple[str, str, Mapping[str, Value], str | None]


def _candidates(story: Diagnosis, subject: Subject, fixes: Sequence[FixFound]) -> Iterator[_Candidate]:
    """Changes of rules that fire, of fixes that apply, and smaller sizes of the workload."""
    setup, sources = subject.baseline()
    facts = story.facts(subject, setup, sources)
    for rule in story.rules:
        if rule.change and fires(rule, facts):
            yield rule.id, rule.summary, _values(rule.change, facts), rule.quality
    for fix in fixes:
        if fix.change and fix.applies in ("yes", "unknown"):
            yield fix.id, fix.summary, fix.change, None
    ask, told = story.estimators, (subject.model, subject.machine, subject.workload, setup)
    batch, length = ask.largest_batch(*told), ask.largest_context(*told)
    if batch and batch < subject.workload.batch:
        yield "smaller_batch", "Fewer prompts in one call", {"batch": batch}, None
    room = (length or 0) - (subject.workload.total_tokens - subject.workload.prompt_tokens)
    if 0 < room < subject.workload.prompt_tokens:
        yield "shorter_prompts", "Shorter prompts", {"prompt_tokens": room}, None


def _values(change: Mapping[str, Any], facts: Facts) -> dict[str, Value]:
    plain = {name: facts.value(v.fact) if isinstance(v, FactReference) else v for name, v in change.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _way(
    story: Diagnosis,
    subject: Subject,
    here: Estimate,
    wanted: int | None,
    name: str,
    summary: str,
    change: Mapping[str, Value],
    quality: str | None,
) -> Way | None:
    """The change judged by the estimate; None where it saves nothing, or cannot be."""
    setup, _ = subject.baseline()
    knobs = {knob: value for knob, value in change.items() if knob not in SIZES}
    sizes: dict[str, Any] = {size: value for size, value in change.items() if size in SIZES}
    after = setup.changed(knobs)
    if conflict(after) is not None or (after == setup and not sizes):
        return None
    there = story.estimate(replace(subject, workload=replace(subject.workload, **sizes)), after)
    total = there.memory.total_bytes
    saved = here.memory.total_bytes - total if here.memory.total_bytes is not None and total is not None else None
    if saved is not None and saved <= 0:
        return None
    rates = there.speed.total_tokens_per_second, here.speed.total_tokens_per_second
    speed = rates[0] / rates[1] if rates[0] and rates[1] else None
    return Way(name, summary, change, total, saved, _suffices(here, there, wanted), speed, quality)


def _ranked(ways: Sequence[Way]) -> tuple[Way, ...]:
    """What suffices first; of that what costs least. Equal changes count once."""
    once = {tuple(sorted((k, str(v)) for k, v in way.change.items())): way for way in reversed(ways)}
    ranked = sorted(once.values(), key=_rank)
    return tuple(ranked[:MOST_WAYS])


def _rank(way: Way) -> tuple[bool, bool, float, int]:
    """A way that does not suffice is ranked by what it saves; doing less is the last of those that do. Of the others,
    one that alters the outputs must be so many times faster than one that does not, as in the planner."""
    if not way.enough:
        return True, False, -float(way.saved_bytes or 0), 0
    worth = (1.0 if way.speed is None else way.speed) / (LOSS_PRICE if way.quality is not None else 1.0)
    return False, any(name in SIZES for name in way.change), -worth, len(way.change)
