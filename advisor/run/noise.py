"""How far the same setup lies from itself when it is measured again, and what a gain must exceed to be claimed. Pure.

A process is one sample: what differs from one process to the next (where memory lies, which cores, how hot the machine
is) does not average out over the runs inside it. Samples are few, so that what they vary by is itself badly known;
Student's t says by how much: with two processes a side the threshold is 10 standard errors, with four it is 3.7.

Two tests are made on the logarithms and the kinder one counts: of the two sides apart (2n - 2 degrees of freedom), and
of the rounds' ratios (n - 1), from which a machine's drift falls out: the two sides of a round follow each other.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

LEAST = 0.03
"""Differences below this are never called a gain, however quiet the few runs were: a choice, equal to the smallest
gain that a plan promises."""
BOLD = 1.5
"""A smaller gain takes three rounds. A machine with two speeds, by chance slow for both processes of the baseline and
fast for both of the plan, looks perfectly quiet: that happens in 1 of 16 measurements with two rounds, in 1 of 64 with
three. Two speeds further apart than this were not seen."""
STUDENT = {1: 63.66, 2: 9.925, 3: 5.841, 4: 4.604, 5: 4.032, 6: 3.707}
"""Student's t by degrees of freedom, exceeded by chance in 0.5 % of cases on one side: there are three looks (after
two, three and four rounds), and together they may claim falsely in fewer than 2 of 100."""


@dataclass(frozen=True)
class Noise:
    """What measuring again gave, as shares: how far the baseline's processes lie apart, how far the plan's do (None
    where there was one process), how far the runs inside a process lie apart, and by how much a gain must exceed 1."""

    rounds: int
    baseline: float | None
    plan: float | None
    within: float
    needed: float

    @property
    def varies(self) -> float:
        """What the same setup varies by, measured again; of runs where there was one process a side."""
        if self.baseline is None or self.plan is None:
            return max(LEAST, self.within)
        return max(LEAST, self.baseline, self.plan)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "varies": self.varies}


def noise(baseline: Sequence[float], plan: Sequence[float], within: float) -> Noise:
    """The noise of seconds of each side's processes, in the order of the rounds; `within` is the spread of runs."""
    rounds = len(baseline)
    if rounds < 2:
        return Noise(rounds, None, None, within, max(LEAST, within))
    needed = math.expm1(min(apart(baseline, plan), in_pairs(baseline, plan)))
    return Noise(rounds, reach(baseline), reach(plan), within, max(LEAST, needed))


def reach(values: Sequence[float]) -> float:
    """The largest over the smallest, less 1."""
    return max(values) / min(values) - 1


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    """What the difference of the mean logarithms must exceed, by the scatter of each side."""
    rounds = len(one)
    variance = (statistics.variance(map(math.log, one)) + statistics.variance(map(math.log, other))) / 2
    return STUDENT[2 * rounds - 2] * math.sqrt(variance * 2 / rounds)


def in_pairs(one: Sequence[float], other: Sequence[float]) -> float:
    """The same, by the scatter of the ratio from round to round."""
    ratios = [math.log(a / b) for a, b in zip(one, other, strict=True)]
    return STUDENT[len(ratios) - 1] * statistics.stdev(ratios) / math.sqrt(len(ratios))


def gain(baseline: Sequence[float], plan: Sequence[float]) -> float:
    """By which factor the plan takes less: the geometric mean of the rounds' ratios."""
    return math.exp(statistics.fmean(math.log(a / b) for a, b in zip(baseline, plan, strict=True)))
