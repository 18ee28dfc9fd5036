"""How much better one setup is than another for a goal, by their estimates: what counts for a change and against it.

Making it fit counts above everything, then coming closer to it, then what the goal asks for. Pure.
"""

from dataclasses import dataclass

from advisor.plan import Estimate
from advisor.rule import Rule

WORTH = 1.03
"""A change must gain this factor: below it a measurement could not tell it from noise on most machines."""
WORTH_A_LOSS = 1.15
"""What a change that alters the outputs must gain where the model fits without it."""
LOSS_PRICE = 2.0
"""Among ways to make it fit, one that alters the outputs must be this many times faster than one that does not."""
FETCHED_PRICE = 4.0
"""The same of one whose weights cross the bus for every token, where no speed is known: it comes after every other one,
because the bus is slower than any device's own memory."""
NARROW_PRICE = 2.0
"""What a setup that may not fit, by the upper end of the band, must gain over one that fits there too."""
SLOWEST_FOR_MEMORY = 0.5
"""For the goal memory, a change may cost at most half of the speed."""
NO_DIFFERENCE = 1.01
"""Two setups whose costs differ by less than this factor are as good as each other."""
LAST = 1.0
"""Merit of a change on which the estimate is silent: below every predicted gain."""
UNMEASURED = 0.01  # what a lower rung adds to it: less than WORTH, so that a rule which outranks another is heard


@dataclass(frozen=True)
class Score:
    """How good an estimate is for a goal: bytes missing, then the cost to lower (seconds, or bytes for memory)."""

    shortfall: float
    cost: float | None
    seconds: float | None
    fetches: bool = False
    """Whether weights wait elsewhere and cross the bus for every pass."""
    narrow: bool = False
    """Whether the upper end of the band is more than is free."""


def score(estimate: Estimate, goal: str) -> Score:
    """What counts for `goal`; None where the estimate does not know."""
    memory, speed = estimate.memory, estimate.speed
    missing = 0.0
    if memory.fits is False and memory.total_bytes is not None and memory.available_bytes is not None:
        missing = max(1.0, memory.total_bytes - memory.available_bytes)
    rate = speed.total_tokens_per_second
    seconds = 1 / rate if rate else None
    cost = float(memory.total_bytes) if goal == "memory" and memory.total_bytes is not None else seconds
    return Score(missing, cost, seconds, bool(memory.fetched_bytes), is_narrow(estimate))


def is_narrow(estimate: Estimate) -> bool:
    """Whether the upper end of the band is more than is free: it may be predicted to fit, and not do so."""
    total, free, band = estimate.memory.total_bytes, estimate.memory.available_bytes, estimate.memory_band
    return total is not None and free is not None and band is not None and total * band[1] > free


def is_better(here: Score, there: Score, goal: str) -> bool:
    """Whether the end of another search is to be taken; for the goal fit never at the price of a narrow one."""
    if there.shortfall != here.shortfall:
        return there.shortfall < here.shortfall
    if here.cost is None or there.cost is None:
        return False
    narrower = there.narrow and not here.narrow
    if narrower and goal == "fit":
        return False
    return here.cost >= there.cost * (NARROW_PRICE if narrower else WORTH)


def gain(here: Score, there: Score, rule: Rule, goal: str) -> float | str:
    """The merit of going from one score to another.

    Making it fit counts above everything, then coming closer to it, then the goal. Where no speed is known, a change
    that keeps the outputs is taken on its rule's word, in the order of the ladder.
    """
    if there.shortfall > here.shortfall:
        return "needs more memory than is free"
    if here.shortfall > 0:
        return _gain_of_room(here, there, rule)
    if here.cost is None or there.cost is None:
        if rule.quality is None:
            return LAST + UNMEASURED / (2 + rule.step_on_ladder)
        return "no speed is known for this device, and the outputs would change"
    quicker = here.cost / there.cost
    if goal == "memory" and _slowdown(here, there) < SLOWEST_FOR_MEMORY:
        return f"saves memory but runs at {_slowdown(here, there):.2f} of the speed"
    if goal == "memory" and quicker < WORTH and rule.quality is None and (free := _free_speed(here, there)):
        return free
    needed = WORTH_A_LOSS if rule.quality is not None and goal != "memory" else WORTH
    if quicker < needed:
        return f"predicted gain {quicker - 1:+.1%}, worth it from {needed - 1:+.0%}"
    # A loss counts in the order too: taken first, it may shut out a change that is as good and keeps the outputs.
    return quicker * WORTH / needed


def bet(here: Score, there: Score) -> float | str:
    """The merit of a change whose gain the estimate cannot see: the last to be taken, and never into a shortage."""
    if there.shortfall > here.shortfall:
        return "needs more memory than is free"
    if here.shortfall > 0:
        return "does not help it to fit"
    if here.cost and there.cost and there.cost > here.cost * WORTH:
        return f"predicted loss {1 - here.cost / there.cost:.1%}, with no gain that could be predicted"
    return LAST


def _gain_of_room(here: Score, there: Score, rule: Rule) -> float | str:
    if there.shortfall == here.shortfall:
        return "does not help it to fit"
    if there.shortfall > 0:
        return 1e3 * (1 - there.shortfall / here.shortfall)
    price = (there.seconds or 1.0) * (LOSS_PRICE if rule.quality is not None else 1.0)
    if there.seconds is None and there.fetches:
        price *= FETCHED_PRICE
    return 1e6 / price + 1e6


def _free_speed(here: Score, there: Score) -> float | None:
    """The merit of speed that costs no byte, below that of any byte saved; None where there is none to gain."""
    if here.cost is None or there.cost is None or there.cost > here.cost or _slowdown(here, there) < WORTH:
        return None
    return LAST + (WORTH - 1) * (1 - 1 / _slowdown(here, there))


def as_good(here: Score, there: Score) -> bool:
    """Whether nothing is lost by going there: neither room, nor what the goal asks for, nor speed that is free."""
    if there.shortfall > here.shortfall or not here.cost or not there.cost or there.cost > here.cost * NO_DIFFERENCE:
        return False
    return _slowdown(here, there) * NO_DIFFERENCE >= 1


def _slowdown(here: Score, there: Score) -> float:
    """Speed there as a share of speed here; 1 where unknown."""
    return here.seconds / there.seconds if here.seconds and there.seconds else 1.0
