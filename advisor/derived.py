"""Facts that follow from other facts: from a setup on this machine, and from its estimate.

Rule files hold no arithmetic; what needs some is a fact here, with a name and a unit. Each is computed when a rule
first asks for it: the planner looks at hundreds of setups, and most rules stop at a cheaper condition. Pure.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from packaging.version import Version

from advisor import batch_facts
from advisor.estimate import spread
from advisor.estimate.offload import Placement, placement
from advisor.estimate.room import room
from advisor.facts import Deferred, Fact, Facts, Known, Unknown, Value
from advisor.plan import Estimate, Memory
from advisor.setup import Setup
from advisor.workload import Workload

TF32_CAPABILITY = 8.0
"""First NVIDIA compute capability with TF32 units (Ampere)."""
TRITON_CAPABILITY = 7.0
"""First NVIDIA compute capability for which Triton writes kernels (torch/_inductor/exc.py refuses older ones)."""
FP8_CAPABILITY = 8.9
"""First NVIDIA compute capability that multiplies fp8 (Ada)."""
FLASH = re.compile(r"(?:flash_attention_|kernels-community/(?:vllm-)?flash-attn)([234])(?:@.*)?")
"""Attention backends that are FlashAttention, by package or by a kernel from the Hub, with their version."""
OVERFLOWS_FP16 = ("gemma3", "gemma3_text", "gpt_oss")
"""Families whose activations leave the range of fp16 in an ordinary run: nan, and empty answers (transformers issue
36822, vLLM pull request 17364; gpt-oss: onnxruntime-genai pull request 2444, where they grew to 45,344 before the last
of 36 layers; nobody published those of the smaller one). The classes of transformers 5.22 do nothing about it: gpt-oss
clips inside its experts, not the sum over the layers."""
SMALL_STEPS: dict[str, Value] = {"gradient_checkpointing": True, "batch_size": 1}
"""The least that a step of training takes with the same result: each layer computed again, a sequence at a time."""
CHECKPOINTED: dict[str, Value] = {"adapters": "none", **SMALL_STEPS}
FLOAT32_TRAINING: dict[str, Value] = {"dtype": "float32", "mixed_precision": "bf16"}
"""Weights that keep every update. The products take the same memory in fp16."""
WIDE: dict[str, Value] = {**FLOAT32_TRAINING, "gradient_checkpointing": True}
"""The same in as little memory as float32 weights can be trained at a given length of a pass."""
SHARDED: dict[str, Value] = {**CHECKPOINTED, **FLOAT32_TRAINING, "quantization": "none"}
"""What several devices would share when all weights are trained."""
VERSION = "transformers.version"
EXPERTS_AT_ONCE = Version("5.0")
"""From here on all experts of a layer are computed in one call, unless the setup says otherwise."""


@dataclass(frozen=True)
class Predictions:
    """What the estimate says of any setup of one subject; each answer is remembered by whoever hands this in."""

    estimate: Callable[[Setup], Estimate]
    largest_batch: Callable[[Setup], int | None]
    largest_context: Callable[[Setup], int | None]
    break_even_calls: Callable[[Setup], tuple[float, float] | None]
    break_even_acceptance: Callable[[Setup], float | None]


def of_device(machine: Facts, setup: Setup) -> Facts:
    """What the device that this setup runs on can do, beside what `baseline` needs to know."""
    capability = None if setup.device == "cpu" else machine.number("gpu.capability")
    return Facts(
        {
            "device.fast_tf32": _reaches(setup, capability, TF32_CAPABILITY),
            "device.fast_fp8": _reaches(setup, capability, FP8_CAPABILITY),
            "device.inductor": _inductor(setup, machine),
            "device.memory_all_free_bytes": _all_free(machine, setup),
            "device.unequal_free_memory": _known(spread.unequal(machine), "not every device tells"),
            "continuous.limited": Known(setup.max_batch_tokens is not None, "setup"),
        }
    )


def _reaches(setup: Setup, capability: float | None, needed: float) -> Fact:
    if setup.device in ("cpu", "mps"):
        return Known(False, f"device {setup.device}")
    if capability is None:
        return Unknown("no compute capability")
    return Known(capability >= needed, f"compute capability {capability}")


def _inductor(setup: Setup, machine: Facts) -> Fact:
    """Whether torch.compile writes kernels for this device; NVIDIA GPUs before Volta are too old for Triton."""
    if setup.device == "mps":
        return Known(False, "a prototype on Apple silicon")
    if setup.device == "cpu" or machine.text("gpu.vendor") not in (None, "nvidia"):
        return Known(True, "torch")
    return _reaches(setup, machine.number("gpu.capability"), TRITON_CAPABILITY)


def _all_free(machine: Facts, setup: Setup) -> Fact:
    """Free memory of all devices of the setup's kind together, in bytes."""
    if setup.device == "cpu":
        return machine.get("host.ram_available_bytes")
    sizes = spread.free_sizes(machine)
    if sizes is None:
        alone = (machine.count("gpu.count") or 0) <= 1
        return machine.get("gpu.memory_free_bytes") if alone else Unknown("not every device tells")
    return Known(sum(sizes), "sum over the devices")


def of_attention(setup: Setup) -> Facts:
    """Whether the attention backend is FlashAttention, and which."""
    backend = setup.attn_implementation
    if backend is None:
        unset = Unknown("no attention backend is set")
        return Facts({"attention.flash": unset, "attention.flash_version": unset})
    found = FLASH.fullmatch(backend)
    version = Known(int(found[1]), backend) if found else Unknown(f"{backend} is no FlashAttention")
    return Facts({"attention.flash": Known(found is not None, backend), "attention.flash_version": version})


def of_experts(model: Facts, machine: Facts, setup: Setup) -> Facts:
    """Whether a mixture's experts are computed one after another: as the setup says, else as the version does."""
    count, chosen, installed = model.count("model.experts"), setup.experts_implementation, machine.text(VERSION)
    looped: Fact = Unknown("no number of experts, or no version of transformers")
    if count == 0:
        looped = Known(False, "no experts")
    elif chosen is not None:
        looped = Known(chosen == "eager", "experts_implementation")
    elif installed is not None:
        looped = Known(Version(installed) < EXPERTS_AT_ONCE, f"default of transformers {installed}")
    return Facts({"model.experts_looped": looped})


def of_model(model: Facts, machine: Facts) -> Facts:
    """What the model is to this machine and to the installed library."""
    return Facts(
        {
            "model.quantization_known": _quantization_known(model, machine),
            "model.heads_divide": _divide(model, machine),
            "model.tensor_parallel_size": _tensor_parallel_size(model, machine),
            "model.overflows_fp16": _overflows_fp16(model),
        }
    )


def _overflows_fp16(model: Facts) -> Fact:
    kind = model.text("model.type")
    if kind is None:
        return Unknown("the type of the model is not known")
    return Known(kind in OVERFLOWS_FP16, "reported for Gemma 3 alone")


def _quantization_known(model: Facts, machine: Facts) -> Fact:
    """Whether the installed transformers carries the checkpoint's quantization out."""
    method, known = model.text("model.checkpoint_quantization"), machine.value("transformers.quantizers")
    if method == "none":
        return Known(True, "plain checkpoint")
    if method is None or not isinstance(known, tuple):
        return Unknown("no method, or no list of the installed library")
    return Known(any(name.startswith(method) for name in known), "installed quantizers")


def _divide(model: Facts, machine: Facts) -> Fact:
    """Whether query heads and key and value heads divide evenly by the number of devices."""
    count = machine.count("gpu.count")
    heads = [model.count("model.heads"), model.count("model.kv_heads")]
    known = [number for number in heads if number]
    if not count or len(known) < len(heads):
        return Unknown("no number of devices or heads")
    return Known(all(number % count == 0 for number in known), "heads and devices")


def _tensor_parallel_size(model: Facts, machine: Facts) -> Fact:
    """The most devices here by which query heads divide evenly, and key and value heads divide or are repeated.

    vLLM and SGLang give several devices the same key and value head where there are fewer heads than devices (vLLM's
    ModelConfig.get_num_kv_heads).
    """
    count, heads, pairs = machine.count("gpu.count"), model.count("model.heads"), model.count("model.kv_heads")
    if not count or not heads or not pairs:
        return Unknown("no number of devices or heads")
    even = (n for n in range(1, count + 1) if heads % n == 0 and (pairs % n == 0 or n % pairs == 0))
    return Known(max(even), "heads and devices")


def of_estimate(predictions: Predictions, model: Facts, machine: Facts, load: Workload, setup: Setup) -> Facts:
    """What the estimate of `setup` says, as facts `estimate.*`."""
    here = predictions.estimate(setup)
    memory, speed = here.memory, here.speed
    there = room(machine, setup)
    weights, total = memory.weights_bytes, memory.total_bytes
    where = placement(model, machine, setup, weights)
    spilled, on_disk = (where.away, where.on_disk) if where else (None, None)
    alone = batch_facts.leanest(load, setup) if memory.fits is False else setup
    most = weights_to_fit(model, machine, alone, predictions.estimate(alone).memory)
    no_size, no_speed = "no size is known", "no speed is known for this device"
    facts: dict[str, Fact] = {
        "workload.total_tokens": Known(load.total_tokens, "prompt and new tokens"),
        "estimate.fits": _known(memory.fits, "the memory estimate is incomplete"),
        "estimate.bound": _known(speed.bound, no_speed),
        "estimate.total_bytes": _known(total, no_size),
        "estimate.weights_bytes": _known(weights, no_size),
        "estimate.weights_fit": _known(_at_most(weights, there.available_bytes), "no size or no free memory"),
        "estimate.weights_share": _known(_share(weights, there.available_bytes), no_size),
        "estimate.cache_share": _known(_share(memory.kv_cache_peak_bytes, total), no_size),
        "estimate.activation_share": _known(_share(memory.activation_peak_bytes, total), no_size),
        "estimate.weights_to_fit_bytes": _known(most, no_size),
        "estimate.bits_to_fit": _known(bits_each(model, most), no_size),
        "estimate.offloaded_bytes": _known(spilled, no_size),
        "estimate.offloaded_share": _known(_share(spilled, weights), no_size),
        "estimate.disk_bytes": _known(on_disk, no_size),
        "estimate.machines": _known(spread.machines(machine, _on_devices(total, where)), no_size),
        "estimate.even_max_memory": _known(spread.shares(machine, setup, weights), no_size),
        "estimate.decode_tokens_per_second": _known(speed.decode_tokens_per_second, no_speed),
        "estimate.prefill_share": _known(_prefill_share(here, load), no_speed),
    }
    return Facts({**facts, **_deferred(predictions, machine, load, setup)})


def weights_to_fit(model: Facts, machine: Facts, setup: Setup, memory: Memory) -> int | None:
    """The most bytes that weights may take on the devices beside everything else of `setup`; 0 where none are left."""
    there, weights = room(machine, setup), memory.weights_bytes
    needed = _on_devices(memory.total_bytes, placement(model, machine, setup, weights))
    if needed is None or weights is None or there.available_bytes is None:
        return None
    return max(0, there.available_bytes - there.slack_bytes - (needed - weights))


def bits_each(model: Facts, size: int | None) -> float | None:
    """Bits of each weight of a model whose weights take `size` bytes."""
    parameters = model.count("model.parameters")
    return 8 * size / parameters if size is not None and parameters else None


def _leanest_full_training(machine: Facts, setup: Setup) -> dict[str, Value]:
    """The least memory in which all weights can be trained; 8-bit states need their package."""
    paged = machine.is_true("bitsandbytes.installed")
    return {**CHECKPOINTED, "optimizer": "paged_adamw_8bit" if paged else setup.optimizer or "adamw"}


def _deferred(predictions: Predictions, machine: Facts, load: Workload, setup: Setup) -> dict[str, Fact | Deferred]:
    """The facts that need the estimate of other setups or sizes."""

    def fits(change: dict[str, Value], alone: bool = False) -> Deferred:
        there = replace(setup, device_map=None, max_memory=None) if alone else setup.changed(change)
        return Deferred(lambda: _known(predictions.estimate(there).memory.fits, "the memory estimate is incomplete"))

    def calls() -> Fact:
        found = predictions.break_even_calls(setup)
        return _known(math.ceil(found[1]) if found else None, "nothing is compiled, or nothing is known to be gained")

    def sharded(ask: Callable[[Facts, Memory], Value | None]) -> Deferred:
        there = setup.changed(SHARDED)
        return Deferred(
            lambda: _known(ask(machine, predictions.estimate(there).memory), "no size or no number of GPUs")
        )

    return {
        **batch_facts.batches(predictions.largest_batch, load, setup),
        **batch_facts.passes(predictions.largest_batch, load, setup, setup.changed(WIDE)),
        **batch_facts.in_flight(predictions.largest_batch, predictions.estimate, load, setup),
        "estimate.one_device_fits": fits({}, alone=True),
        "estimate.one_prompt_fits": fits({"batch_size": 1}),
        "estimate.plain_cache_fits": fits({"cache_implementation": "dynamic", "compile": "none"}),
        "estimate.full_training_fits": fits(_leanest_full_training(machine, setup)),
        "estimate.eight_bit_states_fit": fits({**CHECKPOINTED, "optimizer": "adamw_8bit"}),
        "estimate.float32_training_fits": fits(FLOAT32_TRAINING),
        "estimate.fp16_adapters_fit": fits({"adapters": "lora", "dtype": "float16", "mixed_precision": "fp16"}),
        "estimate.sharded_float32_bytes": sharded(spread.shard),
        "estimate.sharded_training_fits": sharded(spread.shard_fits),
        "estimate.adapters_fit": fits({"adapters": "lora", **SMALL_STEPS}),
        "estimate.small_steps_fit": fits(SMALL_STEPS),
        "estimate.compile_break_even_calls": Deferred(calls),
        "estimate.largest_context": Deferred(lambda: _known(predictions.largest_context(setup), "no size is known")),
        "estimate.speculation_break_even": Deferred(
            lambda: _known(predictions.break_even_acceptance(setup), "no speed is known for this device")
        ),
    }


def _on_devices(total: int | None, where: Placement | None) -> int | None:
    """What a setup takes with all of its weights on devices; a total counts all where RAM does not hold the rest."""
    if total is None or where is None:
        return None
    return total if where.on_disk else total - where.visiting + where.away


def _prefill_share(estimate: Estimate, load: Workload) -> float | None:
    """What the request's time leaves beside decoding; all tokens but the first of each answer are decoded."""
    decode, total = estimate.speed.decode_tokens_per_second, estimate.speed.total_tokens_per_second
    if not decode or not total:
        return None
    return max(0.0, 1 - (total / decode) * (load.new_tokens - 1) / load.new_tokens)


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None


def _at_most(size: int | None, limit: int | None) -> bool | None:
    return size <= limit if size is not None and limit is not None else None


def _known(value: Value | None, reason: str) -> Fact:
    return Unknown(reason) if value is None else Known(value, "estimate")
