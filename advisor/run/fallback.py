"""What does not hold is taken back: the step to blame goes to its next fallback, is mended, or goes out of the plan.

Pure apart from the measurements, which are handed in as a function.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from advisor.conflicts import conflict
from advisor.facts import Value
from advisor.plan import Step
from advisor.rule import RUNGS
from advisor.run.choices import LOG_CHARACTERS, Choice, Choices, named, replaced, setup_of
from advisor.run.figures import Failed, Measured, Measurement
from advisor.run.healing import NO_HEALER, Explained, Healer
from advisor.run.verify import FAILS, HOLDS, NO_BETTER, SLOWER, Aim, Comparison, Verdict, judge
from advisor.setup import Setup

PITFALLS = "pitfalls"
Knobs = frozenset[str]


@dataclass(frozen=True)
class Attempt:
    """One setup that was tried and its verdict; where it failed, what `explain` says, and what was tried for it."""

    setup: Setup
    verdict: Verdict
    explained: Explained | None = None
    remedy: Mapping[str, Value] | None = None


@dataclass(frozen=True)
class Found:
    """Where the search ended: the choices, the last comparison, everything that was tried, and whether it holds."""

    choices: Choices
    comparison: Comparison
    attempts: tuple[Attempt, ...]
    holds: bool


def search(
    baseline: Setup,
    choices: Choices,
    compare: Callable[[Setup, Measurement | None], Comparison],
    more: Callable[[int], bool],
    known: Measurement | None = None,
    healer: Healer = NO_HEALER,
) -> Found:
    """Try the plan; while it does not hold, mend or take back what is to blame and try again.

    `compare` measures a setup against the baseline, given the baseline's measurement as far as there is one; `more`
    says, by the number of attempts so far, whether there is time for another.
    """
    attempts: list[Attempt] = []
    while True:
        setup = setup_of(baseline, choices)
        comparison = compare(setup, known)
        known = comparison.baseline
        if _good_enough(comparison.verdict, choices):
            return Found(choices, comparison, (*attempts, Attempt(setup, comparison.verdict)), True)
        tried = {setup, *(attempt.setup for attempt in attempts)}
        less = _less(baseline, choices, comparison, tried, healer) if more(len(attempts) + 1) else None
        failed = comparison.plan if isinstance(comparison.plan, Failed) else None
        remedy = setup.difference(setup_of(baseline, less)) if less and failed else None
        attempts.append(Attempt(setup, comparison.verdict, healer.explain(failed) if failed else None, remedy))
        healer.tell(attempts[-1].explained, remedy)
        if less is None:
            return Found(choices, comparison, tuple(attempts), False)
        choices = less


def _less(
    baseline: Setup, choices: Choices, comparison: Comparison, tried: set[Setup], healer: Healer
) -> Choices | None:
    """A rule's own fallbacks first, then the general ladders, then without the step to blame."""
    verdict, failed = comparison.verdict, comparison.plan
    if not isinstance(failed, Failed):
        return take_back(baseline, choices, verdict, "", tried)
    knobs = healer.knobs(failed)
    return (
        own_fallback(baseline, choices, verdict, failed.log, tried, knobs)
        or healer.mended(baseline, choices, failed, tried, isinstance(comparison.baseline, Measured))
        or take_back(baseline, choices, verdict, failed.log, tried, knobs)
    )


def own_fallback(
    baseline: Setup, choices: Choices, verdict: Verdict, log: str, tried: set[Setup], knobs: Knobs
) -> Choices | None:
    """The choices with the step that the error names on its next fallback; None where its rule has no other."""
    kept = [choice for choice in choices if choice.kept]
    blamed = named(kept, verdict.reason) or named(kept, log[-LOG_CHARACTERS:]) or _sets(kept, knobs)
    if blamed is None:
        return None
    others = _next_option(baseline, choices, blamed, verdict, tried)
    return others if len([choice for choice in others if choice.kept]) == len(kept) else None


def _good_enough(verdict: Verdict, choices: Choices) -> bool:
    """It holds; or what is left are corrections alone and they cost nothing."""
    corrections = all(choice.step.rung == PITFALLS for choice in choices if choice.kept)
    return verdict.word == HOLDS or (verdict.word == NO_BETTER and corrections)


def take_back(
    baseline: Setup, choices: Choices, verdict: Verdict, log: str, tried: set[Setup], knobs: Knobs = frozenset()
) -> Choices | None:
    """The choices after the step to blame gave way: its next fallback that was not tried yet, else without it.

    None where nothing is left to try.
    """
    while blamed := blame(choices, verdict, log, knobs):
        choices = _next_option(baseline, choices, blamed, verdict, tried)
        setup = setup_of(baseline, choices)
        if setup == baseline:
            return None
        if setup not in tried and conflict(setup) is None:
            return choices
    return None


def _next_option(baseline: Setup, choices: Choices, blamed: Choice, verdict: Verdict, tried: set[Setup]) -> Choices:
    assert blamed.option is not None
    for option in range(blamed.option + 1, len(blamed.step.fallbacks) + 1):
        others = replaced(choices, replace(blamed, option=option, mended={}, reason=f"instead: {verdict.reason}"))
        setup = setup_of(baseline, others)
        if setup not in tried and setup != baseline and conflict(setup) is None:
            return others
    return replaced(choices, replace(blamed, option=None, reason=f"{verdict.word}: {verdict.reason}"))


def blame(choices: Choices, verdict: Verdict, log: str, knobs: Knobs = frozenset()) -> Choice | None:
    """The step to take back first: whose knob the error names, or the fixes of its explanation (`knobs`); then the
    highest rung; corrections come last."""
    kept = [choice for choice in choices if choice.kept]
    if verdict.word == FAILS:
        owner = named(kept, verdict.reason) or named(kept, log[-LOG_CHARACTERS:]) or _sets(kept, knobs)
        if owner is not None:
            return owner
    return max(kept, key=lambda choice: _height(choice.step), default=None)


def _sets(kept: Sequence[Choice], knobs: Knobs) -> Choice | None:
    return next((choice for choice in kept if knobs & set(choice.change)), None)


def _height(step: Step) -> int:
    """The step's place on the ladder; corrections of pitfalls stand below its foot."""
    return -1 if step.rung == PITFALLS else RUNGS.index(step.rung)


@dataclass(frozen=True)
class Climbed:
    """The plan tried step by step: what is left of it, and what each step measured on top of those before."""

    choices: Choices
    measured: Mapping[str, Measurement]


def step_by_step(
    baseline: Setup,
    choices: Choices,
    known: Measurement,
    aim: Aim,
    try_out: Callable[[Setup], Measurement],
    healer: Healer = NO_HEALER,
) -> Climbed:
    """Measure the steps one after another, each on top of those that were kept. What fails is mended where a fallback
    runs; leave out what fails or harms."""
    measured: dict[str, Measurement] = {}
    best = known
    for choice in choices:
        reached = _up_to(choices, choice)
        rest, setup = choices[len(reached) :], setup_of(baseline, reached)
        if problem := conflict(setup):
            choices = replaced(choices, replace(choice, option=None, reason=problem))
            continue
        trial = try_out(setup)
        if isinstance(trial, Failed):
            reached, trial = _mended_step(baseline, reached, trial, isinstance(best, Measured), healer, try_out)
        measured[choice.step.rule] = trial
        if wrong := _harm(best, trial, aim):
            reached = replaced(reached, replace(choice, option=None, reason=wrong))
        else:
            best = trial
        choices = (*reached, *rest)
    return Climbed(choices, measured)


def _mended_step(
    baseline: Setup,
    choices: Choices,
    failed: Failed,
    runs: bool,
    healer: Healer,
    try_out: Callable[[Setup], Measurement],
) -> tuple[Choices, Measurement]:
    """The choices with fallbacks in place of what fails, and their measurement; as they were where nothing runs."""
    last: Measurement = failed
    others, tried = choices, {setup_of(baseline, choices)}
    while isinstance(last, Failed):
        verdict = Verdict(FAILS, None, None, f"at {last.stage}: {last.reason}")
        knobs = healer.knobs(last)
        less = own_fallback(baseline, others, verdict, last.log, tried, knobs) or healer.mended(
            baseline, others, last, tried, runs
        )
        healer.tell(healer.explain(last), setup_of(baseline, others).difference(setup_of(baseline, less or others)))
        if less is None:
            return choices, failed
        others = less
        tried.add(setup_of(baseline, others))
        last = try_out(setup_of(baseline, others))
    return others, last


def _up_to(choices: Choices, last: Choice) -> Choices:
    return choices[: choices.index(last) + 1]


def _harm(before: Measurement, after: Measurement, aim: Aim) -> str | None:
    """Why the step between two measurements is left out, or None."""
    match before, after:
        case _, Failed(stage, reason):
            return f"{FAILS}: at {stage}: {reason}"
        case Measured(), Measured():
            verdict = judge(before, after, aim)
            return f"{SLOWER}: {verdict.reason}" if verdict.word == SLOWER else None
    return None
