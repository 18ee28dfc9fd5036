"""The passes of continuous batching: small cases by hand, and what holds for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.estimate.flowing import Limits, Pass, drawn_lengths, grouped, passes, shared_out

ROOMY = Limits(pass_tokens=100, page=4, pages=1000)


def made(found: list[Pass]) -> int:
    return sum(one.count * one.decoding + one.begun for one in found)


def test_equal_prompts_that_fit_into_one_pass_are_read_together_and_end_together() -> None:
    # 3 prompts of 10 tokens; then 3 further tokens each, with 11, 12 and 13 tokens held by each.
    assert list(passes([10, 10, 10], 4, ROOMY)) == [
        Pass(1, 0, 30, 3, 30.0, 150.0, begun=3, first=3),
        Pass(3, 3, 0, 3, 36.0, 0),
    ]


def test_a_prompt_that_does_not_fit_into_a_pass_is_read_in_chunks_beside_sequences_that_decode() -> None:
    # 16 tokens a pass: 6 + 10 of 20 tokens, then one token decoded + 10 tokens read.
    found = list(passes([6, 20], 3, Limits(16, 4, 1000)))
    assert [(one.decoding, one.reading, one.begun) for one in found[:2]] == [(0, 16, 1), (1, 10, 1)]
    assert found[2:] == [Pass(1, 2, 0, 2, 8.0 + 21, 0), Pass(1, 1, 0, 1, 22.0, 0)]


def test_one_new_token_needs_no_decoding() -> None:
    assert list(passes([5, 5], 1, ROOMY)) == [Pass(1, 0, 10, 2, 10.0, 25.0, begun=2, first=2)]


def test_who_finds_no_room_waits_until_a_sequence_has_ended() -> None:
    # 3 pages of 4 tokens: 8 tokens and one new one need them all.
    found = list(passes([8, 8], 2, Limits(100, 4, 3)))
    assert [(one.decoding, one.reading) for one in found] == [(0, 8), (1, 0), (0, 8), (1, 0)]


def test_nothing_is_read_beside_decoding_below_the_safety_margin() -> None:
    # 10 pages of 4: two prompts of 16 hold 8 and get a ninth; the third would need one page, but 10 % is not 15 %.
    found = list(passes([16, 16, 4], 3, Limits(32, 4, 10)))
    assert [(one.decoding, one.reading) for one in found] == [(0, 32), (2, 0), (0, 4), (1, 0)]
    assert [one.count for one in found] == [1, 2, 1, 2]


def test_a_long_prompt_alone_is_read_in_a_run_of_alike_passes() -> None:
    found = list(passes([1000], 1, Limits(100, 4, 1000)))
    assert [(one.count, one.reading, one.held) for one in found] == [(9, 100, 500.0), (1, 100, 1000.0)]
    assert sum(one.count * one.pairs for one in found) == 1000 * 1000 / 2


def test_the_newest_loses_its_cache_where_pages_run_short_and_is_read_again() -> None:
    # 8 pages of 4. Both grow from 8 tokens; at 16 each all pages are taken.
    found = list(passes([8, 8], 20, Limits(64, 4, 8)))
    assert made(found) == 40
    assert sum(one.first for one in found) == 2
    assert sum(one.count * one.reading for one in found) == 8 + 8 + 17


@given(
    requests=st.integers(1, 12),
    prompt=st.integers(1, 200),
    mixed=st.booleans(),
    new=st.integers(1, 60),
    limits=st.builds(Limits, st.integers(1, 300), st.integers(1, 32), st.integers(1, 80)),
)
def test_every_request_is_answered_whatever_the_limits(
    requests: int, prompt: int, mixed: bool, new: int, limits: Limits
) -> None:
    lengths = drawn_lengths(requests, prompt, mixed)
    found = list(passes(lengths, new, limits))
    assert made(found) == requests * new
    assert sum(one.first for one in found) == requests
    assert sum(one.count * one.reading for one in found) >= sum(lengths)
    assert all(0 < one.decoding + one.reading <= limits.pass_tokens for one in found)


def test_lengths_are_those_of_a_recipe() -> None:
    assert drawn_lengths(3, 100, mixed=False) == [100, 100, 100]
    assert sorted(drawn_lengths(4, 100, mixed=True)) == [43, 62, 81, 100]


@pytest.mark.parametrize(("requests", "expected"), [(1, (1, 1)), (64, (64, 1)), (65, (32, 2)), (6400, (32, 200))])
def test_many_requests_are_simulated_in_groups(requests: int, expected: tuple[int, int]) -> None:
    assert grouped(requests) == expected


def test_a_group_shares_the_limits() -> None:
    assert shared_out(Limits(2048, 16, 6400), 100) == Limits(20, 16, 64)
