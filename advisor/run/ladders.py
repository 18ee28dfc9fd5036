"""What to try instead of a knob that fails: one step down at a time, whatever rule set it. Pure.

A rule's own fallbacks come first. Each ladder ends where the library needs nothing any more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from advisor.conflicts import STATIC, compiles
from advisor.facts import Value
from advisor.setup import Setup

Change = Mapping[str, Value]
FLASH_KERNEL = "kernels-community/flash-attn2"
PLAINER: Mapping[str, Value] = {
    "use_kernels": False,
    "experts_implementation": "eager",
    "cache_implementation": "dynamic",
    "keep_cache": False,
    "attn_at_run_time": False,
    "speculation": "none",
    "batching": "padded",
    "dtype": "float32",
}
"""The value of a knob that every installation can carry out."""


@dataclass(frozen=True)
class Means:
    """What the ladders may use: importable packages, whether weights may be quantized, prompts in one call where the
    setup does not say, and the 16-bit type that the device computes in."""

    packages: frozenset[str] = frozenset()
    may_quantize: bool = False
    batch: int = 1
    sixteen_bits: str = "bfloat16"


def plainer(setup: Setup, knob: str, means: Means) -> Change | None:
    """The next thing to try where `knob` fails in `setup`, or None at the foot of its ladder."""
    if knob == "attn_implementation":
        return _attention(setup.attn_implementation, means)
    if knob.startswith("compile"):
        return _compilation(setup)
    if knob == "cache_implementation" and setup.keep_cache:
        return {"cache_implementation": "dynamic", "keep_cache": False}
    value = PLAINER.get(knob)
    return None if value is None or getattr(setup, knob) in (None, value) else {knob: value}


def _attention(now: str | None, means: Means) -> Change | None:
    """flash_attention_2, its kernel from the Hub, sdpa, eager."""
    if now in (None, "eager"):
        return None
    if now == "flash_attention_2" and "kernels" in means.packages:
        return {"attn_implementation": FLASH_KERNEL}
    return {"attn_implementation": "eager" if now == "sdpa" else "sdpa"}


def _compilation(setup: Setup) -> Change | None:
    """The whole graph, parts of it, none; a static cache pays for compilation only."""
    if not compiles(setup):
        return None
    if setup.compile_fullgraph:
        return {"compile_fullgraph": False}
    if setup.cache_implementation not in STATIC:
        return {"compile": "none"}
    kept: Change = {"keep_cache": False} if setup.keep_cache else {}
    return {"compile": "none", "cache_implementation": "dynamic", **kept}


def smaller(setup: Setup, stage: str, means: Means) -> Iterator[Change]:
    """What takes less memory, in the order in which it is tried: half the batch, unless loading already failed; then
    smaller weights, and last weights that lie in RAM or on disk."""
    rows = 1 if setup.batching == "loop" else setup.batch_size or means.batch
    if rows > 1 and stage not in ("start", "import", "load"):
        yield {"batch_size": rows // 2}
    if setup.quantization in (None, "none"):
        if setup.dtype == "float32":
            yield {"dtype": means.sixteen_bits}
        if means.may_quantize and "bitsandbytes" in means.packages and "accelerate" in means.packages:
            yield {"quantization": "bnb_int8", **_uncompiled(setup)}
    elif setup.quantization == "bnb_int8" and means.may_quantize:
        yield {"quantization": "bnb_nf4"}
    if "accelerate" in means.packages and setup.device != "cpu" and setup.device_map in (None, "none"):
        yield {"device_map": "auto", **_uncompiled(setup)}


def _uncompiled(setup: Setup) -> Change:
    """What bitsandbytes and spread weights do not go together with, taken back."""
    return _compilation(setup.changed({"compile_fullgraph": False})) or {}
