"""Settings that a text shows to be in force, so that no fix is offered that is taken already.

Advice in a message ("try setting ...") is no setting.
"""

import re

from advisor.patterns import when_used
from advisor.reading.squeezed import Squeezed, phrase

# Setting, and what shows it. A phrase that only follows "try setting" or "you need to set" does not count.
_SHOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("expandable_segments", ("expandable_segments:True",)),
    ("max_split_size", ("max_split_size_mb:",)),
    ("load_in_4bit", ("load_in_4bit=True", "load_in_4bit: true", "--load_in_4bit", "--load-in-4bit", "bnb_4bit",
                      "quantization=bitsandbytes", "Linear4bit", "bnb-4bit")),
    ("load_in_8bit", ("load_in_8bit=True", "load_in_8bit: true", "--load_in_8bit", "--load_8bit", "--load-in-8bit",
                      "Linear8bitLt", "MatMul8bitLt")),
    ("device_map", ("device_map=", "device_map:", "dispatch_model(", "AlignDevicesHook", "accelerate/hooks.py")),
    ("batch_size_1", ("batch_size=1,", "batch_size=1)", "--batch_size 1 ", "per_device_train_batch_size=1,",
                      "batch size 1", "batch size of 1", "train_batch_size=1", "micro_batch_size=1",
                      "train_batch_size: 1", "bs=1",
                      "batch_size: 1,", "--per_device_train_batch_size 1 -", "micro_batch_size=1,",
                      "--batch-size 1 -")),
    ("bf16", ("torch.bfloat16", "--bf16", "bf16=True", "dtype=bfloat16", "dtype=torch.bfloat16")),
    ("fp16", ("torch.float16", "--fp16", "fp16=True", "dtype=float16", "dtype=half", ".half()")),
    ("gradient_checkpointing", ("gradient_checkpointing=True", "--gradient_checkpointing",
                                "gradient_checkpointing_enable(",
                                "torch/utils/checkpoint.py", "_gradient_checkpointing_func")),
    ("enforce_eager", ("enforce_eager=True", "--enforce-eager")),
    ("flash_attention", ("attn_implementation=flash_attention", "flash_attn_func", "use_flash_attention_2=True",
                         "_flash_attention_forward", "flash_attn_interface", "--flash_attn True")),
    ("sdpa", ("scaled_dot_product_attention(", "attn_implementation=sdpa", "sdpa_attention_forward")),
    ("no_grad", ("torch.no_grad()", "torch.inference_mode()", "utils/_contextlib.py", "autograd/grad_mode.py",
                 "decorate_context")),
    ("lora", ("LoraConfig(", "peft/tuners/lora", "get_peft_model(", "--use_lora", "lora_rank")),
    ("optimizer_8bit", ("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit", "AdamW8bit", "use_8bit_adam")),
    ("quantized_cache", ("cache_implementation=quantized", "QuantizedCache(", "--kv-cache-dtype fp8")),
    ("offloaded_cache", ("cache_implementation=offloaded", "OffloadedCache(")),
    ("eval_accumulation_steps", ("eval_accumulation_steps=", "--eval_accumulation_steps")),
    ("cpu_offload", ("enable_model_cpu_offload(", "enable_sequential_cpu_offload(")),
    ("vae_tiling", ("enable_vae_tiling(", "enable_tiling(", "tiled VAE")),
    ("low_cpu_mem_usage", ("low_cpu_mem_usage=True",)),
    ("offload", ("offload_folder=", "cpu_offload", "--offload", "offloadobj", "enable_model_cpu_offload")),
    ("output_attentions", ("output_attentions=True",)),
    ("spawn", ("set_start_method(spawn", "WORKER_MULTIPROC_METHOD=spawn")),
    ("zero3", ("stage3", "zero3", "zero_stage: 3", "ZeRO-3")),
    ("dataloader_worker", ("DataLoader worker (pid",)),
    ("trust_remote_code", ("trust_remote_code=True",)),
    ("tokenizers_parallelism", ("TOKENIZERS_PARALLELISM=false",)),
    ("preallocate_off", ("XLA_PYTHON_CLIENT_PREALLOCATE=false", "allow_growth=True", "set_memory_growth(")),
)  # fmt: skip
_ADVICE = when_used(
    r"(?:set|setting|settings|use|using|try|with|via|pass|passing|insteadof|no|not|without|outside|forgot|missing|add"
    r"|adding|need|needs)\(?$"
)


def settings(squeezed: Squeezed) -> tuple[str, ...]:
    """The names of what is in force, in the order of the table."""
    return tuple(name for name, phrases in _SHOWN if any(_in_force(squeezed, written) for written in phrases))


def _in_force(squeezed: Squeezed, written: str) -> bool:
    wanted, text = phrase(written), squeezed.text
    end = 0 if squeezed.lacks(wanted.needed) else len(text)
    for _ in range(8):
        place = wanted.last(text, 0, end)
        if place is None:
            return False
        before = text[max(0, place[0] - 40) : place[0]]
        before = re.sub(r"(?:pytorch_)?(?:cuda_|hip_)?(?:alloc_conf)?=?$", "", before)
        longer = written.rstrip()[-1].isdigit() and text[place[1] : place[1] + 1].isdigit()
        if not longer and not _ADVICE.search(before):
            return True
        end = place[0]
    return False
