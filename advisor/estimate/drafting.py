"""When drafting tokens ahead pays: the share of drafted tokens that must be right. Nobody can predict the share itself.

    gain = (1 - a^(g+1)) / ((1 - a) (g c + 1))          (arXiv 2211.17192; a: share accepted, g: tokens drafted)

c, the cost of drafting one token against a step, is 0 for prompt lookup. In place of one step, a pass that checks g
tokens and makes one more is costed by the estimate: where arithmetic binds, it is not free.
"""

from advisor.estimate.running import running
from advisor.facts import Facts
from advisor.plan import Memory
from advisor.setup import Setup
from advisor.workload import Workload

DRAFTED_TOKENS = 10
"""Tokens that prompt lookup drafts where the setup does not say, as a recipe sets it."""
UNDRAFTED = {"compile": "none", "cache_implementation": "dynamic", "batching": "loop"}
"""What drafting runs with: one prompt at a time, a growing cache, nothing compiled by generate."""
PRECISION = 1e-4


def break_even_acceptance(
    model: Facts, machine: Facts, workload: Workload, setup: Setup, memory: Memory, drafted: int | None = None
) -> float | None:
    """The share of `drafted` tokens, from 0 to 1, from which on a step of one prompt is no slower than in `setup`.

    1 where not even a draft that is always right would pay. None where no speed is known.
    """
    many = drafted or setup.prompt_lookup_num_tokens or DRAFTED_TOKENS
    plain = running(model, machine, setup, memory)
    drafting = running(model, machine, setup.changed(UNDRAFTED), memory)
    if plain is None or drafting is None:
        return None
    tokens = workload.prompt_tokens + workload.new_tokens / 2
    step, check = plain.step(1, tokens), drafting.checked(many, tokens)
    return None if step is None or check is None else _needed(check / step.total, many)


def tokens_of_a_pass(accepted: float, drafted: int) -> float:
    """Tokens that one pass makes on average when each drafted token is right with this chance."""
    return sum(accepted**count for count in range(drafted + 1))


def _needed(cost: float, drafted: int) -> float:
    """The chance at which a pass makes as many tokens as plain steps in its time, by bisection."""
    if cost <= 1:
        return 0.0
    low, high = 0.0, 1.0
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if tokens_of_a_pass(middle, drafted) < cost else (low, middle)
    return high
