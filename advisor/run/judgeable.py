"""Steps whose gain the weights at hand cannot show are taken out before anything runs."""

from dataclasses import replace

from advisor.run.acceptance import CANNOT, DRAFTS, sets_drafting
from advisor.run.choices import Choices


def without_unjudged(choices: Choices, random_weights: bool) -> Choices:
    """The choices without steps whose gain random weights do not show; their other ways out are not tried either."""
    if not random_weights:
        return choices
    reason = f"{CANNOT}: {DRAFTS}; measure it with --weights real"
    return tuple(
        replace(choice, option=None, reason=reason) if sets_drafting(choice.change) else choice for choice in choices
    )
