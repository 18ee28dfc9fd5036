"""The file of own runs: written a line a run, of this machine alone, and harmless however it is damaged."""

import json
from pathlib import Path

import pytest

from advisor import learnt, own_runs
from advisor.learnt import FIGURES

KIND = "float32/none/eager/one"
TOLD = dict.fromkeys(FIGURES, 10.0)
REAL = {**dict.fromkeys(FIGURES, 8.0), "peak_bytes": 7}


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(own_runs, "place", lambda: tmp_path / "data" / "own-runs.jsonl")


def noted(machine: str = "here") -> None:
    own_runs.note(machine, KIND, {"model_type": "llama", "parameters": 7, "batch": 1}, TOLD, REAL)


def test_without_runs_nothing_is_said() -> None:
    assert not list(own_runs.facts("here"))


def test_runs_of_this_machine_are_counted_and_no_other() -> None:
    noted()
    noted()
    noted("elsewhere")
    found = own_runs.facts("here")
    assert found.count(learnt.COUNT) == 2
    mine = learnt.of_kind(found, KIND)
    assert mine is not None and mine.factors[FIGURES[2]] == pytest.approx(0.8**0.5, abs=1e-4)


def test_a_line_holds_figures_and_nothing_personal() -> None:
    noted()
    (line,) = own_runs.place().read_text(encoding="utf-8").splitlines()
    assert set(json.loads(line)) == {
        *("date", "machine", "kind", "model_type", "parameters", "batch", "predicted", "measured")
    }
    assert set(json.loads(line)["measured"]) == set(FIGURES)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "7",
        "[" * 5000,
        '{"machine": "here"}',
        json.dumps({"machine": "here", "kind": "a b/c/d/e", "predicted": TOLD, "measured": REAL}),
        json.dumps({"machine": "here", "kind": "x", "predicted": TOLD, "measured": REAL}),
        json.dumps({"machine": "here", "kind": KIND, "predicted": TOLD, "measured": dict.fromkeys(FIGURES, "8")}),
        json.dumps({"machine": "here", "kind": KIND, "predicted": TOLD, "measured": dict.fromkeys(FIGURES, 1e9)}),
        json.dumps({"machine": "here", "kind": KIND, "predicted": dict.fromkeys(FIGURES, 0), "measured": REAL}),
        '{"machine": "here", "kind": "a/b/c/d", "predicted": {"ttft_seconds": NaN}, "measured": {"ttft_seconds": 1}}',
        "\x00\xff",
    ],
)
def test_a_damaged_line_costs_itself_alone(line: str) -> None:
    noted()
    with own_runs.place().open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    assert own_runs.facts("here").count(learnt.COUNT) == 1
    noted()
    assert own_runs.facts("here").count(learnt.COUNT) == 2


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr(own_runs, "place", lambda: tmp_path / "file" / "own-runs.jsonl")
    noted()
    assert not list(own_runs.facts("here"))


def test_the_file_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_runs, "MOST_LINES", 3)
    for _ in range(5):
        noted()
    assert len(own_runs.place().read_text(encoding="utf-8").splitlines()) == 3
