"""Successive halving: many candidates are tried for a moment, the better half for longer, until one is left. Pure.

Standard library alone: the program that measures loads this file from its path, in the target interpreter. Trying a
candidate is handed in as a function, and so is the time that is left, so that the search is tested without either.
The scheme is that of Jamieson and Talwalkar, arXiv 1502.07943, with rounds that end early where one is clearly ahead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

ETA = 2
"""Of each round one in so many goes on."""
CLEAR = 1.12
"""Who is behind by this factor drops out after any round: single short runs of one setup vary by about as much."""
AHEAD = 1.05
"""A leader by this factor after the second round needs no third."""


@dataclass(frozen=True)
class Effort:
    """How thoroughly a round tries: new tokens of a run at most (None: all of them), runs of each candidate, and
    seconds that they fill at least: the shorter a run, the more it varies."""

    tokens: int | None
    runs: int
    seconds: float = 0.0


EFFORTS = (Effort(4, 1, 0.3), Effort(12, 2, 0.6), Effort(24, 3, 1.2))
FOR_THE_DEAR = Effort(None, 2)
FIRST_SHARE = 0.5
"""What the first try of a candidate takes of the dearest so far, which also imported libraries."""
MOST_RUNS = 8
"""Of one candidate in one round."""


@dataclass(frozen=True)
class Candidate:
    """A setup that may win. `price` multiplies its seconds (above 1 where the outputs change). `extra_seconds` is what
    trying it costs once beside the runs (compiling). Without time for that, it is valued by its `sibling`, the
    same setup without it: `ratio` times the sibling's seconds."""

    name: str
    price: float = 1.0
    extra_seconds: float = 0.0
    sibling: str | None = None
    ratio: float = 1.0


@dataclass
class Search:
    """What is known so far: seconds of a request by candidate, failures, and the rounds as they were."""

    candidates: Sequence[Candidate]
    try_out: Callable[[Candidate, Effort], float]
    left: Callable[[], float]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)
    """Seconds that the last try took, what comes before the run included."""

    def best(self, name: str) -> float | None:
        """The quickest run: whatever else the machine does can only make one slower."""
        return min(self.seconds[name]) if self.seconds.get(name) else None

    def value(self, candidate: Candidate) -> float | None:
        """Seconds with the price; of one that was not tried, what its sibling's make likely; None where unknown."""
        found = self.best(candidate.name)
        if found is None and candidate.sibling is not None and candidate.name not in self.failed:
            like = self.best(candidate.sibling)
            found = None if like is None else like * candidate.ratio
        return None if found is None else found * candidate.price

    def ranked(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those of known value, the best first."""
        known = [(value, place, one) for place, one in enumerate(candidates) if (value := self.value(one)) is not None]
        return [one for _, _, one in sorted(known, key=lambda each: each[:2])]


def halve(search: Search, efforts: Sequence[Effort] = EFFORTS) -> Candidate | None:
    """The winner, or None where nothing could be tried. `search` keeps what was measured on the way.

    The first round goes through the candidates in the order given, so the likeliest must come first: where the time
    runs out, the rest is never tried.
    """
    alive = [one for one in search.candidates if one.extra_seconds == 0.0]
    waiting = [one for one in search.candidates if one.extra_seconds > 0.0]
    for number, effort in enumerate(efforts):
        _round(search, alive, effort)
        alive = _survivors(search, alive, ETA)
        if number > 0 and len(alive) < 2:
            break
    _try_the_dear(search, waiting, FOR_THE_DEAR)
    ranked = search.ranked(search.candidates)
    return ranked[0] if ranked else None


def _round(search: Search, alive: Sequence[Candidate], effort: Effort) -> None:
    """Every candidate alive in turn, forth and back, so that a machine that slows down wrongs none."""
    before = {one.name: len(search.seconds.get(one.name, ())) for one in alive}
    filled = dict.fromkeys(before, 0.0)
    for run in range(MOST_RUNS):
        for one in alive if run % 2 == 0 else reversed(alive):
            enough = run >= effort.runs and filled[one.name] >= effort.seconds
            if enough or one.name in search.failed or not _affordable(search, one):
                continue
            first = one.name not in search.seconds
            _try(search, one, effort)
            # The first try prepares much; of its run alone is known that it took no longer than a whole request.
            filled[one.name] += (
                min(search.cost[one.name], search.best(one.name) or 0.0) if first else search.cost[one.name]
            )
    tried = {one.name: search.seconds.get(one.name, [])[before[one.name] :] for one in alive}
    if any(tried.values()):
        found = {name: min(seconds) for name, seconds in tried.items() if seconds}
        search.rounds.append({"tokens": effort.tokens, "runs": effort.runs, "seconds": found})


def _affordable(search: Search, one: Candidate) -> bool:
    """Whether another try likely ends in time; the first one is always made."""
    likely = search.cost.get(one.name, FIRST_SHARE * max(search.cost.values(), default=0.0))
    return not search.cost or search.left() > likely


def _try(search: Search, one: Candidate, effort: Effort) -> None:
    before = search.left()
    try:
        search.seconds.setdefault(one.name, []).append(search.try_out(one, effort))
    except Exception as error:  # whatever a library raises, the candidate drops out and the others go on
        search.failed[one.name] = f"{type(error).__name__}: {error}"[:300]
        search.seconds.pop(one.name, None)
    search.cost[one.name] = before - search.left()


def _survivors(search: Search, alive: Sequence[Candidate], eta: int) -> list[Candidate]:
    """One in `eta` of those tried, without those that are clearly behind; two while they are close."""
    ranked = [one for one in search.ranked(alive) if one.name in search.seconds]
    if not ranked:
        return []
    limit = (search.value(ranked[0]) or 0.0) * (AHEAD if len(search.rounds) > 1 else CLEAR)
    close = [one for one in ranked if (search.value(one) or 0.0) <= limit]
    return close[: max(2, -(-len(ranked) // eta))]


def _try_the_dear(search: Search, waiting: Sequence[Candidate], effort: Effort) -> None:
    """Those that cost much to try, where they would lead and there is time."""
    while pending := [one for one in waiting if one.name not in search.seconds and one.name not in search.failed]:
        leader = next(iter(search.ranked(search.candidates)), None)
        one = leader if leader in pending else None
        if one is None or search.left() < one.extra_seconds:
            return
        for _ in range(effort.runs):
            if one.name not in search.failed:
                _try(search, one, effort)
        if found := search.best(one.name):
            search.rounds.append({"tokens": None, "runs": effort.runs, "seconds": {one.name: found}})
