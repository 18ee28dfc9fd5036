"""Setups worth a try beside the plan: what the plan's knobs may be instead, as far as they go together, fit and are
predicted to come close to the best. Pure; needs the facts that stand in a plan and no rules.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from advisor import baseline
from advisor.conflicts import STATIC, compiles, conflict, quantizes
from advisor.facts import Value
from advisor.merit import WORTH_A_LOSS
from advisor.plan import Estimate, Plan
from advisor.setup import Setup

Change = dict[str, Value]

NEAR = 1.6
"""Tried is what is predicted to take at most so many times as long as the best: the band of a predicted speed is as
wide (`estimate.band`)."""
MOST = 8
"""Candidates at most. A plan among them is not more than a few knobs away from the best."""
MOST_ALIKE = 2
"""Candidates at most that differ in little: with the same weights, compiled or not. What is predicted alike is not all
tried."""


@dataclass(frozen=True)
class Candidate:
    """A setup to try. `seconds` are those predicted of a request. `price` is what it must be faster by because its
    outputs differ. `sibling` is the same setup uncompiled."""

    setup: Setup
    seconds: float
    price: float
    sibling: Setup | None

    @property
    def weights(self) -> Setup:
        """The knobs that decide what is loaded; candidates that agree in them can share a model."""
        plain = replace(self.setup, **dict.fromkeys(SET_LATER))
        # An assistant is loaded with the model.
        return replace(plain, speculation="assistant") if self.setup.speculation == "assistant" else plain

    @property
    def kind(self) -> tuple[Setup, bool]:
        """What most of the speed comes from."""
        return self.weights, compiles(self.setup)


SET_LATER = (
    *("attn_implementation", "threads", "use_cache", "cache_implementation", "cache_backend", "cache_bits"),
    *("prefill_chunk_size", "speculation", "prompt_lookup_num_tokens", "batching", "batch_size", "padding_side"),
    *("pad_to_multiple_of", "max_batch_tokens", "page_size"),
)
"""Knobs that a loaded model can be told."""


def candidates(plan: Plan, estimate: Callable[[Setup], Estimate]) -> tuple[Candidate, ...]:
    """The setups to try, the likeliest first; the plan's own is always among them.

    Empty where the speed of the plan is not known, so that nothing could be told apart.
    """
    told = {setup: seconds for setup in _setups(plan) if (seconds := _predicted(plan, estimate(setup))) is not None}
    if plan.setup not in told:
        return ()
    found = [_candidate(plan, setup, told) for setup in told]
    found.sort(key=lambda one: (one.seconds * one.price, len(plan.setup.difference(one.setup))))
    limit = NEAR * found[0].seconds * found[0].price
    near = [one for one in found if one.seconds * one.price <= limit or one.setup == plan.setup]
    return _with_siblings(_few_alike(plan, near), found)


def _few_alike(plan: Plan, near: list[Candidate]) -> list[Candidate]:
    """The best of each kind of weights; the plan's own setup whatever its place."""
    kept: list[Candidate] = []
    for one in near:
        alike = sum(other.kind == one.kind for other in kept)
        if one.setup == plan.setup or (len(kept) < MOST and alike < MOST_ALIKE):
            kept.append(one)
    return kept


def _with_siblings(kept: list[Candidate], known: list[Candidate]) -> tuple[Candidate, ...]:
    """What is compiled comes with the same setup uncompiled, which is quick to try and tells much about it."""
    by_setup = {one.setup: one for one in known}
    found = list(kept)
    for one in kept:
        if one.sibling in by_setup and by_setup[one.sibling] not in found:
            found.append(by_setup[one.sibling])
    return tuple(found)


def _candidate(plan: Plan, setup: Setup, told: dict[Setup, float]) -> Candidate:
    lossy = quantizes(setup) and (plan.baseline.quantization or "none") != setup.quantization
    plain = replace(setup, compile="none", cache_implementation="dynamic", compile_mode=None)
    sibling = plain if compiles(setup) and plain in told else None
    return Candidate(setup, told[setup], WORTH_A_LOSS if lossy and not _must_quantize(plan) else 1.0, sibling)


def _must_quantize(plan: Plan) -> bool:
    """Whether the plan quantizes because nothing else fits."""
    return quantizes(plan.setup) and plan.workload.quantize != "freely"


def _predicted(plan: Plan, estimate: Estimate) -> float | None:
    """Seconds of a request; None for what does not fit, what needs more memory than a plan that is about memory, and
    where no speed is known."""
    rate, needed, planned = estimate.speed.total_tokens_per_second, estimate.memory, plan.estimate.memory.total_bytes
    if not rate or needed.fits is False:
        return None
    if plan.workload.goal in ("memory", "fit") and planned and (needed.total_bytes or 0) > planned:
        return None
    return plan.workload.batch * plan.workload.concurrency * plan.workload.new_tokens / rate


def _setups(plan: Plan) -> Iterator[Setup]:
    """Every combination of what the plan's knobs may be instead."""
    axes = (_types(plan), _attention(plan), _batching(plan), _compilation(plan), _weights(plan), _threads(plan))
    seen = {plan.setup}
    yield plan.setup
    for choices in product(*axes):
        setup = plan.setup
        for change in choices:
            setup = setup.changed(change)
        if setup not in seen and conflict(setup) is None and not _is_odd(setup):
            seen.add(setup)
            yield setup


def _is_odd(setup: Setup) -> bool:
    """What goes together and is no use: compiled layers in eager mode, and quantized ones that compute in float32."""
    eager = setup.attn_implementation == "eager" and compiles(setup)
    return eager or (quantizes(setup) and setup.dtype == "float32")


def _types(plan: Plan) -> list[Change]:
    """Types of the weights: the plan's, bfloat16 where the device multiplies it fast, float32 on a CPU, where narrower
    types save little at small sizes. float16 is never brought in: a model may leave its range."""
    fast = baseline.device_facts(plan.machine, plan.setup).is_true("device.fast_bf16")
    kinds = [plan.setup.dtype, "bfloat16" if fast else None, "float32" if plan.setup.device == "cpu" else None]
    return [{"dtype": kind} for kind in dict.fromkeys(kinds) if kind is not None] or [{}]


def _attention(plan: Plan) -> list[Change]:
    if plan.workload.reads_attention_weights or plan.setup.batching == "continuous":
        return [{}]
    kinds = [plan.setup.attn_implementation, "eager"]
    kinds += ["sdpa"] if plan.model_facts.is_true("model.supports_sdpa") else []
    return [{"attn_implementation": kind} for kind in dict.fromkeys(kinds) if kind is not None]


def _batching(plan: Plan) -> list[Change]:
    """The plan's way, and half as many prompts at a time."""
    size = plan.setup.batch_size
    if plan.setup.batching not in ("padded", "sorted") or size is None or size < 2:
        return [{}]
    return [{}, {"batch_size": size // 2}]


def _compilation(plan: Plan) -> list[Change]:
    """A growing cache as it is; a static one compiled, where the process goes on and model and machine can do it."""
    if plan.setup.compile == "forward" or plan.setup.cache_implementation not in (None, "dynamic", *STATIC):
        return [{}]
    plain: Change = {"cache_implementation": "dynamic", "compile": "none"}
    compiled: Change = {"cache_implementation": "static", "compile": "generate"}
    can = plan.model_facts.is_true("model.supports_static_cache") and plan.machine.is_true("compiler.found")
    wanted = plan.workload.repeats and not plan.workload.reads_attention_weights
    return [plain, compiled] if compiles(plan.setup) or (can and wanted) else [{}]


def _weights(plan: Plan) -> list[Change]:
    """Plain weights, and quantized ones where that is allowed: as the plan does, or freely."""
    if plan.model_facts.text("model.checkpoint_quantization") not in (None, "none"):
        return [{}]
    kinds = [plan.setup.quantization or "none", "none"]
    packages = ("bitsandbytes.installed", "accelerate.installed")
    if plan.workload.quantize == "freely" and all(plan.machine.is_true(name) for name in packages):
        kinds += ["bnb_nf4", "bnb_int8"]
    return [{"quantization": kind} for kind in dict.fromkeys(kinds)]


def _threads(plan: Plan) -> list[Change]:
    """All threads, and half of them: two of one core share its arithmetic units."""
    if plan.setup.device != "cpu" or (plan.setup.threads or 1) < 2:
        return [{}]
    return [{}, {"threads": (plan.setup.threads or 2) // 2}]
