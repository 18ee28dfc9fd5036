"""What a script states of its setup and its workload, each with its place.

Only what is written down counts: a literal, or a name bound once to one. `"cuda" if torch.cuda.is_available() else
"cpu"` states nothing, and so does a knob that two calls set differently.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping

from advisor.facts import Known, Value
from advisor.reading_code.calls import Call, spelled_out
from advisor.reading_code.findings import Reading, Statement, flags
from advisor.reading_code.habits import embedding_loop_lines, loop_lines
from advisor.reading_code.lengths import padded
from advisor.reading_code.loading import loaders, loading_arguments
from advisor.setup import knobs as all_knobs
from advisor.setup import unusable
from advisor.workload import LARGEST

PLAIN_LOADING = ("attn_implementation", "use_kernels", "experts_implementation")
PLAIN_GENERATION = ("use_cache", "cache_implementation", "prefill_chunk_size", "prompt_lookup_num_tokens")
CONTINUOUS = ("max_batch_tokens", "page_size")
DTYPES = ("float32", "float16", "bfloat16")
SHORT = {"half": "float16", "float": "float32", "bfloat16": "bfloat16"}
SPREADS = ("auto", "balanced", "sequential")


def stated(reading: Reading) -> dict[str, tuple[Value, str]]:
    """Knobs with their values and places. What this program does not know as a value is left out."""
    return agreed(reading, _statements(reading), lambda name, value: unusable(name, value) is None)


def embedding(reading: Reading) -> dict[str, tuple[Value, str]]:
    """What holds only where texts are embedded: a forward pass in a loop answers no prompt."""
    lines = embedding_loop_lines(reading)
    return {"batching": ("loop", reading.source.place(lines[0]))} if lines else {}


def workload(reading: Reading) -> dict[str, tuple[Value, str]]:
    """Fields of the workload with their values and places."""
    found = agreed(reading, _sizes(reading), usable_size)
    reads = flags(reading)["code.reads_attentions"]
    if isinstance(reads, Known) and (reading.generates or reading.forwards):
        found["reads_attention_weights"] = (reads.value, reads.source)
    return found


def usable_size(_: str, value: Value) -> bool:
    """Whether a number can be a size of the workload."""
    return isinstance(value, int) and 0 < value <= LARGEST


def agreed(
    reading: Reading, statements: Iterable[Statement], usable: Callable[[str, Value], bool]
) -> dict[str, tuple[Value, str]]:
    """What is stated once, or several times alike, with the place of the first statement."""
    found: dict[str, Statement] = {}
    disputed: set[str] = set()
    for statement in statements:
        earlier = found.setdefault(statement.name, statement)
        if type(earlier.value) is not type(statement.value) or earlier.value != statement.value:
            disputed.add(statement.name)
    return {
        name: (told.value, reading.source.place(told.line))
        for name, told in found.items()
        if name not in disputed and usable(name, told.value)
    }


def _statements(reading: Reading) -> Iterator[Statement]:
    for call in loaders(reading):
        yield from _of_loading(reading, call)
    for call in reading.script.calls:
        yield from _of_moving(reading, call)
        yield from _of_torch(reading, call)
    for call in _generating(reading):
        yield from _of_generation(reading, call.arguments)
    for call in [*reading.named("ContinuousBatchingConfig"), *reading.batches]:
        yield from _plain(reading, call.arguments, CONTINUOUS)
    yield from _of_compiling(reading)
    yield from _of_batching(reading)


def _plain(reading: Reading, given: Mapping[str, ast.expr], names: tuple[str, ...]) -> Iterator[Statement]:
    """Arguments that are called like the knob they set."""
    for name in names:
        value = reading.script.literal(given.get(name))
        if isinstance(value, str | int):
            yield Statement(name, value, given[name].lineno)


def _generating(reading: Reading) -> list[Call]:
    return [*reading.generates, *reading.piped, *reading.pipelines, *reading.named("GenerationConfig")]


def _of_loading(reading: Reading, call: Call) -> Iterator[Statement]:
    given = loading_arguments(reading, call)
    yield from _plain(reading, given, PLAIN_LOADING)
    for name in ("dtype", "torch_dtype"):
        if name in given and (dtype := dtype_of(reading, given[name])):
            yield Statement("dtype", dtype, given[name].lineno)
    if reading.script.literal(given.get("use_flash_attention_2")) is True:
        yield Statement("attn_implementation", "flash_attention_2", given["use_flash_attention_2"].lineno)
    for name in ("device_map", "device"):
        if name in given:
            yield from _of_placement(reading, given[name])
    four_bit = "bnb_nf4" if call.name.startswith("unsloth.") else "bnb_fp4"
    for name, scheme in (("load_in_8bit", "bnb_int8"), ("load_in_4bit", four_bit)):
        if reading.script.literal(given.get(name)) is True:
            yield Statement("quantization", scheme, given[name].lineno)
    if "quantization_config" in given:
        yield from _of_quantizing(reading, given["quantization_config"])


def dtype_of(reading: Reading, node: ast.expr) -> str | None:
    """The type that `torch.float16`, `"float16"` or `torch.half` names."""
    literal = reading.script.literal(node)
    value = reading.script.value(node)
    word = literal if isinstance(literal, str) else reading.script.dotted(value).removeprefix("torch.")
    word = SHORT.get(word, word)
    return word if word in DTYPES else None


def _of_placement(reading: Reading, node: ast.expr) -> Iterator[Statement]:
    """A way of spreading layers, or one device."""
    value = reading.script.literal(node)
    one = spelled_out(reading.script, node)
    if one and list(one) == [""]:
        value = reading.script.literal(one[""])
    if value in SPREADS:
        yield Statement("device_map", str(value), node.lineno)
    elif (device := device_named(value)) is not None:
        yield Statement("device", device, node.lineno)


def device_named(value: object) -> str | None:
    """The device that `"cuda:0"`, `0` or `-1` stands for."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return "cpu" if value == -1 else "cuda" if value >= 0 else None
    device = str(value).partition(":")[0]
    return device if device in all_knobs()["device"].values else None


def _of_quantizing(reading: Reading, node: ast.expr) -> Iterator[Statement]:
    config = reading.script.value(node)
    call = reading.bnb_configs.get(id(config))
    if call is None or call.open:
        return
    told = {name: reading.script.literal(value) for name, value in call.arguments.items()}
    if told.get("load_in_8bit") is True:
        yield Statement("quantization", "bnb_int8", call.line)
    elif told.get("load_in_4bit") is True:
        kind = told.get("bnb_4bit_quant_type", "fp4")
        double = "_double" if told.get("bnb_4bit_use_double_quant") is True and kind == "nf4" else ""
        yield Statement("quantization", f"bnb_{kind}{double}", call.line)


def _of_moving(reading: Reading, call: Call) -> Iterator[Statement]:
    """`model.to("cuda")`, `model.half()`."""
    if call.method not in ("to", "cuda", "cpu", *SHORT) or reading.roles.of(call.receiver) != "model":
        return
    if call.method in SHORT:
        yield Statement("dtype", SHORT[call.method], call.line)
    elif call.method in ("cuda", "cpu"):
        yield Statement("device", call.method, call.line)
    for part in [*call.node.args, *call.arguments.values()]:
        if dtype := dtype_of(reading, part):
            yield Statement("dtype", dtype, call.line)
        elif call.method == "to" and (device := device_named(_device_literal(reading, part))):
            yield Statement("device", device, call.line)


def _device_literal(reading: Reading, node: ast.expr) -> object:
    """The text in `"cuda"` or in `torch.device("cuda")`."""
    made = reading.script.value(node)
    if isinstance(made, ast.Call) and reading.script.dotted(made.func) == "torch.device" and made.args:
        return reading.script.literal(made.args[0])
    return reading.script.literal(node)


def _of_torch(reading: Reading, call: Call) -> Iterator[Statement]:
    value = reading.script.literal(call.node.args[0]) if call.node.args else None
    if call.name == "torch.set_float32_matmul_precision" and isinstance(value, str):
        yield Statement("matmul_precision", value, call.line)
    if call.name == "torch.set_num_threads" and isinstance(value, int):
        yield Statement("threads", value, call.line)


def _of_generation(reading: Reading, given: Mapping[str, ast.expr]) -> Iterator[Statement]:
    yield from _plain(reading, given, PLAIN_GENERATION)
    if isinstance(reading.script.literal(given.get("prompt_lookup_num_tokens")), int):
        yield Statement("speculation", "prompt_lookup", given["prompt_lookup_num_tokens"].lineno)


def _of_compiling(reading: Reading) -> Iterator[Statement]:
    for call in reading.named("compile"):
        target = call.node.args[0] if call.node.args else None
        if call.name == "torch.compile" and isinstance(target, ast.Attribute) and target.attr == "forward":
            yield Statement("compile", "forward", call.line)
            yield from _compile_options(reading, call)
    for call in reading.named("CompileConfig"):
        yield from _compile_options(reading, call)


def _compile_options(reading: Reading, call: Call) -> Iterator[Statement]:
    for name in ("mode", "fullgraph"):
        value = reading.script.literal(call.arguments.get(name))
        if isinstance(value, str | bool):
            yield Statement(f"compile_{name}", value, call.line)


def _of_batching(reading: Reading) -> Iterator[Statement]:
    if reading.batches:
        yield Statement("batching", "continuous", reading.batches[0].line)
    else:
        for line in loop_lines(reading)[:1]:
            yield Statement("batching", "loop", line)
    for call in reading.script.calls:
        if "padding_side" in call.arguments or "pad_to_multiple_of" in call.arguments:
            yield from _plain(reading, call.arguments, ("padding_side", "pad_to_multiple_of"))
    for name, values in reading.script.bindings.items():
        if name.endswith(".padding_side") and isinstance(side := reading.script.literal(values[-1]), str):
            yield Statement("padding_side", side, values[-1].lineno)


def _sizes(reading: Reading) -> Iterator[Statement]:
    for call in _generating(reading):
        value = reading.script.literal(given := call.arguments.get("max_new_tokens"))
        if isinstance(value, int) and not isinstance(value, bool) and value > 0 and given is not None:
            yield Statement("new_tokens", value, given.lineno)
    yield from padded(reading)
