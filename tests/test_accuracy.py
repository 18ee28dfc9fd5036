"""docs/accuracy.md is what its program writes from the results, and every missed goal has a reason."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def make_accuracy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_accuracy", DOCS / "make_accuracy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_accuracy"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_its_program_writes() -> None:
    assert (DOCS / "accuracy.md").read_text(encoding="utf-8") == make_accuracy().page()


def test_a_reason_stands_where_a_goal_is_missed_and_nowhere_else() -> None:
    program = make_accuracy()
    assert set(program.misses(program.read("published.json"))) == set(program.WHY)


def test_without_results_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make_accuracy()
    monkeypatch.setattr(program, "RESULTS", tmp_path)
    page = program.page()
    assert page.count("no result yet") == len(program.GOALS)
    assert "Published" not in page


def test_a_result_of_another_bench_is_shown_with_its_goals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make_accuracy()
    monkeypatch.setattr(program, "RESULTS", tmp_path)
    exact = {"count": 4, "median": 0.0, "p90": 0.0, "p95": 0.0}
    off = {"count": 4, "median": 0.02, "p90": 0.1, "p95": 0.1}
    result = {
        "title": "Memory on a CPU",
        "about": "Of a machine.",
        "tables": {"peak": [{"runs": "all", "dry run": exact, "formula": None}]},
        "goals": {"KV cache bytes": exact, "peak memory": off},
    }
    (tmp_path / "memory-on-cpu.json").write_text(json.dumps(result), encoding="utf-8")
    page = program.page()
    assert "| KV cache bytes | exact | Memory on a CPU | 4 | 0.0%, 0.0% | yes |" in page
    assert "| peak memory | median <= 1%, p95 <= 5% | Memory on a CPU | 4 | 2.0%, 10.0% | **no** |" in page
    assert "| all | 4 | 0.0% / 0.0% |  |" in page


def tuning_case(quantization: str) -> dict[str, Any]:
    cell = {"process_seconds": 50.0, "setup": {"quantization": "none"}}
    finals = {"naive": 4.0, "plain": 1.1, "small": 1.0}
    return {
        "done": ["grid", "tune", "finals"],
        "plan": "plain",
        "cells": {"naive": cell, "plain": cell, "small": {**cell, "setup": {"quantization": quantization}}},
        "tuned": {"label": "plain", "seconds": 9.0, "setup": {}},
        "finals": {label: [{"request_seconds": seconds}] * 2 for label, seconds in finals.items()},
    }


def test_what_tuning_finds_is_shown_beside_its_goals() -> None:
    section = make_accuracy().accuracy_of_tuning.section
    found = {"machine": {"host.cpu": {"value": "a CPU"}}, "cases": {"one": tuning_case("bnb_nf4"), "two": {"done": []}}}
    said = section(found)
    assert "| one | 3 | small | 0.91 | 0.91 | 0.25 | 150 | 9 |" in said
    assert "| found by `--tune` | 0.909 | at least 0.97 |" in said
    assert "| found by `--tune`, as judged | 1.000 | at least 0.97 |" in said
    assert "| tuning's seconds over the grid's | 6.0% | at most 10% |" in said
    assert "1 of 12 cases" in said


def test_plain_weights_pay_no_price() -> None:
    ratios = make_accuracy().accuracy_of_tuning.ratios
    assert ratios(tuning_case("none"), priced=True) == ratios(tuning_case("none"))
