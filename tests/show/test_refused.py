"""What cannot run gets no speed."""

import json
from pathlib import Path

import pytest

from advisor import cli, rulebook
from advisor.show.refused import REFUSALS

MACHINES = Path(__file__).parents[1] / "machines"
FLASH = "attn_implementation=flash_attention_2"


def screen(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str, accepted: bool) -> str:
    """Of a 4090 without flash-attn, where transformers would fetch a kernel in its place, or not."""
    machine = json.loads((MACHINES / "rtx-4090.json").read_text())
    machine["facts"]["kernels.accepted"] = {"value": accepted, "source": "test"}
    (tmp_path / "machine.json").write_text(json.dumps(machine))
    command = ["diagnose", "llama-3.1-8b", "--machine", str(tmp_path / "machine.json"), "--no-input", "--no-dry-run"]
    assert cli.main([*command, "-o", str(tmp_path / "plan.json"), *words]) == 0
    return capsys.readouterr().out


def test_a_backend_that_is_not_there_has_no_speed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = screen(tmp_path, capsys, "--set", FLASH, accepted=False)
    decode = next(line for line in said.splitlines() if line.startswith("decode"))
    assert "cannot run" in decode and "tok/s" in decode and "x" not in decode
    assert "As it is now it cannot run: FlashAttention 2 is asked for" in said


@pytest.mark.parametrize(("words", "accepted"), [(("--set", FLASH), True), ((), False)])
def test_a_kernel_from_the_hub_or_another_backend_runs(
    words: tuple[str, ...], accepted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "cannot run" not in screen(tmp_path, capsys, *words, accepted=accepted)


def test_refusals_are_rules_about_attention_that_always_hold() -> None:
    shipped = {rule.id: rule for rule in rulebook.load(rulebook.shipped())}
    assert shipped.keys() >= REFUSALS
    assert all(shipped[name].always and set(shipped[name].change) == {"attn_implementation"} for name in REFUSALS)
