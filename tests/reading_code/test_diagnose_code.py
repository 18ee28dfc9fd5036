"""`diagnose --code`: the script's knobs are the baseline unless --set says otherwise, and its lines are shown."""

import json
from pathlib import Path

import pytest

from advisor import cli

ROOT = Path(__file__).parents[2]
MACHINE = str(ROOT / "tests" / "machines" / "rtx-4090.json")
SCRIPT = """
import torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("m", torch_dtype=torch.float32, load_in_8bit=True)
for p in prompts:
    model.generate(p, max_new_tokens=32)
"""


def diagnose(script: Path, *words: str) -> int:
    command = ["diagnose", "qwen2.5-0.5b", "--machine", MACHINE, "--no-input", "--code", str(script)]
    return cli.main([*command, *words])


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "use.py"
    path.write_text(SCRIPT)
    return path


def test_the_script_states_the_baseline(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose(script, "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["baseline"]["setup"]["dtype"] == "float32"
    assert plan["baseline"]["setup"]["batching"] == "loop"
    assert plan["baseline"]["sources"]["dtype"] == "use.py:4"
    assert plan["workload"]["new_tokens"] == 32
    assert "old-name-load-in-8bit-or-4bit" in [note["rule"] for note in plan["notes"]]
    assert str(script.parent) not in json.dumps(plan)


def test_what_is_set_counts_more_than_the_script(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose(script, "--json", "--set", "dtype=bfloat16", "--new-tokens", "7") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["baseline"]["setup"]["dtype"] == "bfloat16"
    assert plan["baseline"]["sources"]["dtype"] == "you"
    assert plan["workload"]["new_tokens"] == 7


def test_the_screen_names_the_lines(script: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert diagnose(script, "-o", str(tmp_path / "p.json")) == 0
    told = capsys.readouterr()
    assert "In your script: use.py:4" in told.out
    assert "--code" in told.err


def test_without_a_script_its_rules_are_shown_with_the_details_only(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["diagnose", "qwen2.5-0.5b", "--machine", MACHINE, "--no-input", "-o", str(tmp_path / "p.json")]
    assert cli.main(command) == 0
    assert "first-call-is-timed" not in capsys.readouterr().out
    assert cli.main([*command, "--details"]) == 0
    shown = capsys.readouterr().out
    assert "first-call-is-timed" in shown
    assert "--code FILE reads it" in " ".join(shown.split())


def test_a_script_that_is_no_python_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text("x = (\n")
    assert diagnose(tmp_path / "bad.py") == 2
    told = capsys.readouterr().err
    assert "bad.py:1" in told
    assert told.count("\n") == 1
