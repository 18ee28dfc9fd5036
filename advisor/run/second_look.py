"""What holds is tried once more with each step that was taken back before the one to blame was found.

A plan that is slower names no step, so the highest on the ladder goes first, which may be the wrong one: batches of
changing shapes are slow because each shape is compiled, and the batches are taken back before the compilation is.
"""

from collections.abc import Callable
from dataclasses import replace

from advisor.conflicts import conflict
from advisor.run.choices import Choice, Choices, replaced, setup_of
from advisor.run.fallback import Attempt, Found
from advisor.run.figures import Measured, Measurement
from advisor.run.noise import LEAST
from advisor.run.verify import HOLDS, NO_BETTER, SLOWER, Aim, Comparison, TryOut, judge
from advisor.setup import Setup

Compare = Callable[[Setup, Measurement | None], Comparison]


def second_look(
    baseline: Setup,
    found: Found,
    first: Choices,
    aim: Aim,
    try_out: TryOut,
    compare: Compare,
    more: Callable[[int], bool],
    heard: Callable[[str], None] = lambda _: None,
) -> Found:
    """What was found, with the steps back in it that make it better still.

    `first` are the choices that the search began with. One process tells whether a step is worth a verification.
    """
    for choice in found.choices if found.holds else ():
        if not _went(choice, first) or not more(len(found.attempts) + 1):
            continue
        choices = replaced(found.choices, replace(choice, option=0, mended={}, reason=choice.step.summary))
        setup = setup_of(baseline, choices)
        if setup in {attempt.setup for attempt in found.attempts} or conflict(setup) is not None:
            continue
        heard(f"trying {choice.step.rule} once more, on top of what holds")
        if _gain(found.comparison.plan, try_out(setup), aim) <= 1 + LEAST:
            continue
        comparison = compare(setup, found.comparison.baseline)
        if comparison.verdict.word == HOLDS and (comparison.verdict.gain or 0) > (found.comparison.verdict.gain or 0):
            found = Found(choices, comparison, (*found.attempts, Attempt(setup, comparison.verdict)), True)
    return found


def _went(choice: Choice, first: Choices) -> bool:
    """Whether the search took the step back because the plan was too slow with it."""
    before = next((one for one in first if one.step is choice.step), None)
    return before is not None and before.kept and not choice.kept and choice.reason.startswith((SLOWER, NO_BETTER))


def _gain(before: Measurement, after: Measurement, aim: Aim) -> float:
    if isinstance(before, Measured) and isinstance(after, Measured):
        return judge(before, after, aim).gain or 0.0
    return 0.0
