"""Machines x models x workloads: the plans differ as they should, and each is a screen that was read and agreed to.

A screen is written anew with UPDATE_SNAPSHOTS=1; read it before you commit it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from advisor import cli

MACHINES = Path(__file__).parent / "machines"
ALIKE = ("qwen2.5-7b",)
LOOPED = ("--batch", "8", "--goal", "throughput", "--set", "batching=loop")

SCENARIOS: dict[str, tuple[str, tuple[str, ...]]] = {
    "t4-7b": ("t4", ALIKE),
    "rtx-4090-7b": ("rtx-4090", ALIKE),
    "a100-7b": ("a100-80gb", ALIKE),
    "h100-7b": ("h100-80gb", ALIKE),
    "cpu-only-0.5b-looped-fp32": ("cpu-only", ("qwen2.5-0.5b", *LOOPED, "--set", "dtype=float32")),
    "cpu-laptop-0.5b-bf16": ("cpu-laptop", ("qwen2.5-0.5b",)),
    "rtx-4090-32b": ("rtx-4090", ("qwen2.5-32b",)),
    "h100-70b": ("h100-80gb", ("llama-3.1-70b",)),
    "2x-a100-serving-64": ("2x-a100-80gb", ("llama-3.1-8b", "--concurrency", "64", "--goal", "throughput")),
    "t4-7b-flash-attention": ("t4", ("qwen2.5-7b", "--set", "attn_implementation=flash_attention_2")),
    "t4-7b-long-prompt": ("t4", ("qwen2.5-1.5b", "--prompt-tokens", "8192", "--set", "dtype=float16")),
    "a100-one-off": ("a100-80gb", ("qwen2.5-7b", "--repeats", "no")),
    "no-torch": ("no-torch", ALIKE),
    "broken-driver": ("broken-driver", ("qwen2.5-0.5b",)),
}


def plan_of(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    machine, words = SCENARIOS[name]
    assert cli.main(["diagnose", *words, "--machine", str(MACHINES / f"{machine}.json"), "--no-input", "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def steps(plan: dict[str, Any]) -> list[str]:
    return [step["rule"] for step in plan["steps"]]


def verdict(plan: dict[str, Any], rule: str) -> str:
    return next(str(entry["verdict"]) for entry in plan["decisions"] if entry["rule"] == rule)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_screen_is_the_one_that_was_read(
    name: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    snapshot: Callable[[str, str], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    machine, words = SCENARIOS[name]
    assert cli.main(["diagnose", *words, "--machine", str(MACHINES / f"{machine}.json"), "--no-input"]) == 0
    snapshot(name, capsys.readouterr().out)


def test_on_a_t4_a_7b_is_quantized_and_computes_in_fp16(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("t4-7b", capsys)
    assert plan["baseline"]["estimate"]["memory"]["fits"] is False
    assert plan["plan"]["estimate"]["memory"]["fits"] is True
    assert plan["plan"]["setup"]["quantization"] in ("bnb_nf4", "bnb_int8")
    assert plan["plan"]["setup"]["dtype"] == "float16"


@pytest.mark.parametrize("name", ["rtx-4090-7b", "a100-7b", "h100-7b"])
def test_on_larger_cards_it_stays_in_bf16(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    setup = plan_of(name, capsys)["plan"]["setup"]
    assert (setup["dtype"], setup["quantization"]) == ("bfloat16", "none")


def test_compiling_gains_more_where_launching_is_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    """A faster card spends a larger share of a step on launches."""
    gains = []
    for name in ("rtx-4090-7b", "a100-7b", "h100-7b"):
        plan = plan_of(name, capsys)
        gains.append({s["rule"]: s["effect"]["speed"] for s in plan["steps"]}["uncompiled-decoding-of-repeated-shapes"])
    assert gains == sorted(gains)


def test_on_the_cpu_loops_become_batches_in_bf16(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("cpu-only-0.5b-looped-fp32", capsys)
    assert {"one-prompt-at-a-time", "fp32-weights-on-bf16-device"} <= set(steps(plan))
    assert plan["plan"]["setup"]["device"] == "cpu"


def test_an_old_cpu_goes_back_to_fp32_where_that_fits(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("cpu-laptop-0.5b-bf16", capsys)
    assert plan["baseline"]["setup"]["dtype"] == "bfloat16"
    assert plan["plan"]["setup"]["dtype"] == "float32"


def test_flash_attention_is_blocked_on_turing_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("t4-7b-long-prompt", capsys)
    entry = next(e for e in plan["decisions"] if e["rule"] == "long-prompts-without-flash-attention")
    assert entry["verdict"] == "blocked"
    reasons = {reason["clause"]: reason["value"] for reason in entry["because"]}
    assert reasons["gpu.capability >= 8.0"] == 7.5


def test_flash_attention_asked_for_on_turing_is_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("t4-7b-flash-attention", capsys)
    assert "flash-attention-on-an-older-gpu" in steps(plan)
    assert plan["plan"]["setup"]["attn_implementation"] == "sdpa"


def test_a_one_off_is_not_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_of("a100-one-off", capsys)["plan"]["setup"]["compile"] == "none"


def test_many_users_get_continuous_batching(capsys: pytest.CaptureFixture[str]) -> None:
    assert "many-requests-at-once" in steps(plan_of("2x-a100-serving-64", capsys))


def test_a_model_that_cannot_fit_says_by_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("rtx-4090-32b", capsys)
    assert plan["limits"]["baseline"]["shortfall_bytes"] > 30 * 2**30
    assert plan["plan"]["estimate"]["memory"]["fits"] is True


def test_without_a_driver_nothing_is_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("broken-driver", capsys)
    assert plan["machine"]["gpu.name"].get("unknown")
    assert verdict(plan, "model-left-on-cpu") in ("silent", "undecided")
