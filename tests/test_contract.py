"""The JSON that scripts rely on: every field of the contract is there, of its kind, and null where unknown."""

import json
from pathlib import Path
from typing import Any

import pytest

from advisor import cli

MACHINES = Path(__file__).parent / "machines"
SIZES = ("weights_bytes", "kv_cache_bytes", "kv_cache_peak_bytes", "activation_peak_bytes", "overhead_bytes",
         "total_bytes", "available_bytes")  # fmt: skip
RATES = ("ttft_seconds", "decode_tokens_per_second", "total_tokens_per_second")


def diagnose(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main(["diagnose", *words, "--no-input", "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def is_estimate(data: dict[str, Any]) -> None:
    assert set(data) == {"memory", "speed", "basis", "basis_note", "speed_basis", "band"}
    for name in SIZES:
        assert data["memory"][name] is None or type(data["memory"][name]) is int, name
    assert data["memory"]["fits"] in (True, False, None)
    for name in RATES:
        assert data["speed"][name] is None or type(data["speed"][name]) is float, name
    assert data["basis"] in ("dry run", "formula")
    for band in (data["band"]["memory"], data["band"]["speed"]):
        assert band is None or (len(band) == 2 and band[0] <= 1 <= band[1])


@pytest.mark.parametrize("machine", ["t4", "a100-80gb", "cpu-only", "no-torch", "broken-driver"])
def test_a_plan_follows_the_contract(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = diagnose(capsys, "llama-3.1-8b", "--machine", str(MACHINES / f"{machine}.json"), "--batch", "8")
    assert data["schema"] == 1
    assert set(data) >= {"model", "workload", "machine", "baseline", "plan", "steps", "decisions", "questions"}
    for part in ("baseline", "plan"):
        is_estimate(data[part]["estimate"])
        assert isinstance(data[part]["setup"], dict)
    for step in data["steps"]:
        assert set(step) >= {"rule", "rung", "summary", "change", "effect", "evidence", "because", "fallbacks"}
        assert set(step["effect"]) == {"speed", "memory_bytes", "quality"}
        assert all(set(reason) == {"clause", "value", "source"} for reason in step["because"])
    assert {entry["verdict"] for entry in data["decisions"]} <= {"fires", "silent", "undecided", "blocked"}
    assert all(entry["because"] for entry in data["decisions"])
    assert all(entry["source"] in ("you", "assumed") for entry in data["questions"])


def test_nothing_is_written_without_o(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    diagnose(capsys, "llama-3.1-8b", "--machine", str(MACHINES / "t4.json"))
    assert list(tmp_path.iterdir()) == []


def test_the_file_and_stdout_are_the_same_object(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output = tmp_path / "plan.json"
    data = diagnose(capsys, "llama-3.1-8b", "--machine", str(MACHINES / "t4.json"), "-o", str(output))
    assert json.loads(output.read_text()) == data


def test_what_is_stated_is_the_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--set", "dtype=float32", "--set", "batching=loop", "--batch", "8")
    data = diagnose(capsys, "llama-3.1-8b", "--machine", str(MACHINES / "a100-80gb.json"), *words)
    assert data["baseline"]["setup"]["dtype"] == "float32"
    assert data["baseline"]["setup"]["batching"] == "loop"
    assert data["workload"]["batch"] == 8
