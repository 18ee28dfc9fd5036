"""The bench of mutated texts: the same seed gives the same text, and a handful neither crashes nor hangs."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import ModuleType

import pytest

Load = Callable[[str], ModuleType]


def test_a_seed_makes_the_same_text_again(program: Load) -> None:
    bench = program("explain_fuzz")
    texts = bench.originals()
    assert len(texts) > 300
    assert [bench.mutated(seed, texts) for seed in range(20)] == [bench.mutated(seed, texts) for seed in range(20)]
    assert len({bench.mutated(seed, texts) for seed in range(20)}) == 20


def test_mutated_texts_neither_crash_nor_hang(program: Load) -> None:
    found = program("explain_fuzz").fuzz(7_000_000, 250)
    assert [row for row in found["bad"] if "raised" in row] == []
    assert 0 < found["recognized"] < 250
    assert found["milliseconds"]["most"] < 20_000


def test_what_one_call_leaves_the_next_one_does(program: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, output = program("explain_fuzz"), tmp_path / "fuzz.json"
    monkeypatch.setattr(bench, "BLOCK", 2)
    monkeypatch.setattr(multiprocessing, "Pool", ThreadPool)  # the bench is no module that a process could import
    assert bench.fuzz_in_parts(3_000_000, 4, 0, output) is None
    assert [path.name for path in tmp_path.iterdir()] == ["fuzz.json.part"]
    found = bench.fuzz_in_parts(3_000_000, 4, None, output)
    assert found is not None and found["texts"] == 4
    assert found["recognized"] == bench.fuzz(3_000_000, 4)["recognized"]
    assert not list(tmp_path.iterdir())


def test_a_part_of_other_rules_is_not_gone_on_with(
    program: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, output = program("explain_fuzz"), tmp_path / "fuzz.json"
    monkeypatch.setattr(bench, "BLOCK", 2)
    monkeypatch.setattr(multiprocessing, "Pool", ThreadPool)
    bench.fuzz_in_parts(3_000_000, 4, 0, output)
    assert bench._kept(tmp_path / "fuzz.json.part", ["another state"]).texts == 0
