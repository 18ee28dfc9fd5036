"""Baseline against plan: measured in turn, judged against the noise, the outputs compared.

Each measurement is a fresh process (handed in as a function, so that the judgement is tested without one). The order is
baseline, plan, baseline, plan; the baseline measured twice shows how far the same setup lies from itself here, and a
plan that does not clearly exceed that is measured again, at most MOST_ROUNDS times (see noise.py).
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from advisor.run.acceptance import CANNOT, DRAFTS, differ_in_drafting
from advisor.run.agreement import Agreement, Terms, agreement
from advisor.run.figures import Failed, Measured, Measurement, Run, pooled, spread
from advisor.run.noise import BOLD, LEAST, Noise, gain, noise, reach
from advisor.setup import Setup

HOLDS, NO_BETTER, SLOWER, FAILS = "holds", "no better than noise", "slower", "fails"
MOST_DRIFT = 0.15
"""Baselines of two rounds that differ by more belong to a machine that changed between them: another round is made."""
FEWEST_ROUNDS, MOST_ROUNDS = 2, 4
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
    """Both sides with all their rounds. `drift` is how far the baseline's rounds lie apart; `drifted` says that they
    still did after repetitions, so that the figures deserve distrust. `noise` is None where there was one process."""

    baseline: Measurement
    plan: Measurement
    verdict: Verdict
    agreement: Agreement | None
    drift: float | None = None
    drifted: bool = False
    noise: Noise | None = None


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
    if aim.random_weights and aim.goal not in ("memory", "fit") and differ_in_drafting(baseline, plan):
        verdict = replace(verdict, word=NO_BETTER, reason=f"{CANNOT}: {DRAFTS} ({verdict.reason})")
    if agreed.broken:
        verdict = replace(verdict, word=FAILS, reason=agreed.broken)
    return replace(rounds, verdict=verdict, agreement=agreed)


Round = tuple[Measured, Measured]
Rounds = list[Round]


def _more_rounds(baseline: Setup, plan: Setup, first: Round, aim: Aim, try_out: TryOut) -> Comparison:
    """A second round, and more where the machine changed between them or the gain does not clearly exceed the noise.

    All rounds count that other programs left alone: to throw away those whose baseline strays would let chance choose
    what it is judged by.
    """
    rounds = [first]
    while len(rounds) < MOST_ROUNDS:
        again, after = try_out(baseline), try_out(plan)
        if isinstance(again, Failed) or isinstance(after, Failed):
            return Comparison(again, after, _failure(again, after), None)
        rounds.append((again, after))
        counted = _undisturbed(rounds)
        drift = reach([request_seconds(before, aim) for before, _ in counted])
        verdict, found = judge_rounds(counted, aim)
        settled = _settled(verdict) and (drift <= MOST_DRIFT or len(counted) > FEWEST_ROUNDS)
        if settled and len(counted) >= FEWEST_ROUNDS:
            break
    before, trial = (pooled([one[side] for one in rounds]) for side in (0, 1))
    return Comparison(before, trial, verdict, None, drift, drift > MOST_DRIFT, found)


def _undisturbed(rounds: Rounds) -> Rounds:
    """The rounds of two processes with a quiet run each; all where there is none."""
    return [one for one in rounds if one[0].quiet and one[1].quiet] or rounds


def _settled(verdict: Verdict) -> bool:
    """Whether another round would change nothing: it holds, it is slower, or it promises no gain."""
    return verdict.word != NO_BETTER or (verdict.gain is not None and verdict.gain <= 1 + LEAST)


def _failure(baseline: Measurement, plan: Measurement) -> Verdict:
    """The verdict where at least one side gave no figures. A baseline that does not run is what a plan is for."""
    match baseline, plan:
        case _, Failed(stage, reason):
            return Verdict(FAILS, None, None, f"at {stage}: {reason}")
        case Failed(stage, reason), _:
            return Verdict(HOLDS, None, None, f"it runs; the setup of today does not (at {stage}: {reason})")
    raise AssertionError("both sides have figures")


def judge(baseline: Measured, plan: Measured, aim: Aim) -> Verdict:
    """The verdict on one process a side (or what was pooled, taken as one)."""
    return judge_rounds([(baseline, plan)], aim)[0]


def judge_rounds(rounds: Rounds, aim: Aim) -> tuple[Verdict, Noise]:
    """The verdict on all rounds, and the noise in what it goes by: the peak of memory for the goals `memory` and `fit`,
    else the seconds of a request."""
    before, after = ([one[side] for one in rounds] for side in (0, 1))
    now, then = ([request_seconds(process, aim) for process in side] for side in (before, after))
    found = noise(now, then, within=max(_within(one, aim) for one in (*before, *after)))
    if all(judged_by_memory(aim, *one) for one in rounds):
        held, holds = ([float(process.peak_bytes or 1) for process in side] for side in (before, after))
        return _judge_memory(held, holds), found
    quiet = all(any(one.quiet for one in side) for side in (before, after))
    loud = "" if quiet else "; other programs disturbed every run of one side"
    return _judge_speed(gain(now, then), found, loud), found


def judged_by_memory(aim: Aim, baseline: Measurement, plan: Measurement) -> bool:
    """Whether memory is what counts, and is known of both sides."""
    known = all(isinstance(side, Measured) and side.peak_bytes for side in (baseline, plan))
    return known and aim.goal in ("memory", "fit")


def request_seconds(measured: Measured, aim: Aim) -> float:
    """Seconds of one request: in a process that serves one alone, of its first, compilation included."""
    if aim.repeats:
        return statistics.median(judged_seconds(run, aim) for run in measured.counted)
    return sum(measured.first_seconds) / len(measured.first_seconds)


def judged_seconds(run: Run, aim: Aim) -> float:
    """What is judged of one run. Of requests that arrive by themselves and should be answered sooner it is the latency
    that 95 of 100 keep: a service is promised by what its unlucky users wait, and the median hides a queue. For
    throughput it is the time until all are answered."""
    return run.serving.latency_p95_seconds if run.serving and aim.goal == "latency" else run.seconds


def _within(measured: Measured, aim: Aim) -> float:
    """How far the runs inside a process lie apart; a process has one first request."""
    return spread([judged_seconds(run, aim) for run in measured.counted]) if aim.repeats else 0.0


def _judge_memory(before: list[float], after: list[float]) -> Verdict:
    saved, varies = gain(before, after), max(MEMORY_NOISE, reach(before), reach(after))
    word = HOLDS if saved > 1 + varies else SLOWER if saved < 1 / (1 + varies) else NO_BETTER
    return Verdict(word, saved, varies, f"{saved:.2f} times less memory; {_varies(len(before), varies)}")


def _judge_speed(faster: float, found: Noise, remark: str) -> Verdict:
    """A gain is claimed only beyond what chance gives; a loss already where it exceeds what the setups vary by."""
    said = f"{faster:.2f} times the speed; {_varies(found.rounds, found.varies)}{remark}"
    bold = found.rounds != FEWEST_ROUNDS or faster >= BOLD
    if faster > 1 + found.needed and faster > 1 + LEAST and bold:
        return Verdict(HOLDS, faster, found.varies, said)
    if faster < 1 / (1 + found.varies):
        return Verdict(SLOWER, faster, found.varies, said)
    if faster > 1 + found.varies:
        said += f"; {found.rounds} rounds would prove a gain from {1 + found.needed:.2f} times on"
    return Verdict(NO_BETTER, faster, found.varies, said)


def _varies(rounds: int, share: float) -> str:
    how = {1: "varies", 2: "measured twice differs"}.get(rounds, f"measured {rounds} times differs")
    return f"the same setup {how} by {share:.0%}"
