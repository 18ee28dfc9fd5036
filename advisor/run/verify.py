"""Baseline against plan: measured in turn, judged against the noise, the outputs compared.

Each measurement is a fresh process (handed in as a function, so that the judgement is tested without one). The order is
baseline, plan, baseline, plan; the baseline is the anchor that shows whether the machine itself changed meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from advisor.run.agreement import Agreement, Terms, agreement
from advisor.run.figures import Failed, Measured, Measurement, pooled, spread
from advisor.setup import Setup

HOLDS, NO_BETTER, SLOWER, FAILS = "holds", "no better than noise", "slower", "fails"
LEAST_NOISE = 0.03
"""Differences below this are never called a gain, however quiet the few runs were: a choice, equal to the smallest
gain that a plan promises."""
MOST_DRIFT = 0.15
"""Baseline medians of two rounds that differ by more belong to a machine that changed between them."""
MOST_ROUNDS = 3
CLEARLY_SLOWER = 0.6
"""A plan that reaches less than this share of the baseline gets no second round."""
MEMORY_NOISE = 0.02
"""Differences of peak memory below this are the allocator's."""

TryOut = Callable[[Setup], Measurement]


@dataclass(frozen=True)
class Verdict:
    """`word` is HOLDS, NO_BETTER, SLOWER or FAILS; `gain` the factor by which the plan is better in what the goal asks
    for (None where one side has no figures); `noise` what the same setup varies by; `reason` one line."""

    word: str
    gain: float | None
    noise: float | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.word, "gain": self.gain, "noise": self.noise, "reason": self.reason}


@dataclass(frozen=True)
class Comparison:
    """Both sides with all their rounds. `drift` is how far the baseline's two rounds lie apart; `drifted` says that
    they still did after a repetition, so that the figures deserve distrust."""

    baseline: Measurement
    plan: Measurement
    verdict: Verdict
    agreement: Agreement | None
    drift: float | None = None
    drifted: bool = False


@dataclass(frozen=True)
class Aim:
    """What counts: the plan's goal, and whether a process serves many requests or one (then its first one counts)."""

    goal: str
    repeats: bool
    random_weights: bool


def verify(baseline: Setup, plan: Setup, aim: Aim, try_out: TryOut, known: Measurement | None = None) -> Comparison:
    """Measure both setups in turn and judge. `known` is a baseline measured before; it serves as the first round."""
    first = known if known is not None else try_out(baseline)
    trial = try_out(plan)
    terms = Terms(baseline, plan, aim.random_weights)
    if isinstance(first, Failed) or isinstance(trial, Failed):
        return Comparison(first, trial, _failure(first, trial), None)
    early = judge(first, trial, aim)
    if early.gain is not None and early.gain < CLEARLY_SLOWER and trial.quiet:
        return Comparison(first, trial, early, agreement(first, trial, terms))
    rounds = _more_rounds(baseline, plan, (first, trial), aim, try_out)
    if isinstance(rounds.plan, Failed) or isinstance(rounds.baseline, Failed):
        return rounds
    agreed = agreement(rounds.baseline, rounds.plan, terms)
    verdict = rounds.verdict
    if agreed.broken:
        verdict = replace(verdict, word=FAILS, reason=agreed.broken)
    return replace(rounds, verdict=verdict, agreement=agreed)


Round = tuple[Measured, Measured]


def _more_rounds(baseline: Setup, plan: Setup, first: Round, aim: Aim, try_out: TryOut) -> Comparison:
    """A second round; a third where the machine changed between them, and then the two that are most alike."""
    rounds = [first]
    while True:
        again, after = try_out(baseline), try_out(plan)
        if isinstance(again, Failed) or isinstance(after, Failed):
            return Comparison(again, after, _failure(again, after), None)
        rounds.append((again, after))
        one, other = min(combinations(rounds, 2), key=_drift)
        drift = _drift((one, other))
        if drift <= MOST_DRIFT or len(rounds) == MOST_ROUNDS:
            break
    before, trial = pooled([one[0], other[0]]), pooled([one[1], other[1]])
    return Comparison(before, trial, judge(before, trial, aim), None, drift, drift > MOST_DRIFT)


def _drift(pair: tuple[Round, Round]) -> float:
    """How far the baseline's medians of two rounds lie apart."""
    seconds = sorted(side[0].seconds for side in pair)
    return seconds[1] / seconds[0] - 1


def _failure(baseline: Measurement, plan: Measurement) -> Verdict:
    """The verdict where at least one side gave no figures. A baseline that does not run is what a plan is for."""
    match baseline, plan:
        case _, Failed(stage, reason):
            return Verdict(FAILS, None, None, f"at {stage}: {reason}")
        case Failed(stage, reason), _:
            return Verdict(HOLDS, None, None, f"it runs; the setup of today does not (at {stage}: {reason})")
    raise AssertionError("both sides have figures")


def judge(baseline: Measured, plan: Measured, aim: Aim) -> Verdict:
    """The verdict on two measured setups: by the peak of memory for the goals `memory` and `fit`, else by the speed."""
    if judged_by_memory(aim, baseline, plan):
        saved = (baseline.peak_bytes or 0) / (plan.peak_bytes or 1)
        return _judge_gain(saved, MEMORY_NOISE, "less memory")
    faster = request_seconds(baseline, aim) / request_seconds(plan, aim)
    loud = "" if baseline.quiet and plan.quiet else "; other programs disturbed every run of one side"
    return _judge_gain(faster, noise(baseline, plan, aim), "the speed", loud)


def judged_by_memory(aim: Aim, baseline: Measurement, plan: Measurement) -> bool:
    """Whether memory is what counts, and is known of both sides."""
    known = all(isinstance(side, Measured) and side.peak_bytes for side in (baseline, plan))
    return known and aim.goal in ("memory", "fit")


def request_seconds(measured: Measured, aim: Aim) -> float:
    """Seconds of one request: in a process that serves one alone, of its first, compilation included."""
    return measured.seconds if aim.repeats else sum(measured.first_seconds) / len(measured.first_seconds)


def noise(baseline: Measured, plan: Measured, aim: Aim) -> float:
    """What the same setup varies by, the worse of the two sides, as a share."""
    sides = [
        spread([run.seconds for run in side.counted] if aim.repeats else side.first_seconds)
        for side in (baseline, plan)
    ]
    return max(LEAST_NOISE, *sides)


def _judge_gain(gain: float, noise: float, what: str, remark: str = "") -> Verdict:
    said = f"{gain:.2f} times {what}; the same setup varies by {noise:.0%}{remark}"
    if gain > 1 + noise:
        return Verdict(HOLDS, gain, noise, said)
    if gain < 1 - noise:
        return Verdict(SLOWER, gain, noise, said)
    return Verdict(NO_BETTER, gain, noise, said)
