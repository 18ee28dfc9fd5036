"""The bench of published runs reads a file, leaves out what it must, and sums up errors. The data does not ship."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Load = Callable[[str], ModuleType]
RUN: dict[str, Any] = {
    "framework": "transformers",
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "gpu": "A100-SXM4-80GB",
    "n_gpus": 1,
    "quant": "none",
    "dtype": "bfloat16",
    "batch": 1,
    "prompt_len": 6144,
    "new_tokens": 2048,
    "attn": "flash_attention_2",
    "source": "made up for a test",
    "env": {"transformers": "4.46.0"},
}
LEFT_OUT = [
    {"framework": "vllm"},
    {"n_gpus": 2},
    {"model": "unknown/Model-1B"},
    {"gpu": "A800"},
    {"quant": "fp8"},
    {"env": {"transformers": "unknown"}},
]


@pytest.fixture
def bench(program: Load) -> tuple[ModuleType, ModuleType]:
    runs = program("published_runs")  # first: published.py imports it by its name
    return program("published"), runs


def written(folder: Path, *changes: dict[str, Any]) -> Path:
    path = folder / "runs.jsonl"
    path.write_text("".join(json.dumps({**RUN, **change}) + "\n" for change in changes), encoding="utf-8")
    return path


def test_runs_that_cannot_be_compared_are_left_out(bench: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    _, runs = bench
    assert len(runs.read(written(tmp_path, {}, *LEFT_OUT))) == 1


def test_errors_are_relative_to_what_was_published(bench: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    program, runs = bench
    (run,) = runs.read(written(tmp_path, {"peak_mem_gib": 14.5}))
    weights = 7_615_616_512 * 2 / 2**30
    assert program.accelerate_error(run) == pytest.approx(weights / 14.5 - 1)
    assert program.weights_error(run, 1.2) == pytest.approx(1.2 * weights / 14.5 - 1)
    assert program.cached_error(run) > program.accelerate_error(run)
    assert program.memory_error(run) > program.cached_error(run)
    assert program.rate_error(run) is None


def test_the_host_is_taken_from_one_run_that_is_left_out(bench: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    program, runs = bench
    small = {"model": "Qwen/Qwen2.5-0.5B-Instruct", "gen_tps": 30.0, "prompt_len": 1}
    slow = {"model": "Qwen/Qwen2.5-1.5B-Instruct", "gen_tps": 26.0, "prompt_len": 1}
    found = runs.read(written(tmp_path, small, slow))
    seconds, anchor = program.host_seconds(found)
    assert anchor is found[0]
    assert 0.9e-3 < seconds < 1.6e-3
    error = program.with_host(found)
    assert error(found[0]) is None
    assert abs(error(found[1])) < abs(program.rate_error(found[1]))


def test_a_run_that_waits_for_memory_says_nothing_of_its_host(
    bench: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    program, runs = bench
    slow = {"model": "meta-llama/Llama-3.1-8B", "gpu": "RTX 4090", "gen_tps": 47.0, "prompt_len": 1}
    assert program.host_seconds(runs.read(written(tmp_path, slow))) is None


def test_the_result_has_every_way_to_estimate(
    bench: tuple[ModuleType, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, _ = bench
    path, out = written(tmp_path, {"peak_mem_gib": 15.4, "gen_tps": 40.0}), tmp_path / "result.json"
    assert program.main([str(path), str(out)]) == 0
    assert "weights x 1.2" in capsys.readouterr().out
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [row["runs"] for row in found["memory"]] == ["all", "Qwen2.5, transformers 4.46.0"]
    assert set(program.MEMORY) < set(found["memory"][0])
    assert found["memory"][0]["perf-advisor"]["count"] == 1
    assert found["versions"]["perf-advisor"]
    assert found["bands"]["memory"] == {"count": 1, "inside": 1.0}
    assert set(found["bands"]) == {"memory", "speed, device by name"}


def test_without_a_file_the_program_says_what_it_wants(
    bench: tuple[ModuleType, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench[0].main([]) == 2
    assert "RUNS.jsonl" in capsys.readouterr().out
    assert "published_runs" in sys.modules
