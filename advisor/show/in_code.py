"""A change of knobs as the lines of Python in which a user would make it."""

from collections.abc import Iterator, Mapping

from advisor.facts import Value
from advisor.rule import show

_FOUR = 'load_in_4bit=True, bnb_4bit_quant_type="{}", bnb_4bit_compute_dtype=torch.bfloat16'
_QUANTIZED = {
    "none": "None",
    "bnb_int8": "BitsAndBytesConfig(load_in_8bit=True)",
    "bnb_nf4": f"BitsAndBytesConfig({_FOUR.format('nf4')})",
    "bnb_nf4_double": f"BitsAndBytesConfig({_FOUR.format('nf4')}, bnb_4bit_use_double_quant=True)",
    "bnb_fp4": f"BitsAndBytesConfig({_FOUR.format('fp4')})",
    "torchao_int8": "TorchAoConfig(Int8WeightOnlyConfig())",
    "torchao_int4": 'TorchAoConfig(Int4WeightOnlyConfig(group_size=128, int4_packing_format="tile_packed_to_4d"))',
    "quanto_int8": 'QuantoConfig(weights="int8")',
    "quanto_int4": 'QuantoConfig(weights="int4")',
    "fp8": "FineGrainedFP8Config()",
}
_LOADING = ("attn_implementation", "device_map", "experts_implementation", "use_kernels")
_GENERATING = ("cache_implementation", "use_cache", "prefill_chunk_size", "prompt_lookup_num_tokens")
_CACHE = {"cache_backend": "backend", "cache_bits": "nbits"}
_CONTINUOUS = ("max_batch_tokens", "page_size")
_TRAINING = {
    "optimizer": "optim",
    "gradient_checkpointing": "gradient_checkpointing",
    "eval_accumulation_steps": "eval_accumulation_steps",
}
_OPTIMIZERS = {"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_8bit", "paged_adamw_8bit": "paged_adamw_8bit"}
_WRITTEN = (
    *(*_LOADING, *_GENERATING, *_CACHE, *_CONTINUOUS, *_TRAINING),
    *("dtype", "quantization", "speculation", "mixed_precision"),
)


def in_code(
    change: Mapping[str, Value], computes: str = "bfloat16", step: int | None = None, training: bool = False
) -> list[str]:
    """The lines; a knob that has no line of its own is named with its value. `computes` is what 4-bit weights become
    when they are multiplied; `step` is the number of sequences in one step of training, whose parts are accumulated.
    `training` tells a batch in the words of training where the step's size is not known."""
    calls = {
        "from_pretrained(..., ": _loading(change, computes),
        "generate(..., ": _generating(change),
        "ContinuousBatchingConfig(..., ": (f"{name}={change[name]}" for name in _CONTINUOUS if name in change),
        "TrainingArguments(..., ": _training(change, step),
    }
    written = _WRITTEN if step is None else (*_WRITTEN, "batch_size")
    lines = [f"{call}{', '.join(arguments)})" for call, given in calls.items() if (arguments := list(given))]
    return lines + [_line(name, value, training) for name, value in change.items() if name not in written]


def _loading(change: Mapping[str, Value], computes: str) -> Iterator[str]:
    if "dtype" in change:
        yield f"dtype=torch.{change['dtype']}"
    if "quantization" in change:
        written = _QUANTIZED[str(change["quantization"])].replace("torch.bfloat16", f"torch.{computes}")
        yield f"quantization_config={written}"
    for name in _LOADING:
        if name in change:
            yield f"{name}={_literal(change[name])}"


def _generating(change: Mapping[str, Value]) -> Iterator[str]:
    for name in _GENERATING:
        if name in change:
            yield f"{name}={_literal(change[name])}"
    if given := [f'"{key}": {_literal(change[name])}' for name, key in _CACHE.items() if name in change]:
        yield f"cache_config={{{', '.join(given)}}}"
    if change.get("speculation") == "none":
        yield "prompt_lookup_num_tokens=None"
    if change.get("speculation") == "prompt_lookup" and "prompt_lookup_num_tokens" not in change:
        yield "prompt_lookup_num_tokens=10"


def _training(change: Mapping[str, Value], step: int | None) -> Iterator[str]:
    if step is not None and isinstance(size := change.get("batch_size"), int):
        yield f"per_device_train_batch_size={size}"
        yield f"gradient_accumulation_steps={-(-step // size)}"
    for name, argument in _TRAINING.items():
        if name in change:
            value = change[name]
            yield f"{argument}={_literal(_OPTIMIZERS.get(str(value), value))}"
    match change.get("mixed_precision"):
        case "bf16" | "fp16" as kind:
            yield f"{kind}=True"
        case "none":
            yield "bf16=False, fp16=False"


def _literal(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _line(name: str, value: Value, training: bool) -> str:
    match name, value:
        case "padding_side", str():
            return f'tokenizer.padding_side = "{value}"'
        case "threads", int():
            return f"torch.set_num_threads({value})"
        case "device", str():
            return f'model.to("{value}")'
        case "matmul_precision", str():
            return f'torch.set_float32_matmul_precision("{value}")'
        case "padding_free", bool():
            return f"SFTConfig(..., padding_free={value})"
        case "adapters", "lora":
            return 'get_peft_model(model, LoraConfig(r=16, target_modules="all-linear"))'
        case "adapters", "none":
            return "no adapters"
        case "batch_size", 1:
            return "one sequence in one pass" if training else "one prompt in one call"
        case "batch_size", int():
            return f"{value} sequences in one pass" if training else f"{value} prompts in one call"
        case "compile", "none":
            return "no torch.compile"
    return f"{name}: {show(value)}"
