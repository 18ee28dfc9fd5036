"""How far two outputs agree, and what may be expected."""

import json
import math
from array import array
from dataclasses import replace
from typing import Any

import pytest

from advisor.run import agreement as module
from advisor.run import kinds
from advisor.run.agreement import Agreement, Terms, agreement, compare_logits, expectation
from advisor.run.distributions import Distributions, Divergence
from advisor.run.figures import Logits, Measured, Peak, Run
from advisor.setup import Setup

FP32, BF16 = Setup(dtype="float32"), Setup(dtype="bfloat16")
NF4 = Setup(quantization="bnb_nf4")


def logits(*rows: list[float], prompts: tuple[int, ...] | None = None) -> Logits:
    return Logits(prompts or tuple(range(len(rows))), len(rows[0]), array("f", [x for row in rows for x in row]))


def side(tokens: Any = ((1, 2),), scores: Logits | None = None) -> Measured:
    peak = Peak(*[None] * 6)
    run = Run(1.0, None, None, 1.0, None, False)
    return Measured((run,), (1.0,), (1.0,), peak, peak, tokens, scores, {}, "cpu", 1)


def test_equal_scores_have_no_distance() -> None:
    assert compare_logits(logits([1, 2, 3]), logits([1, 2, 3])) == (0.0, 1.0)


def test_distance_is_relative_to_the_first() -> None:
    distance, best = compare_logits(logits([3, 4]), logits([3, 4.5]))
    assert distance == pytest.approx(0.1)
    assert best == 1.0


def test_the_best_token_may_change() -> None:
    assert compare_logits(logits([1, 2], [5, 1]), logits([2, 1], [5, 1]))[1] == 0.5


def test_forbidden_tokens_do_not_count() -> None:
    assert compare_logits(logits([1, -math.inf, 2]), logits([1, -math.inf, 2])) == (0.0, 1.0)


def test_only_prompts_of_both_sides_are_compared() -> None:
    assert compare_logits(logits([1, 2], [9, 9], prompts=(0, 3)), logits([1, 2], prompts=(0,))) == (0.0, 1.0)
    assert compare_logits(logits([1, 2], prompts=(0,)), logits([1, 2], prompts=(1,))) == (None, None)
    assert compare_logits(logits([1, 2]), logits([1, 2, 3])) == (None, None)


def test_tokens_are_counted_one_by_one_and_by_request() -> None:
    found = agreement(side(((1, 2), (3, 4))), side(((1, 2), (3, 9))), Terms(FP32, BF16, False))
    assert (found.greedy_tokens_equal, found.requests_equal) == (0.75, 0.5)
    assert found.logit_distance is None


@pytest.mark.parametrize(
    ("after", "random", "other", "broken"),
    [
        (BF16, False, [3, 4.5], None),
        (BF16, False, [4, -3], "rounding"),
        (NF4, False, [3, 6], None),
        (NF4, False, [-4, 3], "quantization"),
        (NF4, True, [-4, 3], None),
        (NF4, True, [math.nan, 3], "no longer numbers"),
        (BF16, False, [math.inf, 3], "no longer numbers"),
        (Setup(padding_side="right"), False, [4, -3], None),
    ],
)
def test_what_is_broken_is_more_than_the_change_explains(
    after: Setup, random: bool, other: list[float], broken: str | None
) -> None:
    found = agreement(side(scores=logits([3, 4])), side(scores=logits(other)), Terms(FP32, after, random))
    assert broken in found.broken if broken and found.broken else found.broken == broken
    json.dumps(found.to_json(), allow_nan=False)


def test_a_baseline_of_nan_is_nobodys_fault_but_its_own() -> None:
    found = agreement(side(scores=logits([math.nan, 4])), side(scores=logits([3, 4])), Terms(FP32, BF16, False))
    assert found.broken is None
    assert found.logit_distance is None


def test_random_weights_of_two_devices_are_not_compared() -> None:
    terms = Terms(Setup(device="cpu"), Setup(device="cuda"), True)
    found = agreement(side(), side(), terms)
    assert found.greedy_tokens_equal is None
    assert "devices" in found.expected


@pytest.mark.parametrize(
    ("terms", "word"),
    [
        (Terms(FP32, FP32, False), "the same tokens"),
        (Terms(FP32, BF16, False), "16-bit rounding"),
        (Terms(BF16, NF4, False), "on your own task"),
        (Terms(BF16, NF4, True), "cannot be judged"),
        (Terms(Setup(padding_side="right"), FP32, False), "padding"),
    ],
)
def test_what_may_be_expected(terms: Terms, word: str) -> None:
    assert word in expectation(terms)


def text(
    mean: float = 0.0, before: float | None = 20.0, after: float | None = 20.0, source: str = "English prose"
) -> Any:
    return Divergence(mean, mean, 1.0, 0.0, 256, (before, after), source)


def judged(terms: Terms, found: Divergence, monkeypatch: pytest.MonkeyPatch) -> Agreement:
    """The agreement of two sides whose view of a text lies so far apart."""
    monkeypatch.setattr(module, "divergence", lambda one, other: found)
    thought = Distributions("x", (), 1, 1, array("i"), array("f"), array("f"), ())
    one = replace(side(), distributions=thought)
    return agreement(one, one, terms)


@pytest.mark.parametrize(
    ("terms", "found", "broken"),
    [
        (Terms(FP32, FP32, False), text(kinds.SAME.divergence * 0.9), None),
        (Terms(FP32, FP32, False), text(kinds.SAME.divergence * 1.1), "same arithmetic"),
        (Terms(FP32, BF16, False), text(kinds.ROUNDING.divergence * 1.1), "16-bit rounding"),
        (Terms(FP32, BF16, True), text(9.0), None),
        (Terms(FP32, BF16, True), replace(text(), distance=kinds.ROUNDING.text_distance * 1.1), "16-bit rounding"),
        (Terms(BF16, NF4, True), replace(text(), distance=2.0), None),
        (Terms(FP32, BF16, True), text(math.nan), "no longer numbers"),
        (Terms(BF16, NF4, False), text(kinds.FOUR_BITS.divergence * 0.9), None),
        (Terms(BF16, NF4, False), text(kinds.FOUR_BITS.divergence * 1.1), "4-bit"),
        (Terms(BF16, NF4, True), text(9.0), None),
        (Terms(BF16, NF4, False), text(0.0, 20, 20 * kinds.FOUR_BITS.perplexity * 1.01), "become worse"),
        (Terms(BF16, NF4, True), text(0.0, 20, 90), None),
        (Terms(BF16, NF4, False), text(0.0, 20, 90, "random tokens"), None),
        (Terms(BF16, NF4, False), text(0.0, None, 90), None),
    ],
)
def test_a_text_tells_what_is_more_than_the_change_explains(
    terms: Terms, found: Divergence, broken: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = judged(terms, found, monkeypatch)
    assert broken in told.broken if broken and told.broken else told.broken == broken
    json.dumps(told.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("random", "source", "words"),
    [
        (True, "random tokens", "cannot be judged: the weights are random"),
        (False, "random tokens", "cannot be judged: there is no tokenizer"),
        (False, "your prompts", "perplexity 20 -> 21 on 256 tokens (your prompts)"),
    ],
)
def test_quality_is_judged_on_real_weights_and_words_alone(
    random: bool, source: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = judged(Terms(BF16, NF4, random), text(0.1, 20, 21, source), monkeypatch)
    assert told.quality is not None and words in told.quality
