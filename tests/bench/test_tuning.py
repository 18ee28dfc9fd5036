"""The bench of tuning: its grid, and what follows from recorded finals."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from advisor.conflicts import conflict
from advisor.setup import Setup

Load = Callable[[str], ModuleType]
NAIVE = Setup(
    device="cpu", dtype="float32", attn_implementation="sdpa", batching="loop", cache_implementation="dynamic",
    compile="none", quantization="none", threads=2,
)  # fmt: skip


def cases_of(program: Load) -> ModuleType:
    program("cpu_speed")  # first: what a program imports by its name
    return program("tuning_cases")


def bench(program: Load) -> ModuleType:
    cases_of(program)
    return program("tuning")


def test_four_models_of_three_families_and_three_workloads(program: Load) -> None:
    cases = cases_of(program)
    assert len(cases.SHAPES) == 4
    assert len({config["model_type"] for config in cases.SHAPES.values()}) == 3
    assert {load.goal for load in cases.WORKLOADS.values()} == {"latency", "throughput"}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_grid_holds_the_naive_setup_and_nothing_twice(program: Load, device: str) -> None:
    cases = cases_of(program)
    for load in cases.WORKLOADS.values():
        grid = cases.grid(NAIVE, load, device)
        assert next(iter(grid)) == "naive"
        assert grid["naive"] == NAIVE
        assert len(set(grid.values())) == len(grid) >= (12 if device == "cpu" else 8)
        assert all(conflict(setup) is None for setup in grid.values())
        assert (device == "cuda") == all(setup.threads == 2 for setup in grid.values())


def case(**seconds: tuple[float, float]) -> dict[str, Any]:
    return {
        "done": ["grid", "tune", "finals"],
        "plan": "plan",
        "cells": {name: {"process_seconds": 50.0} for name in ("naive", "plan")},
        "tuned": {"label": "tuned", "seconds": 9.0},
        "finals": {name: [{"request_seconds": one} for one in pair] for name, pair in seconds.items()},
    }


def test_ratios_come_from_the_finals(program: Load) -> None:
    found = bench(program).ratios(case(naive=(4.0, 4.2), plan=(1.0, 1.0), tuned=(1.2, 1.3)))
    assert found == pytest.approx({"tuned": 0.8, "plan": 1.0, "naive": 1 / 4.1, "share of time": 0.09})


def test_what_tuning_finds_outside_the_grid_may_be_better_than_its_best(program: Load) -> None:
    found = bench(program).ratios(case(naive=(4.0, 4.0), plan=(1.0, 1.0), tuned=(0.8, 0.8)))
    assert found["tuned"] == pytest.approx(1.25)


def test_cases_that_are_not_done_are_not_shown(program: Load) -> None:
    one = case(naive=(4.0, 4.0), plan=(1.0, 1.0), tuned=(1.0, 1.0))
    lines = bench(program).lines({"a": one, "b": {**one, "done": ["grid"]}})
    assert [line.split()[0] for line in lines] == ["a", "tuned:", "plan:", "naive:", "share"]
    assert lines[3] == "naive: 0.250"
