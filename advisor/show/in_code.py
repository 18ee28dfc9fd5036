"""A change of knobs as the lines of Python in which a user would make it."""

from collections.abc import Iterator, Mapping

from advisor.facts import Value
from advisor.rule import show

_BITS = {
    "bnb_int8": "load_in_8bit=True",
    "bnb_nf4": 'load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16',
    "bnb_nf4_double": 'load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True',
    "bnb_fp4": 'load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_compute_dtype=torch.bfloat16',
}
_LOADING = ("attn_implementation", "device_map")
_GENERATING = ("cache_implementation", "use_cache")


def in_code(change: Mapping[str, Value]) -> list[str]:
    """The lines; a knob that has no line of its own is named with its value."""
    loading = list(_loading(change))
    generating = [f"{name}={_literal(change[name])}" for name in _GENERATING if name in change]
    lines = [f"from_pretrained(..., {', '.join(loading)})"] if loading else []
    lines += [f"generate(..., {', '.join(generating)})"] if generating else []
    return lines + [_line(name, value) for name, value in change.items() if name not in _WRITTEN]


_WRITTEN = (*_LOADING, *_GENERATING, "dtype", "quantization")


def _loading(change: Mapping[str, Value]) -> Iterator[str]:
    if "dtype" in change:
        yield f"dtype=torch.{change['dtype']}"
    if (bits := _BITS.get(str(change.get("quantization")))) is not None:
        yield f"quantization_config=BitsAndBytesConfig({bits})"
    for name in _LOADING:
        if name in change:
            yield f"{name}={_literal(change[name])}"


def _literal(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _line(name: str, value: Value) -> str:
    match name, value:
        case "padding_side", str():
            return f'tokenizer.padding_side = "{value}"'
        case "threads", int():
            return f"torch.set_num_threads({value})"
        case "device", str():
            return f'model.to("{value}")'
        case "batch_size", 1:
            return "one prompt in one call"
        case "batch_size", int():
            return f"{value} prompts in one call"
        case "compile", "none":
            return "no torch.compile"
    return f"{name}: {show(value)}"
