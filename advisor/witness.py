"""What the text of a failure tells about the machine, the setup and the workload in which it happened.

Every value names its place, `FILE:line`, and how it was reckoned. What the text does not tell is not in the result.
Pure: the text was read before, the machine is handed in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import islice

from advisor.amounts import size
from advisor.facts import Fact, Facts, Known, Unknown, Value
from advisor.patterns import when_used
from advisor.reading import Passage
from advisor.reading.lengths import length

SAME_CARD = 0.06
"""By how much the size of one card differs between the driver's count and a message's: reserved pages, ECC."""
LARGEST = 10_000_000
MOST_LINES = 200
"""Lines with a maker's name that are searched for a card's: a log may name its cards in every line."""
_MAKERS = when_used("nvidia|geforce|tesla|rtx|quadro|radeon|instinct")

_BUILDS = {"cuda": "cuda", "hip": "rocm", "xpu": "xpu", "mps": "mps"}
_VENDORS = {"cuda": "nvidia", "rocm": "amd", "xpu": "intel", "mps": "apple"}
# Knob, value, the setting that shows it, and the phrases that give its place.
_SHOWN: tuple[tuple[str, Value, str | None, tuple[str, ...]], ...] = (
    ("quantization", "bnb_nf4", "load_in_4bit", ("load_in_4bit", "load-in-4bit", "bnb_4bit", "Linear4bit", "bnb-4bit")),
    ("quantization", "bnb_int8", "load_in_8bit", ("load_in_8bit", "load-in-8bit", "Linear8bitLt", "MatMul8bitLt")),
    ("dtype", "bfloat16", "bf16", ("bfloat16", "--bf16", "bf16=True")),
    ("dtype", "float16", "fp16", ("float16", "--fp16", "fp16=True", "dtype=half", ".half()")),
    ("attn_implementation", "flash_attention_2", "flash_attention",
     ("flash_attention_2", "flash_attn_func", "_flash_attention_forward", "flash_attn_interface")),
    ("attn_implementation", "sdpa", "sdpa", ("scaled_dot_product_attention(", "attn_implementation=sdpa",
                                             "sdpa_attention_forward")),
    ("attn_implementation", "eager", None, ("eager_attention_forward(", "in eager_attention_forward",
                                            "attn_implementation=eager")),
    ("cache_implementation", "quantized", "quantized_cache", ("cache_implementation=quantized", "QuantizedCache(")),
    ("cache_implementation", "offloaded", "offloaded_cache", ("cache_implementation=offloaded", "OffloadedCache(")),
    ("device_map", "auto", "device_map", ("device_map=auto", "device_map: auto")),
    ("device_map", "balanced", "device_map", ("device_map=balanced,", "device_map=balanced)")),
    ("device_map", "sequential", "device_map", ("device_map=sequential",)),
)  # fmt: skip
# Field, words of which one stands in every line that states it, and the line.
_SIZES = (
    ("batch", ("batch_size", "batch-size", "batchsize"),
     when_used(r"\b(?:per_device_(?:train|eval)_)?batch[_-]?size[\"']?\s{0,2}[=: ]\s{0,2}(\d{1,5})\b")),
    ("new_tokens", ("max_new_tokens",), when_used(r"\bmax_new_tokens[\"']?\s{0,2}[=:]\s{0,2}(\d{1,7})\b")),
    ("prompt_tokens", ("_len",),
     when_used(r"\b(?:max_(?:prompt|seq|source)_len(?:gth)?|prompt_len(?:gth)?)[\"']?\s{0,2}"
               r"[=: ]\s{0,2}(\d{1,7})\b")),
)  # fmt: skip

_SAID_BY_CAUSE: Mapping[str, tuple[str, Value]] = {
    "flash_attn_not_installed": ("flash_attn.installed", False),
    "triton_missing": ("triton.installed", False),
    "device_map_needs_accelerate": ("accelerate.installed", False),
    "no_cxx_compiler": ("compiler.found", False),
    "torch_cpu_build": ("torch.build", "cpu"),
}
"""What an error other than a shortage of memory says of the environment in which it was raised."""
_KNOB_BY_CAUSE: Mapping[str, tuple[str, Value]] = {
    "flash_attn_not_installed": ("attn_implementation", "flash_attention_2"),
}
"""And of the setup: an error that only one value of a knob can raise."""


@dataclass(frozen=True)
class Witness:
    """What one text tells: facts of the machine, knobs and workload fields with their places.

    `elsewhere` says that it happened on another device than this machine's; `kind` is the kind of memory failure.
    """

    kind: str | None
    elsewhere: bool
    machine: Facts
    knobs: Mapping[str, tuple[Value, str]] = field(default_factory=dict)
    workload: Mapping[str, tuple[Value, str]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """What was taken from the text, a line each, with its place."""
        for name in ("gpu.name", "gpu.memory_total_bytes", "gpu.memory_free_bytes"):
            fact = self.machine.get(name)
            if isinstance(fact, Known):
                value = size(fact.value) if isinstance(fact.value, int) else fact.value
                yield f"{name}: {value} ({fact.source})"
        for name, (value, place) in {**self.knobs, **self.workload}.items():
            yield f"{name}: {value} ({place})"


def witness(passage: Passage, source: str, here: Facts, model: Facts, cause: str | None = None) -> Witness:
    """What `passage` tells. `here` is the machine at hand, `model` the model's facts as far as they are known, `cause`
    the cause that explain found."""
    kind = passage.said.form.kind if passage.said else None
    knobs = dict(_knobs(passage, source))
    machine, elsewhere = _machine(passage, source, here)
    if cause is not None and cause in _SAID_BY_CAUSE:
        name, value = _SAID_BY_CAUSE[cause]
        machine = machine | Facts({name: Known(value, f"{source}: {cause}")})
    if cause is not None and cause in _KNOB_BY_CAUSE:
        name, value = _KNOB_BY_CAUSE[cause]
        knobs.setdefault(name, (value, f"{source}: {cause}"))
    if kind == "gpu_oom" and passage.facts.text("text.backend") in (None, "cuda", "hip"):
        assert passage.said is not None
        knobs.setdefault("device", ("cuda", _place(passage, source, passage.said.start)))
    workload = dict(_workload(passage, source))
    if "prompt_tokens" not in workload and (length := _length(passage, source, model, knobs, workload)):
        workload["prompt_tokens"] = length
    return Witness(kind, elsewhere, machine, knobs, workload)


def in_force(passage: Passage) -> dict[str, Value]:
    """Knobs that the text shows to be set."""
    found = {name: value for name, (value, _) in _knobs(passage, "")}
    sizes = dict(_workload(passage, ""))
    return {**found, "batch_size": sizes["batch"][0]} if "batch" in sizes else found


def lengths_follow(passage: Passage) -> bool:
    """Whether a length that `witness` tells is reckoned from a tensor: it then holds for the batch it was reckoned
    with."""
    return "prompt_tokens" not in dict(_workload(passage, ""))


def _place(passage: Passage, source: str, position: int) -> str:
    return f"{source}:{passage.squeezed.line_at(position) + 1}"


def _knobs(passage: Passage, source: str) -> Iterator[tuple[str, tuple[Value, str]]]:
    """The first of a knob's values that the text shows to be in force."""
    shown = passage.facts.value("text.settings")
    in_force = shown if isinstance(shown, tuple) else ()
    taken: set[str] = set()
    for knob, value, setting, phrases in _SHOWN:
        if knob in taken or (setting is not None and setting not in in_force):
            continue
        found = next((place for written in phrases if (place := passage.find(written))), None)
        if found:
            taken.add(knob)
            yield knob, (value, _place(passage, source, found[0]))


def _workload(passage: Passage, source: str) -> Iterator[tuple[str, tuple[Value, str]]]:
    """Sizes that a line states, the last one of each; what was trained where it failed."""
    for name, words, pattern in _SIZES:
        if not any(word in passage.squeezed.text for word in words):
            continue
        for number in range(len(passage.lines) - 1, -1, -1):
            found = pattern.search(passage.lines[number].bare)
            if found and 1 <= int(found[1]) <= LARGEST:
                yield name, (int(found[1]), f"{source}:{number + 1}")
                break
    if passage.said and passage.of_training:
        yield "task", ("train", _place(passage, source, passage.said.start))


def _machine(passage: Passage, source: str, here: Facts) -> tuple[Facts, bool]:
    """The device that the message speaks of, and whether it is another one than the machine's."""
    if passage.said is None or passage.said.form.kind != "gpu_oom":
        return Facts(), False
    total, place = passage.facts.count("text.total_bytes"), _place(passage, source, passage.said.start)
    other_maker = _other_maker(passage, here)
    if not total:
        return _limited(passage, here, place, other_maker), other_maker
    index = passage.facts.count("text.device_index") or 0
    several = (here.count("gpu.count") or 1) > 1
    known = here.count(f"gpu.{index}.memory_total_bytes" if several else "gpu.memory_total_bytes")
    elsewhere = other_maker or known is None or abs(known - total) > SAME_CARD * total
    found: dict[str, Fact] = {"memory_total_bytes": Known(total, place)}
    room = _room(passage, place, total)
    # Where the text is silent, what this machine's own card has free now is better than nothing.
    if elsewhere or isinstance(room[0], Known):
        found["memory_free_bytes"], found["memory_others_bytes"] = room
    if elsewhere:
        found |= _card(passage, source, total)
    facts = {f"gpu.{index}.{name}": fact for name, fact in found.items()}
    if index == 0 or not several or elsewhere:
        facts |= {f"gpu.{name}": fact for name, fact in found.items()}
    return Facts({**(_another(here, passage, place) if elsewhere else {}), **facts}), elsewhere


def _other_maker(passage: Passage, here: Facts) -> bool:
    """Whether the message comes from a backend of another maker than this machine's device."""
    vendor, backend = here.text("gpu.vendor"), passage.facts.text("text.backend")
    return backend in _BUILDS and vendor is not None and _VENDORS[_BUILDS[backend]] != vendor


def _limited(passage: Passage, here: Facts, place: str, elsewhere: bool) -> Facts:
    """A device whose total the message does not give. MPS tells the most that it allows, which is what a fresh process
    finds."""
    found: dict[str, Fact] = _another(here, passage, place) if elsewhere else {}
    limit, mps = passage.facts.count("text.limit_bytes"), passage.facts.text("text.backend") == "mps"
    if limit and mps and (elsewhere or here.text("gpu.vendor") == "apple"):
        found |= {f"{gpu}.memory_free_bytes": Known(limit, f"{place}: max allowed") for gpu in ("gpu", "gpu.0")}
    if elsewhere:
        found["gpu.name"] = Unknown(f"{place} does not name the device")
    return Facts(found)


def _room(passage: Passage, place: str, total: int) -> tuple[Fact, Fact]:
    """What a fresh process finds: everything but what others hold. Messages that count only what PyTorch reserved
    leave this process's own context among the others."""
    others = passage.facts.count("text.unaccounted_bytes")
    if others is None and (left := passage.facts.count("text.left_bytes")) is not None:
        held = Known(total - left, f"{place}: what PyTorch held; a new process finds as much")
        return held, Unknown(f"{place} does not tell what others held")
    if others is None:
        unknown = Unknown(f"{place} does not tell what this process held")
        return unknown, unknown
    by_driver = bool(passage.figures.get("process_bytes"))
    # Imported here, as the catalog of devices is below: to explain a text takes neither.
    from advisor.estimate.room import CONTEXT_BYTES

    others = others if by_driver else max(0, others - CONTEXT_BYTES)
    reckoned = f"{place}: {size(total)} in all less {size(others)} held by others"
    return Known(total - others, reckoned), Known(others, place)


def _card(passage: Passage, source: str, total: int) -> dict[str, Fact]:
    """The card's name, if a line gives one of the catalog's whose memory agrees."""
    from advisor.estimate import devices

    told = ((number, line.bare.casefold()) for number, line in enumerate(passage.lines))
    for number, line in islice(((n, text) for n, text in told if _MAKERS.search(text)), MOST_LINES):
        for name in _names_in(line):
            facts = Facts({"gpu.name": Known(name, ""), "gpu.memory_total_bytes": Known(total, "")})
            row = devices.identified(facts)
            if not isinstance(row, Unknown):
                found: dict[str, Fact] = {"name": Known(name, f"{source}:{number + 1}")}
                if row.capability is not None:
                    found["capability"] = Known(row.capability, "device catalog")
                return found
    return {"name": Unknown(f"{source} does not name the card")}


@cache
def _longest_first() -> tuple[str, ...]:
    from advisor.estimate import devices

    return tuple(sorted(devices.catalog(), key=lambda name: -len(name)))


def _names_in(line: str) -> Iterator[str]:
    """Names of the catalog in a line, the longest first; short ones (L4, T4) only behind the vendor's name."""
    for name in _longest_first():
        at = line.find(name)
        if at < 0 or line[at + len(name) : at + len(name) + 1].isalnum():
            continue
        if len(name) >= 8 or line[:at].rstrip().endswith(("nvidia", "tesla")):
            yield name


def _another(here: Facts, passage: Passage, place: str) -> dict[str, Fact]:
    """This machine's accelerators give way to the text's; its packages are taken as they are here."""
    gone = Unknown("of another machine than this one")
    known = {name: fact for name in here if isinstance(fact := here.get(name), Known)}
    facts: dict[str, Fact] = {name: gone for name in known if name.startswith(("gpu.", "speed."))}
    build = _BUILDS.get(passage.facts.text("text.backend") or "", "cuda")
    vendor = _VENDORS[build]
    facts |= {"torch.sees_gpu": Known(True, place), "torch.build": Known(build, place)}
    return facts | {"gpu.count": Known(1, f"assumed; {place} names one"), "gpu.vendor": Known(vendor, place)}


def _length(
    passage: Passage,
    source: str,
    model: Facts,
    knobs: Mapping[str, tuple[Value, str]],
    workload: Mapping[str, tuple[Value, str]],
) -> tuple[Value, str] | None:
    """The length of the prompt, where the tensor that failed has a known shape."""
    if passage.said is None:
        return None
    batch, answer = (
        workload[name][0] if name in workload else usual for name, usual in (("batch", 1), ("new_tokens", 0))
    )
    width = 4 if passage.find_in_scope("dtype=torch.float32") or _is_full(knobs, model) else 2
    assert isinstance(batch, int)
    assert isinstance(answer, int)
    found = length(passage, model, batch, answer, width)
    if found is None or not 16 <= found[0] <= 4 * (model.count("model.context_tokens") or LARGEST):
        return None
    return found[0], f"{_place(passage, source, passage.said.start)}: {found[1]}"


def _is_full(knobs: Mapping[str, tuple[Value, str]], model: Facts) -> bool:
    """Whether activations are in float32: by what the text shows, else by the checkpoint."""
    dtype = knobs["dtype"][0] if "dtype" in knobs else model.text("model.checkpoint_dtype")
    return dtype == "float32"
