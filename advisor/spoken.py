"""Knobs and values as people type them: what is only another spelling is understood, what is not is pointed at."""

VALUES: dict[tuple[str, str], str] = {
    **{("dtype", short): "float16" for short in ("fp16", "half", "torch.float16", "f16")},
    **{("dtype", short): "bfloat16" for short in ("bf16", "torch.bfloat16")},
    **{("dtype", short): "float32" for short in ("fp32", "float", "torch.float32", "f32")},
    ("device", "gpu"): "cuda",
    ("device", "cuda:0"): "cuda",
    ("attn_implementation", "fa2"): "flash_attention_2",
    ("attn_implementation", "flash_attn_2"): "flash_attention_2",
    ("attn_implementation", "fa3"): "flash_attention_3",
    ("quantization", "int8"): "bnb_int8",
    ("quantization", "8bit"): "bnb_int8",
    ("quantization", "nf4"): "bnb_nf4",
    ("quantization", "fp4"): "bnb_fp4",
}
"""(knob, as typed) -> the value that is meant."""

NAMES = {"torch_dtype": "dtype", "attention": "attn_implementation", "cache": "cache_implementation"}
"""Another name of a knob."""

_FOUR = "--set quantization=bnb_nf4 (bnb_fp4 where the type is not named)"
_FLASH = "--set attn_implementation=flash_attention_2 (or _3, _4)"
_COMPILED = "--set compile=generate where generate compiles, or compile=forward for torch.compile(model)"
_CHECKPOINT = "nothing: name the quantized checkpoint as MODEL, and what it is will be read from it"

INSTEAD: dict[str | tuple[str, str], str] = {
    "load_in_8bit": "--set quantization=bnb_int8",
    "load_in_4bit": _FOUR,
    "quantization_config": "--set quantization=bnb_nf4, or another of its values (--list-knobs)",
    "use_flash_attention_2": "--set attn_implementation=flash_attention_2",
    "max_new_tokens": "--new-tokens N",
    "max_length": "--prompt-tokens N and --new-tokens N",
    "batch": "--batch N",
    "do_sample": "--sampling yes",
    "fp16": "--set dtype=float16",
    "bf16": "--set dtype=bfloat16",
    "half": "--set dtype=float16",
    "torch_compile": "--set compile=forward",
    "tp_plan": "--set tensor_parallel=N, the number of ranks",
    "num_beams": "nothing: beams are no knob here; count each beam as a prompt with --batch",
    ("dtype", "auto"): "nothing: the checkpoint's type is what counts where dtype is not set",
    ("device", "auto"): "--set device_map=auto",
    **{("attn_implementation", short): _FLASH for short in ("flash", "flash_attention", "flash_attn")},
    **{("compile", short): _COMPILED for short in ("true", "True", "yes")},
    **{("quantization", short): _FOUR for short in ("4bit", "int4", "load_in_4bit")},
    ("quantization", "load_in_8bit"): "--set quantization=bnb_int8",
    **{("quantization", method): _CHECKPOINT for method in ("gptq", "awq")},
}
"""What somebody who types this wants to say, as it can be said here."""
