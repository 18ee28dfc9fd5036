"""The knobs: one complete assignment of them is a setup.

A knob is declared once, as a field of `Setup`: its name, its values and one line about what it does. None means
"not set": the installed library decides. A setup goes to JSON and back; whatever comes from JSON is checked against
the declaration, because plans may be edited by hand or come from strangers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from advisor import spoken
from advisor.errors import Mistake, nearest
from advisor.facts import Declaration, Fact, Facts, Kind, Known, Question, Unknown, Value, fits, typed

# A kernel on the Hub, optionally @revision. Kernels are code, and setups travel in plans: only those of the repository
# that transformers itself names may stand in one.
HUB_KERNEL = r"kernels-community/[A-Za-z0-9][\w.-]*(@[\w.-]+)?"
# What torch's allocator may be told (PYTORCH_ALLOC_CONF). The variable also takes paths of libraries to load, so only
# these may stand in a plan.
ALLOCATORS = (
    "expandable_segments:True",
    "garbage_collection_threshold:0.8",
    "max_split_size_mb:128",
    "backend:cudaMallocAsync",
)
# One entry of max_memory: a GPU's index, cpu or disk, and a size.
MEMORY_SHARE = r"(\d{1,2}|cpu|disk)=\d+(\.\d+)?(B|KB|MB|GB|KiB|MiB|GiB)"
# A Hub id or a folder, without characters that a terminal or a line of text would take for something else. Whether a
# folder in a plan is followed is decided where the plan is read.
ASSISTANT = r"(?u:[\w./\\:~@+ -]){1,1000}"
LARGEST_COUNT = 1_000_000


def _knob(
    line: str,
    kind: Kind,
    values: tuple[str, ...] = (),
    pattern: str | None = None,
    question: Question | None = None,
) -> Any:
    metadata = {"line": line, "kind": kind, "values": values, "pattern": pattern, "question": question}
    return field(default=None, metadata=metadata)


@dataclass(frozen=True)
class Setup:
    """One assignment of all knobs; None leaves a knob to the library."""

    device: str | None = _knob("where the model runs", Kind.NAME, ("cpu", "cuda", "mps", "xpu"))
    device_map: str | None = _knob(
        "how layers are spread over devices", Kind.NAME, ("none", "auto", "balanced", "sequential")
    )
    max_memory: tuple[str, ...] | None = _knob(
        "the most memory that weights may take on each device (0=10GiB,cpu=30GiB)", Kind.NAMES, pattern=MEMORY_SHARE
    )
    dtype: str | None = _knob("floating-point type of the weights", Kind.NAME, ("float32", "float16", "bfloat16"))
    attn_implementation: str | None = _knob(
        "attention backend",
        Kind.NAME,
        ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention"),
        pattern=HUB_KERNEL,
    )
    attn_at_run_time: bool | None = _knob(
        "the attention backend is set on the loaded model (set_attn_implementation), not while loading", Kind.FLAG
    )
    sdpa_backend: str | None = _knob(
        "the kernel that torch's scaled_dot_product_attention must take",
        Kind.NAME,
        ("flash", "mem_efficient", "math", "cudnn"),
    )
    use_cache: bool | None = _knob("keep keys and values of earlier tokens", Kind.FLAG)
    cache_implementation: str | None = _knob(
        "how keys and values are kept", Kind.NAME, ("dynamic", "static", "offloaded", "offloaded_static", "quantized")
    )
    cache_backend: str | None = _knob(
        "what quantizes the cache: a package, or the library itself (fp8)", Kind.NAME, ("quanto", "hqq", "fp8")
    )
    cache_bits: int | None = _knob("bits of one value in a quantized cache", Kind.COUNT)
    keep_cache: bool | None = _knob("one static cache serves all requests and is emptied between them", Kind.FLAG)
    prefill_chunk_size: int | None = _knob("tokens of the prompt that one forward pass takes", Kind.COUNT)
    speculation: str | None = _knob("how tokens are drafted ahead", Kind.NAME, ("none", "prompt_lookup", "assistant"))
    assistant_model: str | None = _knob(
        "the small model that drafts tokens (Hub id or folder)", Kind.NAME, pattern=ASSISTANT
    )
    prompt_lookup_num_tokens: int | None = _knob("tokens that prompt lookup drafts for one step", Kind.COUNT)
    compile: str | None = _knob(
        "what torch.compile compiles: nothing, the decoding of generate, or forward",
        Kind.NAME,
        ("none", "generate", "forward"),
    )
    compile_mode: str | None = _knob(
        "torch.compile mode", Kind.NAME, ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
    )
    compile_fullgraph: bool | None = _knob("refuse graph breaks", Kind.FLAG)
    quantization: str | None = _knob(
        "how weights are quantized on load",
        Kind.NAME,
        (
            *("none", "bnb_int8", "bnb_nf4", "bnb_nf4_double", "bnb_fp4"),
            *("torchao_int8", "torchao_int4", "quanto_int8", "quanto_int4", "fp8"),
        ),
    )
    use_kernels: bool | None = _knob("layers of the model are replaced by kernels from the Hub", Kind.FLAG)
    experts_implementation: str | None = _knob(
        "how the experts of a mixture are computed", Kind.NAME, ("eager", "batched_mm", "grouped_mm")
    )
    matmul_precision: str | None = _knob(
        "arithmetic of float32 matrix products: highest is float32, high is TF32 where the device has it",
        Kind.NAME,
        ("highest", "high"),
    )
    batching: str | None = _knob(
        "how prompts are put to the model: one call each, one padded batch, padded batches of like lengths, "
        "or continuous batching",
        Kind.NAME,
        ("loop", "padded", "sorted", "continuous"),
        question=Question(
            "How do your prompts reach the model today?",
            (("loop", "one call for each prompt or text"), ("padded", "as one padded batch")),
            "padded",
        ),
    )
    batch_size: int | None = _knob("prompts in one call of generate, sequences in one pass of training", Kind.COUNT)
    padding_side: str | None = _knob("side on which shorter prompts are padded", Kind.NAME, ("left", "right"))
    pad_to_multiple_of: int | None = _knob("prompt lengths are padded to a multiple of this", Kind.COUNT)
    max_batch_tokens: int | None = _knob("tokens of one forward pass of continuous batching", Kind.COUNT)
    page_size: int | None = _knob("tokens of one page of the cache of continuous batching", Kind.COUNT)
    threads: int | None = _knob("CPU threads of one operator", Kind.COUNT)
    interop_threads: int | None = _knob("CPU threads that run operators side by side", Kind.COUNT)
    huge_pages: bool | None = _knob("torch asks Linux for huge pages for large CPU tensors", Kind.FLAG)
    allocator: str | None = _knob("setting of torch's GPU memory allocator", Kind.NAME, ALLOCATORS)
    tensor_parallel: int | None = _knob("processes that each hold a part of every matrix (torchrun)", Kind.COUNT)
    engine: str | None = _knob(
        "what answers requests: generate in your own process, or the server of transformers",
        Kind.NAME,
        ("generate", "serve"),
    )
    adapters: str | None = _knob("what is trained: all weights, or adapters beside them", Kind.NAME, ("none", "lora"))
    optimizer: str | None = _knob(
        "optimizer of training", Kind.NAME, ("adamw", "adamw_8bit", "paged_adamw_8bit", "adafactor")
    )
    mixed_precision: str | None = _knob(
        "16-bit type in which training multiplies; the weights keep their own type", Kind.NAME, ("none", "bf16", "fp16")
    )
    gradient_checkpointing: bool | None = _knob(
        "activations are computed again for the gradients instead of kept", Kind.FLAG
    )
    eval_accumulation_steps: int | None = _knob(
        "evaluation steps after which predictions are moved to host memory", Kind.COUNT
    )
    padding_free: bool | None = _knob("sequences of a training batch are joined instead of padded", Kind.FLAG)

    def changed(self, change: Mapping[str, Value]) -> "Setup":
        """This setup with the knobs of `change` set."""
        return replace(self, **change)  # type: ignore[arg-type]  # names and kinds are checked where changes are read

    def to_json(self) -> dict[str, Any]:
        """Every knob by name; null where the library decides."""
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in knobs()}

    def difference(self, other: "Setup") -> dict[str, Value]:
        """The knobs that `other` sets differently, with its values."""
        return {name: value for name in knobs() if (value := getattr(other, name)) not in (None, getattr(self, name))}

    def facts(self, sources: Mapping[str, str]) -> Facts:
        """The knobs as facts `setup.NAME`; `sources` says where each value comes from."""
        found: dict[str, Fact] = {}
        for name in knobs():
            value = getattr(self, name)
            found[f"setup.{name}"] = Unknown("not set") if value is None else Known(value, sources.get(name, "plan"))
        return Facts(found)


@cache
def knobs() -> dict[str, Declaration]:
    """Every knob's declaration by name."""
    return {
        f.name: Declaration(f"setup.{f.name}", *(f.metadata[part] for part in ("kind", "line", "values", "question")))
        for f in fields(Setup)
    }


@cache
def _patterns() -> dict[str, str]:
    return {f.name: f.metadata["pattern"] for f in fields(Setup) if f.metadata["pattern"]}


def has_pattern(name: str) -> bool:
    """Whether a knob takes texts of a certain form, beside or instead of listed values."""
    return name in _patterns()


def declarations() -> tuple[Declaration, ...]:
    """The knobs as facts, for the vocabulary that rules are checked against."""
    return tuple(knobs().values())


def unusable(name: str, value: object) -> str | None:
    """What is wrong with setting knob `name` to `value`, or None. Never trusts the value's type."""
    if name not in knobs():
        close = nearest(name, knobs())
        return "no such knob" + (f", did you mean {close}?" if close else "; perf-advisor diagnose --list-knobs")
    knob = knobs()[name]
    if not fits(value, knob):
        return f"{value!r} is no {knob.kind.value}"
    if knob.kind is Kind.COUNT and not 1 <= int(str(value)) <= LARGEST_COUNT:
        return f"{value!r} is not between 1 and {LARGEST_COUNT}"
    parts = list(value) if isinstance(value, list | tuple) else [value]
    wrong = [part for part in parts if isinstance(part, str) and not _allowed(name, part)]
    if not wrong:
        return None
    close = nearest(wrong[0], knob.values)
    allowed = f"one of: {', '.join(knob.values)}" if knob.values else knob.line
    return f"{wrong[0]!r} is not a value of {name}" + (f", did you mean {close!r}?" if close else f"; {allowed}")


def _allowed(name: str, part: str) -> bool:
    pattern = _patterns().get(name)
    return part in knobs()[name].values or bool(pattern and re.fullmatch(pattern, part, re.ASCII))


def read_change(data: object, where: str, mistakes: list[Mistake]) -> dict[str, Value]:
    """A knob -> value mapping from JSON; what is wrong is added to `mistakes` with its place."""
    if not isinstance(data, dict):
        mistakes.append(Mistake(where, "no object of knobs"))
        return {}
    change: dict[str, Value] = {}
    for name, value in data.items():
        if value is None:
            continue
        if wrong := unusable(str(name), value):
            mistakes.append(Mistake(f"{where}.{name}", wrong))
        else:
            change[str(name)] = tuple(value) if isinstance(value, list) else value
    return change


def read_assignment(text: str, where: str, mistakes: list[Mistake]) -> tuple[str, Value] | None:
    """`KNOB=VALUE` as typed on a command line; what is wrong is added to `mistakes`."""
    name, equals, value = (part.strip() for part in text.partition("="))
    name = spoken.NAMES.get(name, name)
    value = spoken.VALUES.get((name, value), value)
    if meant := spoken.INSTEAD.get(name, spoken.INSTEAD.get((name, value))):
        mistakes.append(Mistake(where, f"{text!r} is not said like this", f"say {meant}"))
        return None
    if not equals or name not in knobs():
        what = f"{text!r}: {unusable(name, None)}" if equals else f"{text!r} is not KNOB=VALUE, like dtype=float16"
        mistakes.append(Mistake(where, what))
        return None
    try:
        read = typed(value, Declaration(name, knobs()[name].kind, ""))
    except ValueError as error:
        mistakes.append(Mistake(f"{where} {name}", str(error)))
        return None
    if wrong := unusable(name, read):
        mistakes.append(Mistake(f"{where} {name}", wrong))
        return None
    return name, read
