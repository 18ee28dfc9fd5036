"""The bench of memory on a CPU: errors are summed up honestly, and what was not compared is named."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

Load = Callable[[str], ModuleType]
PASS = {"peak_bytes": 300, "at": "mm", "operators": 1, "attention": [], "cache_bytes": 100, "away_bytes": 0}
ANSWER: dict[str, Any] = {
    "weights": {"linear": {"float32": 4}},
    "weights_held_bytes": 512,
    "prompt": PASS,
    "first_step": None,
    "last_step": None,
    "fullest_step": None,
    "by_layer": {"layers": [4], "embedding": 0, "head": 0, "rest": 0},
    "drawn_out": False,
}
SETUP = {"model": "llama", "dtype": "float32", "attn_implementation": "sdpa"}


def test_at_least_25_types_with_16_setups(program: Load) -> None:
    bench = program("memory_cpu")
    assert len(bench.CONFIGS) >= 25
    assert len(bench.CASES) == 16


def test_errors_are_relative_to_what_was_measured(program: Load) -> None:
    found = program("memory_cpu").compared(ANSWER, {"cache_bytes": 100, "peak_bytes": 400})
    assert found["errors"] == {"cache_bytes": 0, "peak_bytes": pytest.approx(-0.25)}


def test_what_fails_says_on_which_side(program: Load) -> None:
    bench = program("memory_cpu")
    assert bench.compared({"error": "no"}, {}) == {"error": "dry run: no"}
    assert bench.compared(ANSWER, {"error": "no"}) == {"error": "run: no"}


def test_a_type_that_cannot_be_built_is_named_and_counts_nowhere(program: Load) -> None:
    bench = program("memory_cpu")
    fine = {**SETUP, **bench.compared(ANSWER, {"cache_bytes": 100, "peak_bytes": 300})}
    found = bench.result([fine, {"model": "odd", "error": "no such type"}], {"torch": "2"})
    assert "odd (no such type)" in found["about"]
    assert found["goals"]["KV cache bytes"] == {"count": 1, "median": 0, "p90": 0, "p95": 0}
    assert all(line["runs"] != "odd" for line in found["tables"]["Dry run"])


def test_no_error_has_no_summary(program: Load) -> None:
    assert program("memory_cpu").summary([]) is None


def test_others_come_back_in_their_order(program: Load) -> None:
    bench = program("memory_cpu")
    real = {"cache_bytes": 100, "peak_bytes": 400, "weights_bytes": 512}
    parts = [[{"said": ANSWER, "measured": real} for _ in bench.OTHERS[first :: bench.CHILDREN]] for first in (0, 1)]
    parts[1][0] = {"said": ANSWER, "measured": {"error": "no package"}}
    rows = bench.others_rows(parts)
    assert [row["setup"] for row in rows] == [setup for _, setup, _ in bench.OTHERS]
    assert rows[1]["error"] == "run: no package"
    (line, *_) = bench.others_table([row for row in rows if "errors" in row])
    assert line["weights"]["median"] == 0
    assert line["peak memory"]["median"] == pytest.approx(0.25)


def test_nothing_is_as_large_as_nothing(program: Load) -> None:
    assert program("memory_cpu").share(0, 0) == 0
