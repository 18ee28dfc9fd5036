"""The bench of speed on a CPU: its shapes, what counts as disturbed, and predictions from a recorded result."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Load = Callable[[str], ModuleType]
RESULTS = Path(__file__).parents[2] / "bench" / "results"


def row(predicted: float, measured: float, disturbed: int = 0) -> dict[str, Any]:
    names = ("ttft_seconds", "decode_tokens_per_second", "total_tokens_per_second")
    figures = {"predicted": dict.fromkeys(names, predicted), "measured": dict.fromkeys(names, measured)}
    return {"model": "llama-20m", "dtype": "float32", "batch": 1, "runs": 3, "disturbed_runs": disturbed, **figures}


def test_six_shapes_in_three_families(program: Load) -> None:
    bench = program("cpu_speed")
    assert len(bench.SHAPES) == 6
    assert len({config["model_type"] for config in bench.SHAPES.values()}) >= 3
    assert len(bench.TYPES) * len(bench.BATCHES) == 4


def test_what_was_always_disturbed_does_not_count(program: Load) -> None:
    text = program("cpu_speed").summary([row(11, 10), row(30, 10, disturbed=3)])
    assert "median  10.0%" in text
    assert "of 1" in text


def test_a_quarter_of_the_runs_is_better(program: Load) -> None:
    inside = program("inside_cpu_speed")
    assert inside.at_its_best([3.0, 1.0, 2.0, 4.0], True) == 2.0
    assert inside.at_its_best([3.0, 1.0, 2.0, 4.0], False) == 3.0


@pytest.mark.parametrize("path", sorted(RESULTS.glob("cpu-speed*.json")), ids=lambda path: path.stem)
def test_what_stands_in_the_result_is_what_the_formula_says_today(program: Load, path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    if "models" not in result:
        pytest.skip("recorded before the models' facts were")
    for before, now in zip(result["rows"], program("cpu_speed").again(result), strict=True):
        assert now["predicted"] == pytest.approx(before["predicted"])
