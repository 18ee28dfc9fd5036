"""How a script loads and quantizes its model, and how it batches continuously, as facts `code.*`."""

import ast
from collections.abc import Iterator

from advisor.facts import Fact, Unknown
from advisor.reading_code.calls import Call, spelled_out
from advisor.reading_code.findings import Reading

CASTS = ("to", "cuda", "cpu", "half", "float", "bfloat16")


def loading(reading: Reading) -> dict[str, Fact]:
    """All facts of this file."""
    return {
        "code.loads_again_for_attention": reading.found(_loads_again(reading)),
        **four_bit(reading),
        "code.loads_gguf": reading.found(_from_gguf(reading)),
        "code.moves_quantized_model": reading.found(_moved_after_quantizing(reading)),
        "code.limits_continuous_batching": limits_batching(reading),
    }


def _from_gguf(reading: Reading) -> Iterator[int]:
    """Loads that name a GGUF file: as gguf_file or in a GgufConfig."""
    for call in reading.loads:
        given = loading_arguments(reading, call)
        config = reading.script.value(given.get("quantization_config"))
        named = isinstance(config, ast.Call) and reading.script.dotted(config.func).endswith("GgufConfig")
        if "gguf_file" in given or named:
            yield call.line


def loading_arguments(reading: Reading, call: Call) -> dict[str, ast.expr]:
    """The arguments with which a model is loaded; a pipeline hands those of model_kwargs on."""
    inner = spelled_out(reading.script, call.arguments["model_kwargs"]) if "model_kwargs" in call.arguments else None
    return {**(inner or {}), **call.arguments}


def loaders(reading: Reading) -> list[Call]:
    """Calls that load a model: from_pretrained, from_config, and pipelines that are given a name."""
    named = [call for call in reading.pipelines if not _given_a_model(reading, call)]
    return sorted([*reading.loads, *named], key=lambda call: call.line)


def _given_a_model(reading: Reading, call: Call) -> bool:
    return reading.roles.of(call.arguments.get("model")) == "model"


def _loads_again(reading: Reading) -> Iterator[int]:
    """A second load of one model whose arguments differ in attention and nothing else."""
    seen: dict[str, dict[str, str]] = {}
    for call in reading.loads:
        if not call.node.args or call.open:
            continue
        model = str(reading.script.literal(call.node.args[0]) or ast.dump(call.node.args[0])[:200])
        given = {name: ast.dump(value)[:200] for name, value in list(call.arguments.items())[:50]}
        attention = given.pop("attn_implementation", "")
        key = f"{model} {sorted(given.items())}"
        earlier = seen.setdefault(key, {"attention": attention})
        if earlier["attention"] != attention:
            yield call.line


def four_bit(reading: Reading) -> dict[str, Fact]:
    """The type of 4-bit weights and whether arithmetic was left at its default, float32."""
    configs = [
        call
        for call in reading.named("BitsAndBytesConfig")
        if reading.script.literal(call.arguments.get("load_in_4bit")) is True
    ]
    if not configs:
        none = Unknown("the script configures no 4-bit weights")
        return {"code.four_bit_without_compute_dtype": reading.at(False, None), "code.four_bit_type": none}
    config = configs[0]
    kind = reading.script.literal(given) if (given := config.arguments.get("bnb_4bit_quant_type")) else "fp4"
    told = isinstance(kind, str) and not (config.open and given is None)
    return {
        "code.four_bit_without_compute_dtype": _left_out(reading, config, "bnb_4bit_compute_dtype"),
        "code.four_bit_type": reading.at(str(kind), config.line) if told else reading.unclear(config.line, "the type"),
    }


def _left_out(reading: Reading, call: Call, name: str) -> Fact:
    if name in call.arguments:
        return reading.at(False, None)
    return reading.unclear(call.line, name) if call.open else reading.at(True, call.line)


def is_quantized(reading: Reading, call: Call) -> bool:
    """Whether this loads weights that bitsandbytes quantizes."""
    given = loading_arguments(reading, call)
    flags = any(reading.script.literal(given.get(name)) is True for name in ("load_in_8bit", "load_in_4bit"))
    config = reading.script.value(given.get("quantization_config"))
    by_config = isinstance(config, ast.Call) and reading.script.dotted(config.func).endswith("BitsAndBytesConfig")
    return flags or by_config


def _moved_after_quantizing(reading: Reading) -> Iterator[int]:
    """`.to(...)`, `.half()` and the like on a model loaded with quantized weights."""
    quantized = {id(call.node) for call in reading.loads if is_quantized(reading, call)}
    if not quantized:
        return
    for call in reading.script.calls:
        if call.method in CASTS and id(reading.script.value(call.receiver)) in quantized:
            yield call.line


def limits_batching(reading: Reading) -> Fact:
    """Whether both limits of continuous batching are given: the blocks of its cache and the tokens of a step."""
    if not reading.batches:
        return Unknown("the script does not use continuous batching")
    holders = [*reading.batches, *reading.named("ContinuousBatchingConfig", "GenerationConfig")]
    for name in ("num_blocks", "max_batch_tokens"):
        given = reading.with_argument(holders, name)
        if isinstance(given, Unknown) or not given.value:
            return given if isinstance(given, Unknown) else reading.at(False, reading.batches[0].line)
    return reading.at(True, reading.batches[0].line)
