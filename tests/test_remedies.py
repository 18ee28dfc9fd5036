"""`explain --model` and `--plan`: the setup in force judges the fixes, the estimate ranks what would make it fit."""

import json
from pathlib import Path
from typing import Any

import pytest

from advisor import cli
from advisor.explaining import FixFound
from advisor.remedies import judged
from advisor.setup import Setup

ROOT = Path(__file__).parents[1]
OOM = str(ROOT / "docs/examples/oom.txt")
MACHINES = ROOT / "tests/machines"
RTX_4090 = ["--machine", str(MACHINES / "rtx-4090.json")]
GIB = 2**30
FITS_BY_ESTIMATE = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 3.00 GiB. GPU 0 has a total capacity of 23.64 GiB "
    "of which 1.00 GiB is free. Including non-PyTorch memory, this process has 22.60 GiB memory in use. Of the "
    "allocated memory 22.00 GiB is allocated by PyTorch, and 100.00 MiB is reserved by PyTorch but unallocated.\n"
)


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main(["explain", "--json", *words]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def applies(data: dict[str, Any], knob: str) -> list[str]:
    return [fix["applies"] for fix in data["fixes"] if knob in (fix["change"] or {})]


def test_the_ways_are_ranked_and_the_first_suffices(capsys: pytest.CaptureFixture[str]) -> None:
    found = explained(capsys, OOM, "--model", "llama-3.1-8b", *RTX_4090)["remedies"]
    first = found["ways"][0]
    assert first["change"] == {"attn_implementation": "sdpa"}
    assert first["enough"] is True
    assert first["total_bytes"] == found["estimate"]["memory"]["total_bytes"] - first["saved_bytes"]
    assert [way["enough"] for way in found["ways"]] == sorted((w["enough"] for w in found["ways"]), reverse=True)
    memory = found["estimate"]["memory"]
    assert found["missing_bytes"] == memory["total_bytes"] - memory["available_bytes"]
    assert found["missing_by"] == "estimate"


def test_doing_less_comes_after_what_does_all(capsys: pytest.CaptureFixture[str]) -> None:
    ways = explained(capsys, OOM, "--model", "llama-3.1-8b", *RTX_4090)["remedies"]["ways"]
    enough = [set(way["change"]) for way in ways if way["enough"]]
    assert enough[-1] == {"prompt_tokens"}
    assert {"prompt_tokens"} not in enough[:-1]


def test_where_the_estimate_sees_no_shortage_the_text_s_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "oom.txt"
    path.write_text(f"run(batch_size=1, max_seq_length=512)\n{FITS_BY_ESTIMATE}")
    found = explained(capsys, str(path), "--model", "llama-3.1-8b", *RTX_4090)["remedies"]
    assert (found["missing_by"], found["missing_bytes"]) == ("text", 2 * GIB)
    assert found["estimate"]["memory"]["fits"] is True
    assert found["ways"] and found["sizes_known"] is True
    assert all((way["saved_bytes"] >= 2 * GIB) == way["enough"] for way in found["ways"])


def test_what_the_estimate_fits_is_not_spread_to_save_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "oom.txt"
    path.write_text(f"run(batch_size=1, max_seq_length=512)\n{FITS_BY_ESTIMATE}")
    ways = explained(capsys, str(path), "--model", "llama-3.1-8b", *RTX_4090)["remedies"]["ways"]
    assert not any("device_map" in way["change"] for way in ways)


def test_where_sizes_are_assumed_they_are_asked_for_and_nothing_is_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "oom.txt"
    path.write_text(FITS_BY_ESTIMATE)
    command = [str(path), "--model", "llama-3.1-8b", *RTX_4090]
    found = explained(capsys, *command)["remedies"]
    assert (found["sizes_known"], found["ways"], found["together"]) == (False, [], {})
    assert cli.main(["explain", *command]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "The text does not tell how large the requests were" in shown
    assert "--batch N --prompt-tokens N" in shown and "No change" not in shown


@pytest.fixture
def plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = str(tmp_path / "plan.json")
    words = ["--no-input", "--goal", "memory", "--set", "dtype=float32", "-o", path, *RTX_4090]
    assert cli.main(["diagnose", "qwen2.5-0.5b", *words]) == 0
    capsys.readouterr()
    return path


def test_the_plan_s_setup_is_in_force(plan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "oom.txt"
    path.write_text(
        "Traceback (most recent call last):\n  model = AutoModelForCausalLM.from_pretrained(name).to('cuda')\n"
        f'  File "torch/nn/modules/module.py", line 1160, in convert\n{FITS_BY_ESTIMATE}'
    )
    before = explained(capsys, str(path), *RTX_4090)
    after = explained(capsys, str(path), "--plan", plan, *RTX_4090)
    assert before["cause"] == "weights_do_not_fit"
    assert applies(before, "dtype") == ["yes"]
    assert applies(after, "dtype") == ["already"]


def test_a_text_that_contradicts_the_plan_counts(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", OOM, "--plan", plan, *RTX_4090]) == 0
    assert "The plan says attn_implementation=sdpa, the text eager (oom.txt:4)" in capsys.readouterr().err


def test_a_text_about_far_larger_requests_gets_no_way_out(
    plan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "oom.txt"
    path.write_text(FITS_BY_ESTIMATE)
    assert explained(capsys, str(path), "--plan", plan, *RTX_4090)["remedies"]["ways"] == []
    assert cli.main(["explain", str(path), "--plan", plan, *RTX_4090]) == 0
    assert "far larger requests, or another model" in " ".join(capsys.readouterr().out.split())


def test_model_and_plan_must_agree(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", OOM, "--plan", plan, "--model", "llama-3.1-8b", *RTX_4090]) == 2
    assert "--model: the plan is about qwen2.5-0.5b" in capsys.readouterr().err


def test_other_errors_have_no_memory_to_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "error.txt"
    path.write_text("ImportError: FlashAttention2 has been toggled on, but it cannot be used due to the following "
                    "error: the package flash_attn seems to be not installed.")  # fmt: skip
    assert "remedies" not in explained(capsys, str(path), "--model", "llama-3.1-8b", *RTX_4090)


def fix(**change: Any) -> FixFound:
    return FixFound("x", "x", change, None, "yes")


def test_what_is_in_force_is_no_advice_and_what_conflicts_is_ruled_out() -> None:
    setup = Setup(dtype="bfloat16", cache_implementation="offloaded", device="cuda")
    same, other, none = judged(
        [fix(dtype="bfloat16"), fix(dtype="float16"), FixFound("y", "y", None, "z", "yes")], setup
    )
    assert (same.applies, other.applies, none.applies) == ("already", "yes", "yes")


def test_the_screen_shows_the_gap_and_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", OOM, "--model", "llama-3.1-8b", *RTX_4090]) == 0
    shown = capsys.readouterr().out
    assert (
        "What would make it fit, by the estimate\n"
        "57.7 GiB needed of 23.6 GiB for batch 1 (assumed), 11585 prompt tokens, 256 new\n"
        "tokens (by formula): 34.0 GiB missing\n"
        '1  from_pretrained(..., attn_implementation="sdpa")\n   enough: needs 18.2 GiB'
    ) in shown


def test_what_fits_by_the_estimate_is_said_with_what_was_assumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "oom.txt"
    path.write_text("torch.OutOfMemoryError: CUDA out of memory.")
    assert cli.main(["explain", str(path), "--model", "qwen2.5-0.5b", *RTX_4090]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "batch 1 (assumed), 512 prompt tokens (assumed), 128 new tokens (assumed)" in shown
    assert "which would fit. If your requests are larger" in shown
