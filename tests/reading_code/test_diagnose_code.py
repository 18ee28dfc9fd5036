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


TRAINING = """
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
from peft import LoraConfig, get_peft_model
model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=16))
args = TrainingArguments("o", per_device_train_batch_size=2, gradient_accumulation_steps=4, gradient_checkpointing=True)
Trainer(model=model, args=args, train_dataset=data).train()
"""


def test_a_training_script_is_noticed_and_its_settings_are_the_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.py").write_text(TRAINING)
    assert diagnose(tmp_path / "t.py", "--json") == 0
    told = capsys.readouterr()
    plan = json.loads(told.out)
    assert "t.py:6 trains: taken as --task train." in told.err
    assert (plan["workload"]["task"], plan["workload"]["batch"]) == ("train", 8)
    setup = plan["baseline"]["setup"]
    assert (setup["adapters"], setup["gradient_checkpointing"], setup["batch_size"]) == ("lora", True, 2)
    names = {note["rule"] for note in plan["notes"]}
    assert not names & {"settings-that-the-script-does-not-show", "script-without-training"}
    assert diagnose(tmp_path / "t.py", "--task", "generate", "--json") == 0
    told = capsys.readouterr()
    plan = json.loads(told.out)
    assert "left aside" in told.err
    assert (plan["workload"]["batch"], plan["baseline"]["setup"]["batch_size"]) == (1, None)


def test_a_pass_of_fewer_sequences_takes_less(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = []
    for steps in (1, 4):
        (tmp_path / "t.py").write_text(TRAINING.replace("_steps=4", f"_steps={steps}"))
        assert diagnose(tmp_path / "t.py", "--json", "--batch", "8") == 0
        memory = json.loads(capsys.readouterr().out)["baseline"]["estimate"]["memory"]
        taken.append(memory["activation_peak_bytes"])
    assert taken[0] == 4 * taken[1]


def test_hidden_settings_and_scripts_without_training_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.py").write_text(TRAINING.replace('("o", ', '("o", optim=chosen, '))
    assert diagnose(tmp_path / "t.py", "-o", str(tmp_path / "p.json")) == 0
    shown = capsys.readouterr().out
    assert "not read: optimizer" in shown
    assert "In your script: t.py:5" in shown
    for words, left in ((("--set", "optimizer=adafactor"), False), (("--batch", "4"), True)):
        assert diagnose(tmp_path / "t.py", "--json", *words) == 0
        names = [note["rule"] for note in json.loads(capsys.readouterr().out)["notes"]]
        assert ("settings-that-the-script-does-not-show" in names) is left
    (tmp_path / "g.py").write_text(SCRIPT)
    assert diagnose(tmp_path / "g.py", "--task", "train", "-o", str(tmp_path / "p.json")) == 0
    assert "script-without-training" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "typed", "uncounted"),
    [
        ('("o", ', '("o", optim=chosen, ', "--set optimizer=VALUE", None),
        ("_steps=4", "_steps=n", "--batch N", None),
        ('("o", ', '("o", fsdp="full_shard", ', None, "fsdp"),
        ('("o", ', '("o", fsdp="full_shard", bf16=chosen, ', "--set mixed_precision=VALUE", "fsdp"),
    ],
)
def test_what_was_not_read_is_stated_by_its_own_option_and_by_no_value(
    old: str, new: str, typed: str | None, uncounted: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.py").write_text(TRAINING.replace(old, new))
    assert diagnose(tmp_path / "t.py", "--json") == 0
    notes = {note["rule"]: note["advice"] for note in json.loads(capsys.readouterr().out)["notes"]}
    told = notes["settings-that-the-script-does-not-show"]
    commands = [line for line in told if "diagnose" in line]
    assert [line.split("--code FILE ")[1].split("  ")[0] for line in commands] == ([typed] if typed else [])
    assert [line.split(": ")[1] for line in told if "no option" in line] == ([uncounted] if uncounted else [])


def test_a_loop_by_hand_is_answered_in_its_own_terms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = """
from accelerate import Accelerator
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("m")
accelerator = Accelerator(mixed_precision="bf16")
optimizer = torch.optim.AdamW(model.parameters())
for batch in DataLoader(ds, batch_size=512):
    accelerator.backward(model(**batch).loss)
"""
    (tmp_path / "t.py").write_text(loop)
    assert diagnose(tmp_path / "t.py", "-o", str(tmp_path / "p.json")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Change:" in shown
    assert "model = torch.compile(model)" in shown
    assert "TrainingArguments" not in shown


def test_a_script_of_another_engine_is_refused_and_one_without_a_model_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "v.py").write_text("from vllm import LLM\nllm = LLM('m')\n")
    assert diagnose(tmp_path / "v.py") == 2
    told = capsys.readouterr().err
    assert "v.py:1: this script runs on vLLM" in told
    (tmp_path / "w.py").write_text("print(1)\n")
    assert diagnose(tmp_path / "w.py", "--json") == 0
    assert "no setting was read from it" in capsys.readouterr().err


def test_the_screen_lists_what_was_read(script: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert diagnose(script, "-o", str(tmp_path / "p.json")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Read in use.py, by line: dtype=float32 (4), quantization=bnb_int8 (4), batching=loop (6)" in shown


def test_prompts_of_a_script_that_pads_are_as_long_as_it_pads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    padded = SCRIPT.replace("model.generate(p", "model.generate(**tokenizer(p, padding='max_length', max_length=2048)")
    (tmp_path / "p.py").write_text(padded)
    assert diagnose(tmp_path / "p.py", "--json") == 0
    assert json.loads(capsys.readouterr().out)["workload"]["prompt_tokens"] == 2048
    assert diagnose(tmp_path / "p.py", "--json", "--prompt-tokens", "64") == 0
    assert json.loads(capsys.readouterr().out)["workload"]["prompt_tokens"] == 64
