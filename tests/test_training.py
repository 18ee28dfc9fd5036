"""Plans for training: what fits on which device and by which steps; nothing of them is ever run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from advisor import cli
from advisor.show import in_code

MACHINES = Path(__file__).parent / "machines"
TRAIN = ("--task", "train", "--batch", "4", "--prompt-tokens", "1024", "--no-input")


def diagnosed(machine: str, model: str, *words: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    where = ("--machine", str(MACHINES / f"{machine}.json"))
    assert cli.main(["diagnose", model, *TRAIN, *where, *words, "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def fits(plan: dict[str, Any]) -> tuple[bool, bool]:
    """Whether the user's setup fits, and the plan's."""
    now, then = (plan[part]["estimate"]["memory"]["fits"] for part in ("baseline", "plan"))
    return now, then


def rules(plan: dict[str, Any], what: str = "steps") -> set[str]:
    return {entry["rule"] for entry in plan[what]}


def test_an_8b_is_trained_by_adapters_on_24_gb(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("rtx-4090", "llama-3.1-8b", capsys=capsys)
    assert fits(plan) == (False, True)
    assert rules(plan) == {"full-fine-tuning-larger-than-memory", "activations-larger-than-memory"}
    assert plan["plan"]["setup"]["quantization"] == "none"


def test_longer_sequences_ask_for_4_bits_under_the_adapters(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("rtx-4090", "llama-3.1-8b", "--prompt-tokens", "6144", capsys=capsys)
    assert fits(plan) == (False, True)
    assert "base-weights-too-large-for-adapters" in rules(plan)


def test_frozen_weights_are_fp16_where_bf16_has_no_units(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = diagnosed("t4", "llama-3.1-8b", "--batch", "1", capsys=capsys)
    assert fits(plan) == (False, True)
    assert "frozen-bf16-weights-on-fp16-gpu" in rules(plan)
    setup = plan["plan"]["setup"]
    assert (setup["dtype"], setup["mixed_precision"], setup["quantization"]) == ("float16", "fp16", "bnb_nf4")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["diagnose", "llama-3.1-8b", *TRAIN, "--machine", str(MACHINES / "t4.json")]) == 0
    shown = capsys.readouterr().out
    assert "bnb_4bit_compute_dtype=torch.float16" in shown
    assert "compute_dtype=torch.bfloat16" not in shown


def test_quantized_weights_are_trained_by_adapters(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("rtx-4090", "llama-3.1-8b", "--set", "quantization=bnb_nf4", capsys=capsys)
    assert plan["baseline"]["estimate"]["memory"]["total_bytes"] is None
    assert plan["steps"][0]["rule"] == "quantized-weights-trained-whole"
    assert plan["plan"]["estimate"]["memory"]["fits"] is True


def test_those_who_want_no_quantization_get_none(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("h100-80gb", "llama-3.1-70b", "--quantize", "never", capsys=capsys)
    assert fits(plan) == (False, False)
    assert plan["plan"]["setup"]["quantization"] == "none"


def test_a_small_model_is_trained_whole_and_told_of_float32(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("a10g", "qwen2.5-0.5b", capsys=capsys)
    assert fits(plan) == (True, True)
    assert rules(plan) == set()
    assert "bf16-weights-updated-in-place" not in rules(plan, "notes")
    plan = diagnosed("a10g", "qwen2.5-0.5b", "--batch", "1", capsys=capsys)
    assert "bf16-weights-updated-in-place" in rules(plan, "notes")


def test_a_70b_on_one_gpu_needs_all_three(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("h100-80gb", "llama-3.1-70b", capsys=capsys)
    assert fits(plan) == (False, True)
    assert rules(plan) >= {
        "full-fine-tuning-larger-than-memory",
        "activations-larger-than-memory",
        "base-weights-too-large-for-adapters",
    }


def test_float32_is_advised_only_where_it_fits(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("a100-80gb", "llama-3.1-8b", capsys=capsys)
    assert fits(plan) == (False, True)
    assert plan["plan"]["setup"]["adapters"] == "none"
    assert "bf16-weights-updated-in-place" not in rules(plan, "notes")


def test_states_stay_on_the_device_in_8_bits_where_they_fit(capsys: pytest.CaptureFixture[str]) -> None:
    cards = {"h200": "adamw", "rtx-5090": "adamw_8bit", "rtx-4090": "paged_adamw_8bit"}
    long = ("--prompt-tokens", "4096")
    plans = {card: diagnosed(card, "llama-3.2-3b", *long, capsys=capsys) for card in cards}
    assert {card: plan["plan"]["setup"]["optimizer"] for card, plan in plans.items()} == cards
    assert all(fits(plan)[1] for plan in plans.values())


def passes(plan: dict[str, Any]) -> int | None:
    """Sequences of one pass in the plan's setup; None where the whole step is one."""
    found: int | None = plan["plan"]["setup"]["batch_size"]
    return found


@pytest.mark.parametrize(
    ("machine", "words", "expected"),
    [
        # 24 GiB hold two of the four sequences beside the frozen weights: nothing needs 4 bits.
        (
            "rtx-4090",
            ("qwen2.5-7b", "--prompt-tokens", "2048", "--set", "adapters=lora", "--set", "gradient_checkpointing=true"),
            2,
        ),
        # 13 fit; 8 divide the step of 32. Nothing is computed twice.
        ("rtx-3060-12gb", ("bert-base-uncased", "--batch", "32", "--prompt-tokens", "512"), 8),
    ],
)
def test_fewer_sequences_in_a_pass_come_before_checkpoints_and_4_bits(
    machine: str, words: tuple[str, ...], expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = diagnosed(machine, *words, capsys=capsys)
    assert fits(plan) == (False, True)
    assert passes(plan) == expected
    assert not {"base-weights-too-large-for-adapters", "activations-larger-than-memory"} & rules(plan)
    assert "setup.batching" not in {question["fact"] for question in plan["questions"]}


def test_states_keep_their_precision_where_single_sequences_fit(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("rtx-5090", "llama-3.2-3b", capsys=capsys)
    assert fits(plan) == (False, True)
    assert plan["plan"]["setup"]["optimizer"] == "adamw"
    assert passes(plan) == 1


def test_passes_that_would_be_short_come_after_checkpoints(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("llama-3.2-3b", "--batch", "16", "--prompt-tokens", "64", "--set", "adapters=lora")
    plan = diagnosed("rtx-4060-laptop", *words, capsys=capsys)
    assert fits(plan) == (False, True)
    assert rules(plan) >= {"activations-larger-than-memory"}
    assert "step-larger-than-memory-in-one-pass" not in rules(plan)


def test_a_pass_is_written_with_the_steps_that_are_accumulated(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--set", "adapters=lora", "--set", "gradient_checkpointing=true", "--prompt-tokens", "2048")
    assert cli.main(["diagnose", "qwen2.5-7b", *TRAIN, *words, "--machine", str(MACHINES / "rtx-4090.json")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "4 in one pass now, 2 with the plan" in shown
    assert "TrainingArguments(..., per_device_train_batch_size=2, gradient_accumulation_steps=2)" in shown
    assert "If it does not hold: TrainingArguments(..., per_device_train_batch_size=1, gradient_accumulation" in shown


@pytest.mark.parametrize("words", [("qwen2.5-1.5b",), ("qwen2.5-0.5b", "--batch", "1"), ("llama-3.1-8b",)])
def test_notes_on_precision_fit_where_they_are_given(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """What a note advises, stated with the plan's other knobs, fits as the plan does."""
    plan = diagnosed("t4", *words, capsys=capsys)
    said = rules(plan, "notes") & {"bf16-training-on-fp16-gpu", "bf16-training-without-room-for-float32"}
    advised = {
        "bf16-training-on-fp16-gpu": {"dtype": "float32", "mixed_precision": "fp16"},
        "bf16-training-without-room-for-float32": {"dtype": "float16", "mixed_precision": "fp16", "adapters": "lora"},
    }
    for name in said:
        setup = {**plan["plan"]["setup"], **advised[name]}
        knobs = ("dtype", "mixed_precision", "adapters", "gradient_checkpointing", "optimizer", "batch_size")
        stated = [
            w for knob in knobs if setup[knob] is not None for w in ("--set", f"{knob}={str(setup[knob]).lower()}")
        ]
        assert fits(diagnosed("t4", *words, *stated, capsys=capsys))[0], name
    assert bool(said) is (plan["plan"]["setup"]["dtype"] == "bfloat16")


def test_float32_is_not_said_to_be_too_large_where_smaller_passes_fit(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("qwen2.5-0.5b", "--batch", "64", "--prompt-tokens", "512", "--set", "gradient_checkpointing=true")
    plan = diagnosed("t4", *words, "--set", "batch_size=16", capsys=capsys)
    assert "bf16-training-without-room-for-float32" not in rules(plan, "notes")
    notes = {note["rule"]: " ".join(note["advice"]) for note in plan["notes"]}
    advice = notes["bf16-training-in-passes-too-large-for-float32"]
    found = re.search(r"per_device_train_batch_size=(\d+), gradient_accumulation_steps=(\d+)", advice)
    assert found
    assert int(found[1]) * int(found[2]) == 64
    stated = ("dtype=float32", "mixed_precision=fp16", f"batch_size={found[1]}")
    assert fits(diagnosed("t4", *words, *(w for knob in stated for w in ("--set", knob)), capsys=capsys))[0]


def test_several_gpus_are_named_and_nothing_of_them_is_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("8x-h100", "llama-3.1-8b", "--prompt-tokens", "4096", capsys=capsys)
    notes = {note["rule"]: note for note in plan["notes"]}
    advice = " ".join(notes["weights-trained-whole-on-one-of-several-gpus"]["advice"])
    assert "--num_processes 8" in advice
    assert "15GiB of weights, gradients and states on each GPU" in advice
    assert "further-gpus-left-idle-in-training" not in notes
    assert {knob for step in plan["steps"] for knob in step["change"]} <= {"gradient_checkpointing", "batch_size"}


@pytest.mark.parametrize(
    ("machine", "model", "shared"),
    [("8x-h100", "llama-3.1-8b", True), ("8x-h100", "llama-3.1-70b", False), ("2x-rtx-4090", "llama-3.1-8b", False)],
)
def test_sharding_is_named_where_a_share_of_all_weights_fits(
    machine: str, model: str, shared: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    names = rules(diagnosed(machine, model, "--set", "adapters=lora", capsys=capsys), "notes")
    assert ("adapters-where-gpus-may-share-all-weights" in names) is shared
    names = rules(diagnosed(machine, model, capsys=capsys), "notes")
    whole = {"adapters-where-gpus-may-share-all-weights", "weights-trained-whole-on-one-of-several-gpus"}
    assert bool(whole & names) is shared


@pytest.mark.parametrize("words", [("qwen2.5-0.5b",), ("llama-3.1-8b", "--set", "adapters=lora")])
def test_a_model_that_fits_on_one_of_several_gpus_is_copied(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    names = rules(diagnosed("8x-h100", *words, "--batch", "1", capsys=capsys), "notes")
    assert "further-gpus-left-idle-in-training" in names
    assert "weights-trained-whole-on-one-of-several-gpus" not in names
    alone = rules(diagnosed("h100-80gb", *words, "--batch", "1", capsys=capsys), "notes")
    assert "further-gpus-left-idle-in-training" not in alone


def test_fp16_weights_are_not_trained_whole(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("t4", "qwen2.5-0.5b", "--batch", "1", "--set", "dtype=float16", capsys=capsys)
    assert "fp16-weights-updated-in-place" in rules(plan)
    assert (plan["plan"]["setup"]["dtype"], plan["plan"]["setup"]["mixed_precision"]) == ("float32", "fp16")


@pytest.mark.parametrize(("machine", "kind"), [("a100-80gb", "bf16"), ("t4", "fp16")])
def test_more_memory_for_right_results_is_explained(
    machine: str, kind: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--set", "dtype=float16", "--set", "mixed_precision=fp16", "--batch", "1", "--no-input")
    model = "qwen2.5-7b" if machine == "a100-80gb" else "qwen2.5-0.5b"
    assert cli.main(["diagnose", model, *TRAIN, *words, "--machine", str(MACHINES / f"{machine}.json")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert ("TrainingArguments(..., bf16=True" in shown) is (kind == "bf16")
    assert "dtype=torch.float32" in shown
    assert "cannot run: GradScaler refuses fp16 weights" in shown
    assert ("It takes more than now for fp16-weights-trained-on-bf16-device." in shown) is (kind == "bf16")


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        (("dtype=float32", "mixed_precision=bf16"), set()),
        (("dtype=float32", "mixed_precision=fp16"), set()),
        (("dtype=float32", "mixed_precision=none"), {"weights-trained-in-float32"}),
    ],
)
def test_tf32_is_no_step_where_the_products_run_in_16_bits(
    knobs: tuple[str, ...], expected: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for knob in knobs for word in ("--set", knob)]
    assert rules(diagnosed("rtx-3060-12gb", "bert-base-uncased", *words, capsys=capsys)) == expected


def test_no_speed_is_predicted_and_nothing_about_generating_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    plan = diagnosed("rtx-4090", "llama-3.1-8b", "--mixed-lengths", "yes", capsys=capsys)
    assert set(plan["plan"]["estimate"]["speed"].values()) == {None}
    asked = {question["fact"] for question in plan["questions"]}
    assert asked <= {"workload.quantize", "workload.goal", "workload.repeats", "workload.mixed_lengths"}
    generating = {"1-placement", "4-compile", "6-serve", "cache", "speculation"}
    assert not generating & {entry["rung"] for entry in (*plan["steps"], *plan["notes"])}


def test_the_screen_writes_changes_as_lines_of_python(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = ("--machine", str(MACHINES / "rtx-4090.json"))
    assert cli.main(["diagnose", "llama-3.1-8b", *TRAIN, *where]) == 0
    shown = capsys.readouterr().out
    assert "4 sequences of 1024 tokens" in shown
    assert 'LoraConfig(r=16, target_modules="all-linear")' in shown
    assert "TrainingArguments(..., gradient_checkpointing=True)" in shown
    assert "tokens/s" not in shown


def test_a_plan_of_training_is_refused_by_apply(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = ("--machine", str(MACHINES / "rtx-4090.json"))
    assert cli.main(["diagnose", "llama-3.1-8b", *TRAIN, *where, "-o", "plan.json"]) == 0
    written = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert written["plan"]["estimate"]["memory"]["gradients_bytes"] > 0
    capsys.readouterr()
    for words in ((), ("--dry-run",)):
        assert cli.main(["apply", "--plan", "plan.json", *words]) == 2
        told = capsys.readouterr().err
        assert "only generation is measured" in told
        assert "run a few steps of your own training" in told


def test_an_older_plan_without_gradients_is_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans of generation written before there was training lack these fields."""
    monkeypatch.chdir(tmp_path)
    where = ("--machine", str(MACHINES / "rtx-4090.json"))
    assert cli.main(["diagnose", "qwen2.5-0.5b", "--no-input", *where, "-o", "plan.json"]) == 0
    plan = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    for part in ("baseline", "plan"):
        for name in ("gradients_bytes", "optimizer_bytes"):
            assert plan[part]["estimate"]["memory"].pop(name) is None
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["apply", "--plan", "plan.json", "--dry-run"]) == 0


@pytest.mark.models
def test_every_argument_stands_in_the_installed_training_arguments() -> None:
    from transformers import TrainingArguments
    from transformers.training_args import OptimizerNames

    settings = TrainingArguments.__dataclass_fields__
    changes: list[dict[str, Any]] = [
        *({"optimizer": name} for name in ("adamw", "adamw_8bit", "paged_adamw_8bit", "adafactor")),
        *({"mixed_precision": name} for name in ("bf16", "fp16", "none")),
        {"gradient_checkpointing": True, "eval_accumulation_steps": 8},
    ]
    for change in changes:
        (line,) = in_code.in_code(change)
        names = re.findall(r"(\w+)=", line)
        assert names
        assert set(names) <= set(settings), line
        for chosen in re.findall(r'optim="(\w+)"', line):
            assert chosen in {optimizer.value for optimizer in OptimizerNames}


@pytest.mark.models
def test_what_the_rules_of_training_say_of_the_trainer_stands_in_the_installed_library() -> None:
    import transformers
    from transformers import Trainer, TrainingArguments
    from transformers.training_args import OptimizerNames

    settings = TrainingArguments.__dataclass_fields__
    said = Path(cli.__file__).parents[1] / "rules" / "training"
    texts = "\n".join(path.read_text(encoding="utf-8") for path in sorted(said.glob("*.yaml")))
    named = set(re.findall(r"TrainingArguments\((?:\.\.\., )?(\w+)", texts))
    assert {"gradient_checkpointing", "optim", "eval_accumulation_steps", "torch_compile", "bf16"} <= named
    assert named <= set(settings)
    assert {"adamw_8bit", "paged_adamw_8bit"} <= {optimizer.value for optimizer in OptimizerNames}
    assert hasattr(transformers, "DataCollatorWithFlattening")
    assert "preprocess_logits_for_metrics" in Trainer.__init__.__code__.co_varnames
