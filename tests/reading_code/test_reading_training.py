"""A script that trains: its settings as knobs and sizes, and by name what its text does not show."""

import pytest

from advisor import reading_code
from advisor.facts import Known
from advisor.reading_code.source import parse

LOAD = """
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from trl import SFTConfig, SFTTrainer
model = AutoModelForCausalLM.from_pretrained("m")
"""
TRAIN = "\nTrainer(model=model, args=args, train_dataset=ds).train()"


def read(text: str) -> reading_code.Code:
    return reading_code.of_source(parse(LOAD + text, "train.py"))


def stated(text: str) -> dict[str, object]:
    script = read(text)
    return {name: value for name, (value, _) in {**script.training, **script.training_sizes}.items()}


def unread(text: str) -> object:
    return read(text).facts.value("code.unread_settings")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("per_device_train_batch_size=4", {"batch": 4}),
        ("", {"batch": 8}),
        ("per_device_train_batch_size=4, gradient_accumulation_steps=8", {"batch": 32, "batch_size": 4}),
        ("gradient_checkpointing=True", {"batch": 8, "gradient_checkpointing": True}),
        ("bf16=True, fp16=False", {"batch": 8, "mixed_precision": "bf16"}),
        ("fp16=True", {"batch": 8, "mixed_precision": "fp16"}),
        ("fp16=False, bf16=False", {"batch": 8, "mixed_precision": "none"}),
        ("optim='adafactor'", {"batch": 8, "optimizer": "adafactor"}),
        ("optim='adamw_torch_fused'", {"batch": 8, "optimizer": "adamw"}),
        ("optim='paged_adamw_8bit'", {"batch": 8, "optimizer": "paged_adamw_8bit"}),
        (
            "torch_compile=True, eval_accumulation_steps=4",
            {"batch": 8, "compile": "forward", "eval_accumulation_steps": 4},
        ),
        ("**dict(optim='adafactor')", {"batch": 8, "optimizer": "adafactor"}),
    ],
)
def test_training_arguments_are_read(settings: str, expected: dict[str, object]) -> None:
    text = f"args = TrainingArguments('out', {settings})" + TRAIN
    assert stated(text) == expected
    assert unread(text) == ()
    assert read(text).facts.is_true("code.shows_training")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("optim='lion_8bit'", {"optimizer"}),
        ("optim=options.optim", {"optimizer"}),
        ("per_device_train_batch_size=n", {"per_device_train_batch_size"}),
        ("gradient_accumulation_steps=n", {"gradient_accumulation_steps"}),
        ("bf16=torch.cuda.is_bf16_supported()", {"mixed_precision"}),
        ("deepspeed='ds.json'", {"deepspeed"}),
        ("fsdp='full_shard'", {"fsdp"}),
        ("auto_find_batch_size=True", {"auto_find_batch_size"}),
        ("fsdp='', deepspeed=None", set()),
    ],
)
def test_what_is_not_shown_is_named_with_its_place(settings: str, expected: set[str]) -> None:
    text = f"args = TrainingArguments('out', {settings})" + TRAIN
    found = read(text).facts.get("code.unread_settings")
    assert isinstance(found, Known)
    assert isinstance(found.value, tuple)
    assert set(found.value) == expected
    assert read(text).facts.is_true("code.shows_training") is not bool(expected)
    assert "optimizer" not in stated(text)


def test_settings_of_an_unknown_dictionary_or_a_parser_are_unread() -> None:
    hidden = {"gradient_checkpointing", "mixed_precision", "optimizer"}
    text = "args = TrainingArguments('out', per_device_train_batch_size=2, **options)" + TRAIN
    assert set(unread(text)) == hidden | {"gradient_accumulation_steps"}  # type: ignore[call-overload]
    text = "args, = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses()" + TRAIN
    assert set(unread(text)) == hidden | {"batch"}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model = get_peft_model(model, LoraConfig(r=16))", {"adapters": "lora"}),
        ("c = LoraConfig(r=16)\nmodel.add_adapter(c)", {"adapters": "lora"}),
        ("t = SFTTrainer(model, peft_config=LoraConfig(r=16))", {"adapters": "lora"}),
        ("model = prepare_model_for_kbit_training(model)", {"gradient_checkpointing": True}),
        ("model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)", {}),
        ("def config():\n    return LoraConfig(r=16)\nmodel = get_peft_model(model, config())", {"adapters": "lora"}),
        ("model.gradient_checkpointing_enable()", {"gradient_checkpointing": True}),
        ("model = FastLanguageModel.get_peft_model(model, r=16)", {"adapters": "lora"}),
    ],
)
def test_adapters_and_checkpoints_are_read(text: str, expected: dict[str, object]) -> None:
    assert stated(text + "\nargs = TrainingArguments('o')" + TRAIN) == {"batch": 8, **expected}


def test_other_adapters_and_other_ranks_are_named() -> None:
    args = "\nargs = TrainingArguments('o')" + TRAIN
    assert unread("model = get_peft_model(model, IA3Config())" + args) == ("adapters",)
    assert unread("model = get_peft_model(model, LoraConfig(r=256))" + args) == ("lora_r",)


def test_what_trl_turns_on_by_itself_is_unread_unless_it_is_written() -> None:
    train = "\nSFTTrainer(model, args=args).train()"
    text = "args = SFTConfig('o', per_device_train_batch_size=2, max_length=1024)" + train
    assert stated(text) == {"batch": 2, "prompt_tokens": 1024}
    assert set(unread(text)) == {"gradient_checkpointing", "mixed_precision"}  # type: ignore[call-overload]
    text = "args = SFTConfig('o', gradient_checkpointing=True, bf16=True)" + train
    assert unread(text) == ()


def test_where_sequences_are_cut_is_the_length_of_the_longest() -> None:
    cut = "x = tokenizer(t, truncation=True, max_length=512)\n"
    assert stated(cut + "args = TrainingArguments('o')" + TRAIN)["prompt_tokens"] == 512
    assert stated(cut + "args = SFTConfig('o', max_length=1024)" + TRAIN)["prompt_tokens"] == 1024


def test_a_loop_by_hand_is_read() -> None:
    text = """
loader = DataLoader(ds, batch_size=4, shuffle=True)
held_out = DataLoader(ds, batch_size=32)
optimizer = torch.optim.AdamW(model.parameters())
for batch in loader:
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model(**batch).loss
    loss.backward()
    optimizer.step()
"""
    assert stated(text) == {"batch": 4, "optimizer": "adamw", "mixed_precision": "bf16"}
    assert unread(text) == ()
    assert unread(text.replace("AdamW", "SGD")) == ("SGD",)
    assert unread(text.replace("torch.bfloat16", "chosen")) == ("mixed_precision",)
    assert stated(text.replace(", dtype=torch.bfloat16", ""))["mixed_precision"] == "fp16"
    assert unread(text.replace("batch_size=4", "batch_size=size")) == ("batch",)
    assert stated(text.replace("AdamW(", "AdamW8bit("))["optimizer"] == "adamw_8bit"


def test_steps_of_an_accelerator_are_passes() -> None:
    text = """
accelerator = Accelerator(mixed_precision="fp16", gradient_accumulation_steps=4)
loader = DataLoader(ds, 2)
optimizer = bnb.optim.PagedAdamW8bit(model.parameters())
accelerator.backward(model(x).loss)
"""
    expected = {"batch": 8, "batch_size": 2, "mixed_precision": "fp16", "optimizer": "paged_adamw_8bit"}
    assert stated(text) == expected
    assert unread(text) == ()
    assert unread(text.replace('mixed_precision="fp16", ', "")) == ("mixed_precision",)


def test_arguments_of_unsloth_are_its_own() -> None:
    text = """
from unsloth import FastLanguageModel
model, tokenizer = FastLanguageModel.from_pretrained("m", load_in_4bit=True)
model = FastLanguageModel.get_peft_model(model, r=16, use_gradient_checkpointing="unsloth")
args = TrainingArguments("o")
"""
    found = read(text + TRAIN)
    assert found.knobs_for("train")["quantization"][0] == "bnb_nf4"
    assert found.knobs_for("train")["gradient_checkpointing"][0] is True
    assert found.facts.value("code.names") == ()


def test_two_places_that_disagree_state_nothing() -> None:
    text = "args = TrainingArguments('o', bf16=True)\nother = TrainingArguments('p', fp16=True)" + TRAIN
    assert "mixed_precision" not in stated(text)
    assert unread(text) == ("mixed_precision",)


@pytest.mark.parametrize(
    "text",
    [
        "model.generate(x)",
        "args = TrainingArguments('o', bf16=True)\nTrainer(model, args).evaluate()",
        "BpeTrainer(vocab_size=3)",
    ],
)
def test_what_does_not_train_states_nothing_of_training(text: str) -> None:
    script = read(text)
    assert not script.facts.is_true("code.trains")
    assert script.trains_at is None
    assert not script.training
    assert not script.training_sizes


def test_knobs_of_calls_are_left_aside_in_training() -> None:
    script = read("for p in prompts:\n    model.generate(p)\nargs = TrainingArguments('o', bf16=True)" + TRAIN)
    assert script.knobs_for("generate")["batching"][0] == "loop"
    assert set(script.knobs_for("train")) == {"mixed_precision"}
    assert "batch" not in script.sizes_for("generate")


@pytest.mark.parametrize(
    ("text", "engine", "seen"),
    [
        ("from vllm import LLM\nllm = LLM('m')\nllm.generate(p)", "vLLM", False),
        ("import llama_cpp\nllama_cpp.Llama('m.gguf')", "llama.cpp", False),
        (
            "from optimum.onnxruntime import ORTModelForCausalLM\nm = ORTModelForCausalLM.from_pretrained('m')",
            "ONNX Runtime",
            False,
        ),
        ("from vllm import LLM\nfrom transformers import AutoModel\nm = AutoModel.from_pretrained('m')", "vLLM", True),
        ("from transformers import pipeline\np = pipeline('t')", None, True),
        ("import subprocess\nsubprocess.run(['python', 'x.py'])", None, False),
    ],
)
def test_other_engines_are_told_from_transformers(text: str, engine: str | None, seen: bool) -> None:
    script = reading_code.of_source(parse(text, "use.py"))
    assert (script.other_engine[0] if script.other_engine else None) == engine
    assert script.seen is seen
