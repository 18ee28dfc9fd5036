"""What became of each step of a plan, and which step an error is about. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from advisor.facts import Value
from advisor.plan import Step
from advisor.run.figures import Failed
from advisor.setup import Setup

# How an error's text names the knob: words of libraries, found by making each knob fail.
NAMED_IN_ERRORS: tuple[tuple[str, str], ...] = (
    ("compile", r"inductor|dynamo|torch\.compile|CppCompile|C\+\+ compiler|cudagraph|BackendCompiler"),
    ("cache_implementation", r"static.?cache|cache_implementation|index_copy_|KV cache"),
    ("quantization", r"bitsandbytes|\bbnb\b|[48].?bit|quantiz"),
    ("batching", r"continuous.batching|generate_batch|paged"),
    ("attn_implementation", r"flash.?attn|flash.?attention|attn_implementation|flex_attention|kernels-community"),
    ("device_map", r"device_map|[`']accelerate[`']|offload"),
    ("device", r"not compiled with CUDA|No CUDA GPUs|no NVIDIA driver|cannot access accelerator"),
    ("dtype", r"not implemented for '(Half|BFloat16)'|the same dtype"),
)
OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|unable to mmap|killed by SIGKILL|MemoryError|more memory than", re.IGNORECASE
)
LOG_CHARACTERS = 5000


@dataclass(frozen=True)
class Choice:
    """What became of a step: `option` 0 is its change, n its n-th fallback, None taken back for `reason`. `mended` is
    what was laid over it when it failed: a fallback that its rule does not name."""

    step: Step
    option: int | None
    reason: str
    mended: Mapping[str, Value] = field(default_factory=dict)

    @property
    def change(self) -> Mapping[str, Value]:
        match self.option:
            case None:
                return {}
            case 0:
                return {**self.step.change, **self.mended}
            case number:
                return {**self.step.fallbacks[number - 1], **self.mended}

    @property
    def kept(self) -> bool:
        return self.option is not None


Choices = tuple[Choice, ...]


def setup_of(baseline: Setup, choices: Choices) -> Setup:
    """The baseline with the changes of all kept steps, in the plan's order."""
    for choice in choices:
        baseline = baseline.changed(choice.change)
    return baseline


def replaced(choices: Choices, changed: Choice) -> Choices:
    """The choices with one of them changed."""
    return tuple(changed if choice.step is changed.step else choice for choice in choices)


def named(kept: Sequence[Choice], text: str) -> Choice | None:
    """The kept step whose knob the text names, or that takes the most memory where memory ran out."""
    for knob, words in NAMED_IN_ERRORS:
        for choice in kept:
            if choice.change.get(knob) not in (None, "none") and re.search(words, text, re.IGNORECASE):
                return choice
    if OUT_OF_MEMORY.search(text):
        hungry = [choice for choice in kept if (choice.step.effect.memory_bytes or 0) > 0]
        return max(hungry, key=lambda choice: choice.step.effect.memory_bytes or 0, default=None)
    return None


def named_knobs(setup: Setup, failed: Failed) -> Iterator[str]:
    """The knobs of a setup that the reason of a failure names, else those that its log names."""
    for text in (failed.reason, failed.log[-LOG_CHARACTERS:]):
        found = [
            knob
            for knob, words in NAMED_IN_ERRORS
            if getattr(setup, knob) not in (None, "none") and re.search(words, text, re.IGNORECASE)
        ]
        if found:
            yield from found
            return


def out_of_memory(failed: Failed) -> bool:
    """Whether a failure says by itself that memory ran out."""
    return OUT_OF_MEMORY.search(failed.reason) is not None
