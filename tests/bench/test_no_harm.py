"""Thirty different plans, harm told from gain, and a table that says both."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def loaded(place: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[place.stem] = module
    spec.loader.exec_module(module)
    return module


bench = loaded(ROOT / "bench" / "no_harm.py")
page = loaded(ROOT / "docs" / "harm_on_cpu.py")


def test_the_cases_differ_and_are_many() -> None:
    names = [case.name for case in bench.CASES]
    assert len(names) == len(set(names)) >= 30
    assert {case.family for case in bench.CASES} == set(bench.FAMILIES)
    assert {case.width for case in bench.CASES} == set(bench.WIDTHS)


@pytest.mark.parametrize(
    ("again", "harm"),
    [
        (None, False),
        ({"verdict": "slower", "gain": 0.9, "noise": 0.05}, True),
        ({"verdict": "no better than noise", "gain": 0.9, "noise": 0.15}, False),
        ({"verdict": "holds", "gain": 1.2, "noise": 0.05}, False),
        ({"verdict": "fails", "gain": None, "noise": None}, True),
        ({"verdict": "holds", "gain": None, "noise": None}, False),
    ],
)
def test_harm_is_worse_than_noise(again: dict[str, Any] | None, harm: bool) -> None:
    assert bench.harmed(again) is harm


def test_the_table_says_how_each_case_ended() -> None:
    row = {
        "case": "llama tiny", "goal": "latency", "outcome": "holds", "speedup": 1.5, "steps": ["a", "b"], "kept": ["a"],
        "again": {"verdict": "slower", "gain": 0.8, "noise": 0.04}, "harmed": True,
    }  # fmt: skip
    still = {
        **row,
        "case": "opt tiny",
        "outcome": "no-gain",
        "speedup": 1.0,
        "kept": [],
        "again": None,
        "harmed": False,
    }
    machine = {"host.cpu": "a CPU", "torch.version": "2.13.0", "transformers.version": "5.22.2"}
    said = page.section({"machine": machine, "cases": 30, "rows": [row, still]})
    assert "**1 of 2 ended slower" in said
    assert "| llama tiny | holds | 1.50 | 0.80 | 4% | 1 of 2 |" in said
    assert "| opt tiny | no-gain |  |  |  | 0 of 2 |" in said


def test_a_recorded_result_is_of_these_cases() -> None:
    place = ROOT / "bench" / "results" / "no-harm-2-cores.json"
    if not place.exists():
        pytest.skip("not measured yet")
    result = json.loads(place.read_text(encoding="utf-8"))
    assert {row["case"] for row in result["rows"]} <= {case.name for case in bench.CASES}
    assert all(row["harmed"] == bench.harmed(row["again"]) for row in result["rows"])
