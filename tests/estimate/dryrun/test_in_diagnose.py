"""The dry run as `diagnose` uses it: both setups by the real child, kept, left out on request, refused with a word."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from advisor import child, cli, kept, rulebook
from advisor.commands import diagnose
from advisor.estimate.dryrun import ask
from advisor.facts import Facts, Known, read_machine

pytestmark = pytest.mark.models

MACHINES = Path(__file__).parents[2] / "machines"
LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 2048,
    "dtype": "bfloat16",
}
WORDS = ["--no-input", "--batch", "2", "--prompt-tokens", "100", "--new-tokens", "10"]


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine is a recorded one with the libraries that are installed, looked at in no time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    installed = {f"{name}.version": Known(metadata.version(name), "test") for name in ("torch", "transformers")}
    recorded = read_machine(MACHINES / "cpu-only.json", rulebook.full_vocabulary()) | Facts(installed)
    monkeypatch.setattr(diagnose, "look", lambda *_, **__: recorded)


def written(folder: Path, **more: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps({**LLAMA, **more}), encoding="utf-8")
    return str(path)


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, Any], str]:
    assert cli.main(["diagnose", *words, *WORDS, "--json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_both_setups_are_run_once_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, talk = planned(capsys, written(tmp_path))
    assert "Running the model's code without memory" in talk
    found = plan["baseline"]["estimate"]
    assert (found["basis"], found["basis_note"]) == ("dry run", None)
    assert found["memory"]["kv_cache_bytes"] == 2 * 2 * 109 * 2 * 2 * 16 * 2
    again, talk = planned(capsys, written(tmp_path))
    assert talk == ""
    assert again["baseline"]["estimate"] == found


def test_it_is_left_out_on_request_and_for_another_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--no-dry-run"], ["--machine", str(MACHINES / "cpu-only.json")]):
        plan, talk = planned(capsys, written(tmp_path), *words)
        assert plan["baseline"]["estimate"]["basis"] == "formula"
        assert plan["baseline"]["estimate"]["basis_note"] is None
        assert talk == ""


def test_a_failure_is_said_on_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = written(tmp_path)
    planned(capsys, model)  # keeps what the library makes of the configuration
    monkeypatch.setattr(kept, "read", lambda *_: None)
    real = child.run

    def run(python: str, program: Path, *more: Any) -> child.Outcome:
        if program == ask.PROGRAMS[0]:
            return child.Died("killed by SIGKILL", "", 1.0)
        return real(python, program, *more)

    monkeypatch.setattr(child, "run", run)
    assert cli.main(["diagnose", model, *WORDS]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Memory by formula, no dry run: killed by SIGKILL." in said
    assert "by formula; memory" in said
