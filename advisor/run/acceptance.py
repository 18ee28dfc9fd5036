"""What random weights cannot show: how many drafted tokens a model accepts.

Random weights repeat themselves endlessly, which is what prompt lookup bets on: the measured gain is none of the real
model's. The speed of a step does not otherwise depend on what the weights are.
"""

from collections.abc import Iterable

from advisor.setup import Setup

CANNOT = "cannot be judged"
DRAFTS = "on random weights it is chance how many drafted tokens are accepted"
KNOBS = frozenset({"speculation", "prompt_lookup_num_tokens", "assistant_model"})


def sets_drafting(names: Iterable[str]) -> bool:
    """Whether a change of these knobs changes how tokens are drafted."""
    return bool(KNOBS & set(names))


def drafts(setup: Setup) -> bool:
    """Whether the setup's speed depends on how many drafted tokens the model accepts."""
    return setup.speculation not in (None, "none")


def differ_in_drafting(one: Setup, other: Setup) -> bool:
    """Whether two setups draft tokens in different ways, so that their speeds hang on what is accepted."""
    if not drafts(one) and not drafts(other):
        return False
    return any(getattr(one, name, None) != getattr(other, name, None) for name in KNOBS)
