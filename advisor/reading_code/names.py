"""Old and telling names in a script, each with its line: the fact `code.names`.

A name counts where it means what it once meant: `load_in_8bit` is old as an argument of from_pretrained and right in
a BitsAndBytesConfig; `block_size` is a setting of continuous batching in its configuration, and anything elsewhere.
"""

from collections.abc import Iterator

from advisor.facts import Fact, Known
from advisor.old_names import OLD_NAMES, OldKind
from advisor.reading_code.calls import Call
from advisor.reading_code.findings import Reading
from advisor.reading_code.loading import loading_arguments

LOADING = ("torch_dtype", "use_flash_attention_2", "load_in_8bit", "load_in_4bit", "tp_plan", "tp_size")
"""Arguments of from_pretrained, from_config and pipeline."""
LOADERS = ("from_pretrained", "from_config", "pipeline")
CONTINUOUS = ("block_size", "max_batch_tokens", "num_blocks", "continuous_batching_config")
"""Settings that continuous batching took from a GenerationConfig once."""
CHOICES = ("attn_implementation", "cache_implementation")
"""Arguments whose values are names of transformers."""
PACKAGES = ("auto_gptq", "awq", "AutoGPTQForCausalLM", "AutoAWQForCausalLM", "BetterTransformer", "sdp_kernel")
FORWARD = ("num_logits_to_keep",)


def names(reading: Reading) -> dict[str, Fact]:
    """The names that stand in the script. The source lists each with its first place: `use.py:4 torch_dtype, ...`."""
    found: dict[str, int] = {}
    for name, line in _all(reading):
        found[name] = min(line, found.get(name, line))
    places = ", ".join(f"{reading.source.place(line)} {name}" for name, line in sorted(found.items()))
    return {"code.names": Known(tuple(sorted(found)), places or reading.source.name)}


def _all(reading: Reading) -> Iterator[tuple[str, int]]:
    for call in reading.script.calls:
        yield from _in_call(reading, call)
    words = {*PACKAGES, *(old.name for old in OLD_NAMES.values() if old.kind in (OldKind.FUNCTION, OldKind.CLASS))}
    for name, line in reading.script.import_lines.items():
        if name in words:
            yield name, line
    for attribute in reading.script.attributes:
        if attribute.attr in words:
            yield attribute.attr, attribute.lineno


def _in_call(reading: Reading, call: Call) -> Iterator[tuple[str, int]]:
    given = loading_arguments(reading, call) if call.method in LOADERS else call.arguments
    if call.name.startswith("unsloth."):
        return  # Its loaders keep arguments that those of transformers have given up.
    for name, value in given.items():
        if name in _arguments(call.method):
            yield name, value.lineno
        elif name in CHOICES and (chosen := reading.script.literal(value)) in _values():
            yield str(chosen), value.lineno


def _arguments(method: str) -> tuple[str, ...]:
    """The telling arguments of a call."""
    if method in LOADERS:
        return LOADING
    if method == "GenerationConfig":
        return CONTINUOUS
    if method == "ContinuousBatchingConfig":
        return CONTINUOUS[:1]
    if method.endswith("TrainingArguments"):
        return tuple(
            old.name for old in OLD_NAMES.values() if old.kind is OldKind.ARGUMENT and "TrainingArg" in old.places[0]
        )
    return FORWARD


def _values() -> tuple[str, ...]:
    return tuple(old.name for old in OLD_NAMES.values() if old.kind is OldKind.VALUE)
