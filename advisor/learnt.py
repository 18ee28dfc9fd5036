"""What this machine's own runs teach about predictions: how measured figures lie to predicted ones, by kind of setup.

A run's kind is the type of the weights, the way they are quantized, whether something compiles, and how prompts are
batched. Of the runs of one kind the median of measured over predicted counts, drawn towards 1 while they are few:

    factor = median ^ (n / (n + 2))

Two runs' weight stands for the formula: what a single run strays from its like (one shape to the next) is about as much
as what it strays from the formula, so that one run is believed by a third and six by three quarters. Pure.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from advisor.facts import Facts
from advisor.setup import Setup

FACT, COUNT = "speed.learnt", "speed.learnt_runs"
PRIOR_RUNS = 2.0
ENOUGH_RUNS = 5
"""From so many runs on, their residuals may narrow the band."""
ROOM = 1.5
"""The narrowed band reaches so many times as far as the largest residual of the runs, as a power."""
FIGURES = ("ttft_seconds", "decode_tokens_per_second", "total_tokens_per_second")
LARGEST = 100.0
"""Ratios beyond this are no measurement of the same thing."""


@dataclass(frozen=True)
class Ratios:
    """Measured over predicted of one run, by figure; a figure that was not measured is left out."""

    kind: str
    by_figure: Mapping[str, float]


@dataclass(frozen=True)
class Learnt:
    """Of `runs` runs of one kind: the factor for each figure, and the largest residual of the total rate, as a log."""

    kind: str
    runs: int
    factors: Mapping[str, float]
    spread: float

    def text(self) -> str:
        """As it stands in the fact."""
        factors = " ".join(f"{name}={self.factors[name]:.4f}" for name in FIGURES if name in self.factors)
        return f"{self.kind} runs={self.runs} spread={self.spread:.4f} {factors}".strip()

    def band(self, usual: tuple[float, float]) -> tuple[float, float]:
        """The band of a rate: the usual one, or a narrower one by these runs' residuals."""
        if self.runs < ENOUGH_RUNS:
            return usual
        reach = math.exp(ROOM * max(self.spread, math.log(1.05)))
        return max(usual[0], 1 / reach), min(usual[1], reach)


def kind(setup: Setup, dtype: str, scheme: str, together: bool) -> str:
    """The kind of a setup: `together` is whether a call takes more than one prompt."""
    compiled = "compiled" if setup.compile not in (None, "none") else "eager"
    batching = "continuous" if setup.batching == "continuous" else "many" if together else "one"
    return f"{dtype}/{scheme}/{compiled}/{batching}"


def summarized(runs: Iterable[Ratios]) -> tuple[Learnt, ...]:
    """What the runs of each kind teach, and those of all ways of batching together (`*`)."""
    by_kind: dict[str, list[Ratios]] = {}
    for run in runs:
        for name in (run.kind, _any_batching(run.kind)):
            by_kind.setdefault(name, []).append(run)
    return tuple(_summary(name, found) for name, found in sorted(by_kind.items()))


def _any_batching(kind: str) -> str:
    return kind.rsplit("/", 1)[0] + "/*"


def _summary(name: str, runs: list[Ratios]) -> Learnt:
    factors = {}
    spread = 0.0
    for figure in FIGURES:
        found = [run.by_figure[figure] for run in runs if figure in run.by_figure]
        if found:
            median = statistics.median(found)
            factors[figure] = median ** (len(found) / (len(found) + PRIOR_RUNS))
            if figure == FIGURES[-1]:
                spread = max(abs(math.log(one / factors[figure])) for one in found)
    return Learnt(name, len(runs), factors, spread)


def of_kind(machine: Facts, wanted: str) -> Learnt | None:
    """What was learnt of this kind, else of the same with any batching; None where there is neither."""
    lines = machine.value(FACT)
    known = {one.kind: one for one in map(_read, lines if isinstance(lines, tuple) else ()) if one is not None}
    return known.get(wanted) or known.get(_any_batching(wanted))


def _read(line: object) -> Learnt | None:
    """One entry of the fact; None where it is not as written here: a recorded machine may have been edited."""
    words = str(line).split()
    try:
        pairs = dict(word.split("=", 1) for word in words[1:])
        numbers = {name: float(value) for name, value in pairs.items()}
        runs, spread = int(numbers.pop("runs")), numbers.pop("spread")
    except (ValueError, KeyError, IndexError, OverflowError):
        return None
    factors = {name: numbers[name] for name in FIGURES if name in numbers}
    if runs < 1 or not 0 <= spread < LARGEST or not all(1 / LARGEST < one < LARGEST for one in factors.values()):
        return None
    return Learnt(words[0], runs, factors, spread)
