"""Machines x models x workloads: the plans differ as they should, and each is a screen that was read and agreed to.

A screen is written anew with UPDATE_SNAPSHOTS=1; read it before you commit it.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from advisor import applying, cli, planfile, rulebook
from advisor.conflicts import conflict
from advisor.setup import Setup

MACHINES = Path(__file__).parent / "machines"
CHAT = ()
LOOPED = ("--batch", "8", "--goal", "throughput", "--set", "batching=loop")
BULK = (
    "--batch",
    "64",
    "--prompt-tokens",
    "256",
    "--new-tokens",
    "256",
    "--goal",
    "throughput",
    "--set",
    "batching=loop",
)
LONG = ("--prompt-tokens", "16384", "--new-tokens", "512")
USERS = ("--concurrency", "64", "--goal", "throughput", "--prompt-tokens", "1024", "--new-tokens", "256")
SMALL = ("--goal", "memory", "--quantize", "freely")
TRAIN = ("--task", "train", "--batch", "4", "--prompt-tokens", "1024")
ENCODE = ("--task", "encode", "--batch", "64", "--prompt-tokens", "256", "--goal", "throughput")

# name: machine, model, workload and what the user has set. The names begin with the machine.
SCENARIOS: dict[str, tuple[str, tuple[str, ...]]] = {
    # Pascal to Turing: no bf16, little memory
    "gtx-1080-1.5b": ("gtx-1080", ("qwen2.5-1.5b",)),
    "gtx-1080-8b": ("gtx-1080", ("llama-3.1-8b",)),
    "v100-7b": ("v100-16gb", ("qwen2.5-7b",)),
    "v100-gpt-oss-20b": ("v100-16gb", ("gpt-oss-20b",)),
    "rtx-2080-ti-windows-3b": ("rtx-2080-ti-windows", ("llama-3.2-3b",)),
    "t4-7b": ("t4", ("qwen2.5-7b",)),
    "t4-7b-flash-attention": ("t4", ("qwen2.5-7b", "--set", "attn_implementation=flash_attention_2")),
    "t4-1.5b-long-prompt": ("t4", ("qwen2.5-1.5b", "--prompt-tokens", "8192", "--set", "dtype=float16")),
    "t4-gemma-2-2b-bulk": ("t4", ("gemma-2-2b", *BULK)),
    # Ampere and Ada, desktop and laptop
    "rtx-3060-8b": ("rtx-3060-12gb", ("llama-3.1-8b",)),
    "rtx-3060-4b-small": ("rtx-3060-12gb", ("qwen3-4b", *SMALL)),
    "rtx-3090-14b-long": ("rtx-3090", ("qwen2.5-14b", *LONG)),
    "rtx-3090-gemma-3-12b-long": ("rtx-3090", ("gemma-3-12b", *LONG)),
    "rtx-3090-mixtral": ("rtx-3090", ("mixtral-8x7b",)),
    "rtx-4060-laptop-7b": ("rtx-4060-laptop", ("qwen2.5-7b",)),
    "rtx-4060-laptop-14b-fit": ("rtx-4060-laptop", ("phi-4", "--goal", "fit")),
    "rtx-4060-laptop-1.7b": ("rtx-4060-laptop", ("smollm2-1.7b", "--quantize", "never")),
    "rtx-4090-7b": ("rtx-4090", ("qwen2.5-7b",)),
    "rtx-4090-14b-long": ("rtx-4090", ("qwen2.5-14b", "--prompt-tokens", "32000", "--new-tokens", "512")),
    "rtx-4090-32b": ("rtx-4090", ("qwen2.5-32b",)),
    "rtx-4090-gpt-oss-20b": ("rtx-4090", ("gpt-oss-20b",)),
    "2x-rtx-4090-32b": ("2x-rtx-4090", ("qwen2.5-32b",)),
    "2x-rtx-4090-8b-batch": ("2x-rtx-4090", ("llama-3.1-8b", "--goal", "throughput", "--batch", "64")),
    "2x-rtx-4090-8b-spread": ("2x-rtx-4090", ("llama-3.1-8b", "--set", "device_map=auto")),
    "rtx-5090-32b-freely": ("rtx-5090", ("qwen3-32b", "--quantize", "freely")),
    # cards of the data center
    "a10g-7b-bulk": ("a10g", ("mistral-7b-v0.3", *BULK)),
    "l4-8b-users": ("l4", ("llama-3.1-8b", *USERS)),
    "l40s-30b-a3b": ("l40s", ("qwen3-30b-a3b",)),
    "a100-7b": ("a100-80gb", ("qwen2.5-7b",)),
    "a100-7b-one-off": ("a100-80gb", ("qwen2.5-7b", "--repeats", "no")),
    "a100-7b-eager-weights-read": (
        "a100-80gb",
        ("qwen2.5-7b", "--set", "attn_implementation=sdpa", "--reads-attention-weights", "yes"),
    ),
    "a100-8b-summaries": ("a100-80gb", ("llama-3.1-8b", "--grounded", "yes", "--prompt-tokens", "4096")),
    "a100-8b-conversation": ("a100-80gb", ("llama-3.1-8b", "--turns", "yes")),
    "a100-8b-int8": ("a100-80gb", ("llama-3.1-8b", "--set", "quantization=bnb_int8")),
    "a100-8b-right-padding-mixed": (
        "a100-80gb",
        ("llama-3.1-8b", "--batch", "16", "--mixed-lengths", "yes", "--set", "padding_side=right"),
    ),
    "a100-deepseek-v2-lite": ("a100-80gb", ("deepseek-v2-lite",)),
    "a100-shared-8b": ("a100-40gb-shared", ("llama-3.1-8b",)),
    "2x-a100-70b": ("2x-a100-80gb", ("llama-3.1-70b",)),
    "2x-a100-8b-users": ("2x-a100-80gb", ("llama-3.1-8b", "--concurrency", "64", "--goal", "throughput")),
    "h100-7b": ("h100-80gb", ("qwen2.5-7b",)),
    "h100-70b": ("h100-80gb", ("llama-3.1-70b",)),
    "h100-8b-long-flash-attention-3": ("h100-flash-attention-3", ("llama-3.1-8b", *LONG)),
    "8x-h100-70b": ("8x-h100", ("llama-3.1-70b",)),
    "8x-h100-deepseek-v3": ("8x-h100", ("deepseek-v3",)),
    "8x-h100-235b-users": ("8x-h100", ("qwen3-235b-a22b", *USERS)),
    "h200-70b": ("h200", ("llama-3.1-70b",)),
    "b200-70b-bulk": ("b200", ("llama-3.1-70b", *BULK)),
    "b200-gemma-3-27b-long": ("b200", ("gemma-3-27b", *LONG)),
    # other makers, and no GPU at all
    "mi300x-70b": ("mi300x", ("llama-3.1-70b",)),
    "rx-7900-xtx-7b": ("rx-7900-xtx", ("qwen2.5-7b",)),
    "m2-max-8b": ("m2-max-64gb", ("llama-3.1-8b",)),
    "arc-b580-3b": ("arc-b580", ("qwen2.5-3b",)),
    "xeon-amx-8b-bulk-fp32": ("xeon-amx", ("llama-3.1-8b", *BULK, "--set", "dtype=float32")),
    "graviton3-1.5b": ("graviton3", ("qwen2.5-1.5b",)),
    "rtx-2080-ti-windows-3b-compiled": ("rtx-2080-ti-windows", ("llama-3.2-3b", "--set", "compile=generate")),
    "a100-8b-map-on-one-gpu": ("a100-80gb", ("llama-3.1-8b", "--set", "device_map=auto")),
    "m2-max-70b": ("m2-max-64gb", ("llama-3.1-70b",)),
    "cpu-only-0.5b-looped-fp32": ("cpu-only", ("qwen2.5-0.5b", *LOOPED, "--set", "dtype=float32")),
    "cpu-measured-0.5b": ("cpu-only-measured", ("qwen2.5-0.5b",)),
    "cpu-measured-0.5b-looped-fp32": ("cpu-only-measured", ("qwen2.5-0.5b", *LOOPED, "--set", "dtype=float32")),
    "cpu-only-0.5b-continuous": ("cpu-only", ("qwen2.5-0.5b", "--batch", "16", "--set", "batching=continuous")),
    "cpu-laptop-0.5b-bf16": ("cpu-laptop", ("qwen2.5-0.5b",)),
    # machines that are not ready
    "no-torch": ("no-torch", ("qwen2.5-7b",)),
    "broken-driver": ("broken-driver", ("qwen2.5-0.5b",)),
    # tasks beside generation
    "rtx-4090-8b-train": ("rtx-4090", ("llama-3.1-8b", *TRAIN)),
    "a10g-0.5b-train": ("a10g", ("qwen2.5-0.5b", *TRAIN)),
    "h100-70b-train": ("h100-80gb", ("llama-3.1-70b", *TRAIN)),
    "t4-encode": ("t4", ("bge-base-en-v1.5", *ENCODE)),
    "cpu-only-encode-fp32": ("cpu-only", ("bge-base-en-v1.5", *ENCODE, "--set", "dtype=float32")),
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


AT_ODDS = (
    ("compile=generate", "cache_implementation=offloaded"),
    ("compile=generate", "quantization=bnb_nf4"),
    ("compile=generate", "device_map=auto"),
    ("compile=generate", "batching=continuous"),
    ("compile=forward", "quantization=quanto_int8"),
    ("compile=forward", "device_map=auto"),
    ("cache_implementation=static", "speculation=prompt_lookup"),
    ("cache_implementation=offloaded", "batching=continuous"),
    ("cache_implementation=static", "use_cache=false"),
    ("quantization=bnb_nf4", "batching=continuous"),
    ("quantization=torchao_int4", "dtype=float16"),
    ("batching=continuous", "speculation=prompt_lookup"),
    ("attn_implementation=flash_attention_2", "dtype=float32"),
)


@pytest.mark.parametrize("machine", ["rtx-4090", "gtx-1080", "cpu-only"])
@pytest.mark.parametrize("given", AT_ODDS, ids=" ".join)
def test_knobs_that_do_not_go_together_are_mended(
    given: tuple[str, ...], machine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for knob in given for word in ("--set", knob)]
    path = str(MACHINES / f"{machine}.json")
    assert (
        cli.main(["diagnose", "qwen2.5-1.5b", "--batch", "4", *words, "--machine", path, "--no-input", "--json"]) == 0
    )
    reached = json.loads(capsys.readouterr().out)["plan"]["setup"]
    assert conflict(Setup(**reached)) is None


def test_on_a_t4_a_7b_is_quantized_and_computes_in_fp16(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("t4-7b", capsys)
    assert plan["baseline"]["estimate"]["memory"]["fits"] is False
    assert plan["plan"]["estimate"]["memory"]["fits"] is True
    assert plan["plan"]["setup"]["quantization"] in ("bnb_nf4", "bnb_int8")
    assert plan["plan"]["setup"]["dtype"] == "float16"


def test_a_plan_that_cannot_run_says_what_would_fit_and_asks_for_no_proof(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("rtx-4060-laptop-14b-fit", capsys)
    assert plan["plan"]["estimate"]["memory"]["fits"] is False
    assert 3 < plan["limits"]["plan"]["bits_to_fit"] < 4
    notes = [note["rule"] for note in plan["notes"]]
    assert "weights-too-large-at-4-bits" in notes and "calibration-larger-than-memory" not in notes
    assert not any(step["fallbacks"] for step in plan["steps"])
    monkeypatch.chdir(tmp_path)
    machine, words = SCENARIOS["rtx-4060-laptop-14b-fit"]
    assert cli.main(["diagnose", *words, "--machine", str(MACHINES / f"{machine}.json"), "--no-input"]) == 0
    said = capsys.readouterr().err
    assert "cannot run here" in said and "Prove it" not in said


@pytest.mark.parametrize(
    ("machine", "words", "notes"),
    [
        ("cpu-laptop", ("qwen3-30b-a3b",), {"experts-left-in-16-bits-on-a-cpu", "weights-too-large-at-2-bits"}),
        ("cpu-laptop", ("gemma-3-12b", "--batch", "16"), {"smaller-files-for-a-cpu-or-apple"}),
        ("m2-max-64gb", ("llama-3.1-70b",), {"smaller-files-for-a-cpu-or-apple", "4-bit-files-for-apple"}),
    ],
)
def test_smaller_weights_are_advised_by_the_room_and_the_device(
    machine: str, words: tuple[str, ...], notes: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """No format of GPUs on a CPU, no file of four bits where one would fit; room is that beside a single prompt."""
    asked = ["diagnose", *words, "--machine", str(MACHINES / f"{machine}.json"), "--json", "--no-input", "--no-dry-run"]
    assert cli.main(asked) == 0
    plan = json.loads(capsys.readouterr().out)
    named = {"files", "experts", "weights-too-large"}
    assert {note["rule"] for note in plan["notes"] if any(word in note["rule"] for word in named)} == notes
    bits = plan["limits"]["plan"]["bits_to_fit"]
    told = " ".join(line for note in plan["notes"] for line in note["advice"])
    assert f"{bits:.3g} bits" in told and "FineGrainedFP8" not in told
    decided = {decision["rule"]: decision["verdict"] for decision in plan["decisions"]}
    assert decided["batch-larger-than-memory"] == ("blocked" if plan["workload"]["batch"] > 1 else "silent")


def test_a_batch_too_large_for_one_gpu_is_split_and_not_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    """A copy for each GPU keeps both busy; layers spread over both keep one busy at a time."""
    plan = plan_of("2x-rtx-4090-8b-batch", capsys)
    assert plan["baseline"]["estimate"]["memory"]["fits"] is False
    assert (plan["plan"]["setup"]["device_map"], plan["plan"]["setup"]["batch_size"]) == ("none", 32)
    assert "further-gpus-left-idle" in [note["rule"] for note in plan["notes"]]


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
    plan = plan_of("t4-1.5b-long-prompt", capsys)
    entry = next(e for e in plan["decisions"] if e["rule"] == "long-prompts-without-flash-attention")
    assert entry["verdict"] == "blocked"
    reasons = {reason["clause"]: reason["value"] for reason in entry["because"]}
    assert reasons["gpu.capability >= 8.0"] == 7.5


def test_flash_attention_asked_for_on_turing_is_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("t4-7b-flash-attention", capsys)
    assert "flash-attention-on-an-older-gpu" in steps(plan)
    assert plan["plan"]["setup"]["attn_implementation"] == "sdpa"


def test_a_one_off_is_not_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_of("a100-7b-one-off", capsys)["plan"]["setup"]["compile"] == "none"


def test_many_users_get_continuous_batching(capsys: pytest.CaptureFixture[str]) -> None:
    assert "many-requests-at-once" in steps(plan_of("2x-a100-8b-users", capsys))


def test_a_model_that_cannot_fit_says_by_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("rtx-4090-32b", capsys)
    assert plan["limits"]["baseline"]["shortfall_bytes"] > 30 * 2**30
    assert plan["plan"]["estimate"]["memory"]["fits"] is True


def test_without_a_driver_nothing_is_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("broken-driver", capsys)
    assert plan["machine"]["gpu.name"].get("unknown")
    assert verdict(plan, "model-left-on-cpu") in ("silent", "undecided")


@pytest.mark.models
def test_no_plan_sets_what_the_installed_library_refuses(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[[Sequence[str]], dict[str, str]],
) -> None:
    """The setup of every plan becomes a program whose arguments and configurations the installed transformers takes."""
    monkeypatch.chdir(tmp_path)
    texts: dict[str, str] = {}
    for name in SCENARIOS:
        plan = plan_of(name, capsys)
        # Only a machine with this environment can say what this environment takes; other tasks are never run.
        if plan["workload"]["task"] != "generate" or plan["machine"]["transformers.version"].get("value") != "5.22.2":
            continue
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(plan), encoding="utf-8")
        read = planfile.read(path, rulebook.full_vocabulary())
        texts[name] = applying.export(read, read.setup)
    assert len(texts) >= 40
    found = refused(list(texts.values()))
    assert {name: found[text] for name, text in texts.items() if text in found} == {}
