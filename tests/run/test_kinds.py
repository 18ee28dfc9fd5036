"""What was changed between two setups, by how much it may move what a model says."""

from itertools import pairwise

import pytest

from advisor.run import kinds
from advisor.run.kinds import Kind, kind_of
from advisor.setup import Setup

FP32, BF16 = Setup(dtype="float32"), Setup(dtype="bfloat16")


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (FP32, FP32.changed({"batching": "padded"}), kinds.SAME),
        (FP32, BF16, kinds.ROUNDING),
        (BF16, BF16.changed({"compile": "generate"}), kinds.ROUNDING),
        (FP32, FP32.changed({"matmul_precision": "high"}), kinds.ROUNDING),
        (Setup(), Setup(batching="padded"), kinds.ROUNDING),
        (BF16, BF16.changed({"quantization": "bnb_int8"}), kinds.EIGHT_BITS),
        (FP32, BF16.changed({"quantization": "bnb_nf4"}), kinds.FOUR_BITS),
        (BF16.changed({"quantization": "bnb_int8"}), BF16.changed({"quantization": "bnb_nf4"}), kinds.FOUR_BITS),
        (BF16, BF16.changed({"cache_implementation": "quantized"}), kinds.CACHE),
        (BF16, BF16.changed({"cache_implementation": "static"}), kinds.ROUNDING),
    ],
)
def test_the_largest_change_names_the_kind(before: Setup, after: Setup, kind: Kind) -> None:
    assert kind_of(before, after) is kind
    assert kind_of(after, before) is kind


def test_what_changes_more_may_move_more() -> None:
    ladder = (kinds.SAME, kinds.ROUNDING, kinds.EIGHT_BITS, kinds.FOUR_BITS)
    for less, more in pairwise(ladder):
        assert less.divergence < more.divergence
        assert less.perplexity < more.perplexity
