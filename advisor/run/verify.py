"""Baseline against plan: measured in turn, judged against the noise, the outputs compared.

Each measurement is a fresh process (handed in as a function, so that the judgement is tested without one). The order is
baseline, plan, baseline, plan; the baseline is the anchor that shows whether the machine itself changed meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
CLEARLY_SLOWER = 0.6
"""A plan that reaches less than this share of the baseline's speed gets no second round."""
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
    if early.gain is not None and early.gain < CLEARLY_SLOWER:
        return Comparison(first, trial, early, agreement(first, trial, terms))
    rounds = _second_round(baseline, plan, first, trial, aim, try_out)
    if isinstance(rounds.plan, Failed) or isinstance(rounds.baseline, Failed):
        return rounds
    agreed = agreement(rounds.baseline, rounds.plan, terms)
    verdict = rounds.verdict
    if verdict.word != FAILS and agreed.broken:
        verdict = replace(verdict, word=FAILS, reason=agreed.broken)
    return replace(rounds, verdict=verdict, agreement=agreed)


def _second_round(
    baseline: Setup, plan: Setup, first: Measured, trial: Measured, aim: Aim, try_out: TryOut
) -> Comparison:
    """The second round, and a third in place of the first where the machine changed between them."""
    befores, afters = [first], [trial]
    drift = 0.0
    for _ in range(2):
        again, after = try_out(baseline), try_out(plan)
        if isinstance(again, Failed) or isinstance(after, Failed):
            return Comparison(again, after, _failure(again, after), None)
        befores, afters = [befores[-1], again], [afters[-1], after]
        drift = abs(befores[1].seconds / befores[0].seconds - 1)
        if drift <= MOST_DRIFT:
            break
    one, other = pooled(befores), pooled(afters)
    return Comparison(one, other, judge(one, other, aim), None, drift, drift > MOST_DRIFT)


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
    if aim.goal in ("memory", "fit") and (saved := _memory_gain(baseline, plan)) is not None:
        return _judge_gain(saved, MEMORY_NOISE, "of the peak memory")
    faster = request_seconds(baseline, aim) / request_seconds(plan, aim)
    return _judge_gain(faster, noise(baseline, plan, aim), "of the speed")


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


def _memory_gain(baseline: Measured, plan: Measured) -> float | None:
    before, after = baseline.peak_bytes, plan.peak_bytes
    return before / after if before and after else None


def _judge_gain(gain: float, noise: float, what: str) -> Verdict:
    said = f"{gain:.2f} {what}; the same setup varies by {noise:.0%}"
    if gain > 1 + noise:
        return Verdict(HOLDS, gain, noise, said)
    if gain < 1 - noise:
        return Verdict(SLOWER, gain, noise, said)
    return Verdict(NO_BETTER, gain, noise, said)
