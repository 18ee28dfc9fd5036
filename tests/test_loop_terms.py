"""TrainingArguments in the terms of a loop that is written by hand."""

import pytest

from advisor import reading_code
from advisor.loop_terms import in_loop
from advisor.reading_code.source import parse


@pytest.mark.parametrize(
    ("arguments", "accelerate", "torch"),
    [
        (
            "per_device_train_batch_size=4, gradient_accumulation_steps=16",
            "DataLoader(..., batch_size=4); Accelerator(..., gradient_accumulation_steps=16)",
            "DataLoader(..., batch_size=4); loss / 16, and optimizer.step() after 16 passes",
        ),
        (
            "bf16=True, fp16=False",
            'Accelerator(..., mixed_precision="bf16")',
            'torch.autocast("cuda", dtype=torch.bfloat16)',
        ),
        (
            "fp16=True",
            'Accelerator(..., mixed_precision="fp16")',
            'torch.autocast("cuda", dtype=torch.float16) with torch.amp.GradScaler()',
        ),
        ('optim="paged_adamw_8bit"', *["bitsandbytes.optim.PagedAdamW8bit(...)"] * 2),
        ("gradient_checkpointing=True", *["model.gradient_checkpointing_enable()"] * 2),
        ("torch_compile=True", *["model = torch.compile(model)"] * 2),
    ],
)
def test_settings_are_written_as_a_loop_has_them(arguments: str, accelerate: str, torch: str) -> None:
    line = f"dtype=torch.float32; TrainingArguments(..., {arguments})"
    assert in_loop(line, "accelerate") == f"dtype=torch.float32; {accelerate}"
    assert in_loop(line, "torch") == f"dtype=torch.float32; {torch}"
    assert in_loop(line, None) == line


@pytest.mark.parametrize("arguments", ["eval_accumulation_steps=8", "bf16=", "optim=chosen", "bf16=False"])
def test_what_only_a_trainer_has_stays_as_it_is(arguments: str) -> None:
    line = f"TrainingArguments(..., {arguments})    # why"
    assert in_loop(line, "torch") == line


LOOP = "loss = model(**batch).loss\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LOOP + "loss.backward()", "torch"),
        ("accelerator = Accelerator()\n" + LOOP + "accelerator.backward(loss)", "accelerate"),
        ("Trainer(model, TrainingArguments('o')).train()", None),
        ("Trainer(model, args).train()\n" + LOOP + "loss.backward()", None),
        (LOOP, None),
    ],
)
def test_a_loop_is_told_from_a_trainer(text: str, expected: str | None) -> None:
    load = "from transformers import AutoModelForCausalLM\nmodel = AutoModelForCausalLM.from_pretrained('m')\n"
    assert reading_code.of_source(parse(load + text, "t.py")).facts.text("code.training_loop") == expected
