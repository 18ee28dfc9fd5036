"""Figures of one or several processes: medians of the quiet runs, the highest peaks."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.run.figures import Measured, Peak, Run, pooled, spread

PEAK = Peak(100, 60, 40, None, None, None)


def run(seconds: float, disturbed: bool = False, **more: Any) -> Run:
    figures = {"ttft_seconds": seconds / 10, "decode_tokens_per_second": 64 / seconds} | more
    return Run(seconds, total_tokens_per_second=64 / seconds, neighbour_cores=None, disturbed=disturbed, **figures)


def measured(*runs: Run, **more: Any) -> Measured:
    figures: dict[str, Any] = {
        "load_seconds": (2.0,), "first_seconds": (3.0,), "load_peak": PEAK, "run_peak": PEAK, "tokens": (),
        "logits": None, "versions": {}, "device": "cpu", "threads": 1,
    }  # fmt: skip
    return Measured(runs, **figures | more)


def test_the_median_is_of_runs_that_nobody_disturbed() -> None:
    one = measured(run(1.0), run(9.0, disturbed=True), run(1.2))
    assert one.seconds == pytest.approx(1.1)
    assert one.ttft_seconds == pytest.approx(0.11)
    assert one.disturbed_runs == 1
    assert one.quiet


def test_where_no_run_was_quiet_all_count() -> None:
    one = measured(run(4.0, disturbed=True), run(6.0, disturbed=True))
    assert one.seconds == 5.0
    assert not one.quiet


def test_a_figure_that_nobody_took_is_none() -> None:
    one = measured(run(1.0, ttft_seconds=None, decode_tokens_per_second=None))
    assert one.ttft_seconds is None
    assert one.decode_tokens_per_second is None
    assert one.to_json()["ttft_seconds"] is None


def test_the_peak_is_the_larger_of_loading_and_running() -> None:
    assert measured(run(1.0), load_peak=replace(PEAK, resident_bytes=500)).peak_bytes == 500
    assert measured(run(1.0), load_peak=replace(PEAK, resident_bytes=None)).peak_bytes == 100
    nothing = replace(PEAK, resident_bytes=None)
    assert measured(run(1.0), load_peak=nothing, run_peak=nothing).peak_bytes is None


def test_on_an_accelerator_its_own_memory_counts() -> None:
    on_gpu = Peak(900, 800, 100, 50, 70, 200)
    assert measured(run(1.0), load_peak=on_gpu, run_peak=on_gpu).peak_bytes == 50


def test_processes_are_pooled() -> None:
    high = replace(PEAK, resident_bytes=300)
    both = pooled([measured(run(1.0)), measured(run(3.0), run_peak=high, load_seconds=(5.0,), first_seconds=(9.0,))])
    assert len(both.runs) == 2
    assert both.peak_bytes == 300
    assert both.to_json()["load_seconds"] == 2.0
    assert both.to_json()["first_request_seconds"] == 9.0


def test_json_holds_what_scripts_rely_on() -> None:
    told = json.loads(json.dumps(measured(run(2.0), run(2.0)).to_json(), allow_nan=False))
    expected = {
        "ttft_seconds": 0.2, "decode_tokens_per_second": 32.0, "total_tokens_per_second": 32.0, "peak_bytes": 100,
        "load_seconds": 2.0, "runs": 2, "spread": 0.0,
    }  # fmt: skip
    assert {name: told[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([5.0], 0.0), ([1.0, 1.1], 0.1 / 1.05), ([1.0, 1.0, 1.3], 0.3), ([1.0] * 9 + [50.0], 0.0)],
)
def test_spread(values: list[float], expected: float) -> None:
    assert spread(values) == pytest.approx(expected)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.floats(0.1, 10))
def test_spread_has_no_unit(values: list[float], factor: float) -> None:
    assert spread([value * factor for value in values]) == pytest.approx(spread(values), abs=1e-6)
