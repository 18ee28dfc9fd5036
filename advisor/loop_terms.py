"""Settings of TrainingArguments as the lines in which a training loop written by hand has them. Pure."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

ACCELERATE, TORCH = "accelerate", "torch"
"""What a loop is made with: accelerate's Accelerator, or torch alone."""
_CALL = re.compile(r"TrainingArguments\(\.\.\., ([^()]*)\)")
_LINES: dict[tuple[str, Any], str] = {
    ("optim", "adamw_torch_fused"): "torch.optim.AdamW(..., fused=True)",
    ("optim", "adamw_8bit"): "bitsandbytes.optim.AdamW8bit(...)",
    ("optim", "paged_adamw_8bit"): "bitsandbytes.optim.PagedAdamW8bit(...)",
    ("gradient_checkpointing", True): "model.gradient_checkpointing_enable()",
    ("gradient_checkpointing", False): "model.gradient_checkpointing_disable()",
    ("torch_compile", True): "model = torch.compile(model)",
}
_PRECISION: dict[tuple[str, str], str] = {
    (ACCELERATE, "bf16"): 'Accelerator(..., mixed_precision="bf16")',
    (ACCELERATE, "fp16"): 'Accelerator(..., mixed_precision="fp16")',
    (TORCH, "bf16"): 'torch.autocast("cuda", dtype=torch.bfloat16)',
    (TORCH, "fp16"): 'torch.autocast("cuda", dtype=torch.float16) with torch.amp.GradScaler()',
}


def in_loop(line: str, loop: str | None) -> str:
    """A line of advice with its TrainingArguments in the terms of `loop`; as it is where there is a Trainer, or where
    a setting has no such line."""
    return _CALL.sub(lambda found: _translated(found, loop), line) if loop in (ACCELERATE, TORCH) else line


def _translated(found: re.Match[str], loop: str) -> str:
    try:
        call = ast.parse(f"f({found[1]})", mode="eval").body
        given = {str(word.arg): ast.literal_eval(word.value) for word in getattr(call, "keywords", ())}
    except (SyntaxError, ValueError):
        return found[0]
    try:
        return "; ".join(_lines(given, loop)) or found[0]
    except KeyError:  # a setting that only the Trainer has
        return found[0]


def _lines(given: Mapping[str, Any], loop: str) -> Iterator[str]:
    for name, value in given.items():
        match name, value:
            case "per_device_train_batch_size", _:
                yield f"DataLoader(..., batch_size={value})"
            case "gradient_accumulation_steps", _ if loop == ACCELERATE:
                yield f"Accelerator(..., gradient_accumulation_steps={value})"
            case "gradient_accumulation_steps", _:
                yield f"loss / {value}, and optimizer.step() after {value} passes"
            case "bf16" | "fp16", True:
                yield _PRECISION[loop, name]
            case "bf16" | "fp16", False if given.get("bf16") or given.get("fp16"):
                continue
            case _:
                yield _LINES[name, value]
