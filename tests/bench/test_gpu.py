"""The bench for a GPU, as far as it can be held without one: what it would run, and how it sums up."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from advisor.conflicts import conflict
from advisor.facts import read_machine
from advisor.plan import Estimate
from advisor.probe import model as models
from advisor.probe import shapes
from advisor.rulebook import full_vocabulary

Load = Callable[[str], ModuleType]
MACHINE = Path(__file__).parents[1] / "machines" / "h200.json"
ROW: dict[str, Any] = {"shape": "x", "setup": "sdpa, bf16", "basis": "formula"}


@pytest.fixture
def bench(program: Load) -> ModuleType:
    return program("gpu")


def test_ten_shapes_of_growing_size_that_ship(bench: ModuleType) -> None:
    sizes = [models.find(name, "python")[1].count("model.parameters") for name in bench.SHAPES]
    assert len(sizes) == 10 and set(bench.SHAPES) <= set(shapes.names())
    assert sizes == sorted(sizes) and sizes[0] < 1e9 and sizes[-1] > 30e9


def test_every_setup_can_run_and_is_predicted(bench: ModuleType) -> None:
    machine, (_, model) = read_machine(MACHINE, full_vocabulary()), models.find("llama-3.1-8b", "python")
    found = bench.setups(machine, model, "cuda")
    assert {"eager, bf16", "sdpa, int8", "sdpa, nf4", "compiled static, bf16"} <= set(found)
    assert all(conflict(setup) is None for setup in found.values())
    for setup in found.values():
        told: Estimate = bench.formula.estimate(model, machine, bench.WORKLOAD, setup)
        assert 0 < bench.allocated(told) < told.memory.total_bytes
        assert told.speed.decode_tokens_per_second is not None


def test_errors_are_of_rows_that_were_measured(bench: ModuleType) -> None:
    fine = {**ROW, "predicted": {"ttft_seconds": 1.1}, "measured": {"ttft_seconds": 1.0}}
    rows = [fine, {**ROW, "predicted": {"ttft_seconds": 1.1}, "failed": "load: no memory"}]
    assert bench.errors(rows, "ttft_seconds") == [pytest.approx(0.1)]
    assert bench.summary(rows)[0].split()[:4] == ["ttft", "seconds", "median", "10.0%"]
    assert bench.shown(fine).endswith("ttft +10.0%")
    assert bench.shown(rows[1]).endswith("failed: load: no memory")
