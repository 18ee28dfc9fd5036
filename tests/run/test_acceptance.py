"""What drafting tokens ahead gains depends on the weights: random ones cannot show it."""

import pytest

from advisor.plan import Effect, Step
from advisor.run.acceptance import differ_in_drafting, drafts, sets_drafting
from advisor.run.choices import Choice
from advisor.run.judgeable import without_unjudged
from advisor.setup import Setup

PLAIN, LOOKUP = Setup(speculation="none"), Setup(speculation="prompt_lookup")


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (PLAIN, LOOKUP, True),
        (LOOKUP, PLAIN, True),
        (LOOKUP, LOOKUP.changed({"prompt_lookup_num_tokens": 3}), True),
        (LOOKUP, LOOKUP.changed({"dtype": "bfloat16"}), False),
        (PLAIN, Setup(), False),
    ],
)
def test_setups_that_draft_in_other_ways_are_told_apart(one: Setup, other: Setup, differ: bool) -> None:
    assert differ_in_drafting(one, other) is differ
    assert drafts(LOOKUP) and not drafts(PLAIN)


def test_steps_that_draft_are_taken_out_on_random_weights_alone() -> None:
    change = {"speculation": "prompt_lookup", "prompt_lookup_num_tokens": 5}
    assert sets_drafting(change) and not sets_drafting({"dtype": "float16"})
    steps = (
        Step("a", "4-compile", "", {"dtype": "bfloat16"}, Effect(None, None, None), "measured", (), (), 1),
        Step("b", "4-compile", "", change, Effect(None, None, None), "measured", (), ({"compile": "generate"},), 2),
    )
    choices = tuple(Choice(step, 0, "as planned") for step in steps)
    kept, out = without_unjudged(choices, random_weights=True)
    assert kept.kept and not out.kept
    assert out.reason.startswith("cannot be judged: on random weights")
    assert without_unjudged(choices, random_weights=False) == choices
