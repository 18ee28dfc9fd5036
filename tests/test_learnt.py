"""Own runs: medians by kind, drawn towards 1 while few; the band narrows by their residuals alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import learnt
from advisor.facts import Facts, Known
from advisor.learnt import FIGURES, Ratios
from advisor.setup import Setup

KIND = "bfloat16/none/eager/one"
TOTAL = FIGURES[2]


def runs(*ratios: float, kind: str = KIND) -> list[Ratios]:
    return [Ratios(kind, {TOTAL: ratio}) for ratio in ratios]


def machine(*found: learnt.Learnt) -> Facts:
    return Facts({learnt.FACT: Known(tuple(one.text() for one in found), "test")})


@pytest.mark.parametrize(("count", "power"), [(1, 1 / 3), (2, 1 / 2), (6, 3 / 4)])
def test_few_runs_are_believed_in_part(count: int, power: float) -> None:
    found = learnt.summarized(runs(*[0.8] * count))
    assert [one.factors[TOTAL] for one in found] == pytest.approx([0.8**power] * 2)
    assert [one.runs for one in found] == [count] * 2


def test_the_median_counts_and_not_a_stray_run() -> None:
    (found,) = (one for one in learnt.summarized(runs(1.1, 1.1, 9.0)) if one.kind == KIND)
    assert found.factors[TOTAL] == pytest.approx(1.1 ** (3 / 5))


def test_the_own_kind_comes_before_other_ways_of_batching() -> None:
    many = "bfloat16/none/eager/many"
    found = machine(*learnt.summarized([*runs(0.5), *runs(2.0, kind=many)]))
    own, other = learnt.of_kind(found, many), learnt.of_kind(found, "bfloat16/none/eager/continuous")
    assert own is not None and own.kind == many and own.factors[TOTAL] > 1
    assert other is not None and other.kind == "bfloat16/none/eager/*" and other.runs == 2
    assert learnt.of_kind(found, "float32/none/eager/one") is None
    assert learnt.of_kind(Facts(), KIND) is None


def test_what_is_written_is_read_again() -> None:
    for one in learnt.summarized([Ratios(KIND, dict.fromkeys(FIGURES, 0.9))]):
        again = learnt.of_kind(machine(one), one.kind)
        assert again is not None
        assert again.factors == pytest.approx(one.factors, abs=1e-4)


@given(st.text(max_size=60))
def test_a_damaged_entry_teaches_nothing_and_breaks_nothing(text: str) -> None:
    assert learnt.of_kind(Facts({learnt.FACT: Known((f"{KIND} {text}", text), "test")}), KIND) is None


@pytest.mark.parametrize("entry", ["runs=0 spread=0", "runs=1 spread=nan", f"runs=1 spread=0 {TOTAL}=inf", "runs=inf"])
def test_impossible_figures_teach_nothing(entry: str) -> None:
    assert learnt.of_kind(Facts({learnt.FACT: Known((f"{KIND} {entry}",), "test")}), KIND) is None


def test_the_band_narrows_only_by_residuals_of_enough_runs() -> None:
    usual = (0.75, 1.35)
    few, close, wild = (learnt.Learnt(KIND, count, {}, spread) for count, spread in ((4, 0.01), (5, 0.01), (9, 0.5)))
    assert few.band(usual) == usual
    assert close.band(usual) == pytest.approx((1.05**-1.5, 1.05**1.5))
    assert wild.band(usual) == usual


def test_kinds_tell_what_speed_depends_on() -> None:
    setup = Setup(compile="generate")
    assert learnt.kind(setup, "bfloat16", "none", together=True) == "bfloat16/none/compiled/many"
    found = learnt.kind(Setup(batching="continuous"), "float32", "bnb_int8", together=False)
    assert found == "float32/bnb_int8/eager/continuous"
