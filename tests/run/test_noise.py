"""The noise of few processes, and what a gain must exceed."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.run.noise import LEAST, apart, gain, in_pairs, noise

SECONDS = st.lists(st.floats(0.1, 10), min_size=4, max_size=4)


def test_a_single_process_knows_its_runs_alone() -> None:
    found = noise([1.0], [1.0], within=0.1)
    assert (found.baseline, found.plan, found.varies, found.needed) == (None, None, 0.1, 0.1)
    assert noise([1.0], [1.0], within=0.0).varies == LEAST


def test_two_processes_prove_little() -> None:
    found = noise([1.0, 1.05], [1.0, 1.0], within=0.0)
    assert found.varies == pytest.approx(0.05)
    # The standard deviation of two logarithms is their distance over the root of 2; two degrees of freedom.
    assert found.needed == pytest.approx(math.expm1(9.925 * math.log(1.05) / 2))


def test_more_processes_prove_more() -> None:
    needed = [noise([1.0, 1.05] * n, [1.05, 1.0] * n, 0.0).needed for n in (1, 2)]
    assert needed[1] < needed[0]


def test_drift_falls_out_of_the_ratios() -> None:
    now, then = [1.0, 1.2, 1.44, 1.73], [0.8, 0.96, 1.152, 1.384]
    assert in_pairs(now, then) < 0.01 < apart(now, then)


def test_json_says_everything() -> None:
    told = json.loads(json.dumps(noise([1.0, 1.1], [1.0, 1.0], 0.02).to_json()))
    assert told["baseline"] == pytest.approx(0.1)
    assert set(told) == {"rounds", "baseline", "plan", "within", "needed", "varies"}


@given(SECONDS, SECONDS)
def test_both_tests_are_fair_to_both_sides(one: list[float], other: list[float]) -> None:
    assert apart(one, other) == pytest.approx(apart(other, one))
    assert in_pairs(one, other) == pytest.approx(in_pairs(other, one))
    assert gain(one, other) == pytest.approx(1 / gain(other, one))
