"""How far two models' thoughts of a text lie apart, of the best tokens alone."""

import base64
import json
import math
from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.run.distributions import Distributions, divergence, read

SPREAD = array("f", [-1, -2, -3])
ROWS = st.lists(st.floats(0.01, 1), min_size=6, max_size=6)


def known(row: list[float], top: int) -> Distributions:
    """A distribution over tokens of which only the best `top` are known; the text's token is the first."""
    shares = [value / math.fsum(row) for value in row]
    best = sorted(range(len(row)), key=lambda token: -shares[token])[:top]
    logs = array("f", [math.log(shares[token]) for token in best])
    return Distributions(
        "English prose", ((0, 0),), top, len(row), array("i", best), logs, SPREAD, (math.log(shares[0]),)
    )


def true_divergence(one: list[float], other: list[float]) -> float:
    p, q = ([value / math.fsum(row) for value in row] for row in (one, other))
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@given(ROWS, ROWS)
def test_with_every_token_it_is_the_divergence_itself(one: list[float], other: list[float]) -> None:
    found = divergence(known(one, 6), known(other, 6))
    assert found is not None
    assert found.mean == pytest.approx(true_divergence(one, other), abs=1e-5)
    assert found.mean == found.largest


@given(ROWS, ROWS, st.integers(1, 5))
def test_with_some_it_is_never_more(one: list[float], other: list[float], top: int) -> None:
    found = divergence(known(one, top), known(other, top))
    assert found is not None
    assert 0 <= found.mean <= true_divergence(one, other) + 1e-5


@given(ROWS, st.integers(1, 6))
def test_a_distribution_does_not_differ_from_itself(row: list[float], top: int) -> None:
    found = divergence(known(row, top), known(row, top))
    assert found is not None
    assert (found.mean, found.same_best) == (pytest.approx(0, abs=1e-6), 1.0)


def test_tokens_that_the_other_side_does_not_count_among_its_best_are_far_off() -> None:
    one, other = known([100, 1, 1, 1, 1, 1], 1), known([1, 1, 1, 1, 1, 100], 1)
    found = divergence(one, other)
    assert found is not None
    assert found.same_best == 0.0
    # Token 0 has at most the share that the other side's best leaves over: 5 of 105, against 100 of 105.
    assert found.mean > 0.9 * math.log(100 / 5)


def test_perplexity_is_of_the_text() -> None:
    assert known([1, 1, 1, 1], 2).perplexity == pytest.approx(4)


def test_what_is_no_distribution_has_no_finite_divergence() -> None:
    broken = known([1, 2, 3], 3)
    broken = Distributions("x", broken.places, 3, 3, broken.ids, array("f", [math.nan] * 3), SPREAD, (math.nan,))
    found = divergence(known([1, 2, 3], 3), broken)
    assert found is not None and not math.isfinite(found.mean)
    assert found.to_json()["kl_mean_nats"] is None
    assert found.to_json()["perplexity"]["plan"] is None
    assert divergence(broken, known([1, 2, 3], 3)) is None


def test_other_texts_are_not_compared() -> None:
    one = known([1, 2, 3], 3)
    assert divergence(one, Distributions("x", ((0, 1),), 3, 3, one.ids, one.logs, SPREAD, one.text_logs)) is None
    assert divergence(one, known([1, 2, 3, 4], 3)) is None


def test_an_answer_is_read_and_a_strange_one_refused() -> None:
    packed = {
        "source": "random tokens", "places": [[0, 0]], "top": 2, "vocabulary": 4,
        "ids_int32": base64.b64encode(array("i", [3, 1]).tobytes()).decode(),
        "logs_float32": base64.b64encode(array("f", [-0.5, -1]).tobytes()).decode(), "text_logs": [-2.0],
        "spread_float32": base64.b64encode(SPREAD.tobytes()).decode(),
    }  # fmt: skip
    found = read(json.loads(json.dumps(packed)))
    assert found is not None and list(found.at(0)[0]) == [3, 1]
    assert read(None) is None
    with pytest.raises(ValueError, match="another size"):
        read({**packed, "places": [[0, 0], [0, 1]]})


@given(st.floats(0.01, 10), st.floats(-5, 5))
def test_distance_means_the_same_however_sure_a_model_is(sure: float, moved: float) -> None:
    one = known([1, 2, 3], 3)
    plain = array("f", [sure * value for value in (1, 2, 4)])
    other = array("f", [sure * value + moved for value in (1, 2, 4.5)])
    found = divergence(replace(one, spread=plain), replace(one, spread=other))
    assert found is not None
    # Less their means: (-4/3, -1/3, 5/3), and a difference of (-1/6, -1/6, 1/3).
    assert found.distance == pytest.approx(math.sqrt((1 / 36 + 1 / 36 + 1 / 9) / (42 / 9)), rel=1e-3)


def test_forbidden_tokens_and_flat_scores_have_no_distance() -> None:
    one = known([1, 2, 3], 3)
    forbidden = replace(one, spread=array("f", [1, -math.inf, 2]))
    found = divergence(forbidden, forbidden)
    assert found is not None and found.distance == 0.0
    flat = divergence(replace(one, spread=array("f", [1, 1, 1])), one)
    assert flat is not None and flat.distance is None
