"""The memory of an estimate by dry run: which setups it covers, and its figures in place of the formula's.

What it does not cover, and what fails, keeps the formula's figures, with the reason.

The band is narrower than the formula's on a CPU (band.py). Keys and values are right to the byte, and what torch's
allocator gave out on a CPU lay within 3 % of the dry run (23 types of small models, torch 2.13, transformers 5.22),
within 7 % where a prompt is read in chunks, for which torch's kernel takes room of its own. But the total is a
process's: beside it malloc keeps holes in its heap, which the band allows for. On a GPU nobody compared it yet.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from packaging.version import Version

from advisor.conflicts import BITSANDBYTES
from advisor.estimate.attention import as_it_runs
from advisor.estimate.cache import request
from advisor.estimate.dryrun.ask import Case, DryRun, Outcome
from advisor.estimate.offload import placement
from advisor.estimate.room import device, room
from advisor.estimate.weights import BYTES, dtype
from advisor.facts import Facts, Unknown
from advisor.plan import Estimate, Memory
from advisor.setup import Setup
from advisor.workload import Workload

CHECKED_SINCE = Version("5.0")
"""What generate adds around the model is written down here as transformers 5 does it; checked with 5.22."""
DEVICES = ("cpu", "cuda")
PLAIN = {
    "quantization": (None, "none", *BITSANDBYTES),
    "attn_implementation": ("sdpa", "eager"),
    "cache_implementation": (None, "dynamic", "static", "offloaded", "offloaded_static", "quantized"),
    "batching": (None, "loop", "padded", "sorted"),
    "compile": (None, "none", "generate"),
    "speculation": (None, "none"),
    "use_kernels": (None, False),
    "experts_implementation": (None, "grouped_mm", "batched_mm"),
}
"""Values of knobs with which the dry run does what the setup does. With `compile=generate` the prompt is not compiled,
and of the steps after it the eager ones are taken, which hold more; what CUDA graphs keep beside is not counted.
Experts one by one (`eager`) are chosen by values, which fake tensors do not have."""
PACKAGES = {**dict.fromkeys(BITSANDBYTES, "bitsandbytes")}
"""What quantizes: its own functions lay the weights out. Weights and scales are those of a loaded model to the byte,
and the peak on a CPU lies within 3 % (four types of small models, bitsandbytes 0.50). The first pass on a CPU with
AVX-512 and bf16 packs 4-bit weights anew; what that takes counts too, on a small model a tenth more than the allocator
gave out. On a GPU the kernels were read, not run: where a card decides by the shape whether 4-bit weights are written
out, they are taken to be. The columns that int8 leaves in 16 bits are known by values alone, and not counted. torchao
and quanto make tensors of classes of their own in place of weights; nobody has compared these yet.
"""
STORED = {"bitsandbytes": "bitsandbytes"}
"""Checkpoints that are quantized already and can be laid out, with what does so."""
OF_A_PACKAGE, OF_A_GPU = ", which a package of its own lays out", ", whose kernels are those of a GPU"
UNSTORED = {
    **dict.fromkeys(("gptq", "awq"), OF_A_PACKAGE),
    **dict.fromkeys(("fp8", "mxfp4"), OF_A_GPU),
    "compressed-tensors": ", which the first pass unpacks",
}
"""Why others cannot: nobody compared what their packages would put in place of the layers."""
DISTRIBUTIONS = {"bitsandbytes": "bitsandbytes", "quanto": "optimum-quanto"}
"""Names under which packages are installed, by that of their facts."""
OFFLOADED = ("offloaded", "offloaded_static")
"""Caches of which the layer in use and the next one are on the GPU. No GPU was there to compare with: the library's own
code moves the layers, but what its second stream keeps waiting is not seen."""

QUANTO = "quanto"
"""What quantizes a cache where nobody says."""

Asker = Callable[[tuple[Case, ...]], tuple[Outcome, ...]]


def closer(
    model: Facts, machine: Facts, workload: Workload, estimates: Mapping[Setup, Estimate], ask: Asker
) -> dict[Setup, Estimate]:
    """The estimates with the memory of a dry run where there is one, else with the reason in `basis_note`."""
    found: dict[Setup, Outcome] = {}
    cases = {setup: case(model, machine, workload, setup, estimate) for setup, estimate in estimates.items()}
    wanted = tuple(dict.fromkeys(one for one in cases.values() if isinstance(one, Case)))
    answers = dict(zip(wanted, ask(wanted), strict=True)) if wanted else {}
    for setup, one in cases.items():
        found[setup] = answers[one] if isinstance(one, Case) else one
    return {setup: _joined(machine, setup, estimate, found[setup]) for setup, estimate in estimates.items()}


def case(model: Facts, machine: Facts, workload: Workload, setup: Setup, estimate: Estimate) -> Case | Unknown:
    """What a dry run is asked for this setup, or why it would not tell."""
    kind = dtype(model, machine, setup)
    if (why := _not_plain(model, machine, workload, setup)) is not None:
        return Unknown(why)
    if kind not in BYTES or setup.attn_implementation is None:
        return Unknown("the type or the attention is not known")
    stored = STORED.get(model.text("model.checkpoint_quantization") or "none")
    packages = _packages(machine, setup, stored)
    if isinstance(packages, Unknown):
        return packages
    there = room(machine, setup)
    where = placement(model, machine, setup, estimate.memory.weights_bytes)
    if there.devices > 1 or (there.spread and (where is None or where.away)):
        return Unknown("the weights are on more than one device")
    call = request(workload, setup)
    return Case(
        dtype=kind,
        attn_implementation=setup.attn_implementation,
        cache="none" if setup.use_cache is False else setup.cache_implementation or "dynamic",
        rows=call.rows,
        prompt_tokens=call.prompt_tokens,
        new_tokens=call.new_tokens,
        padded=workload.mixed_lengths and call.rows > 1,
        device=device(machine, setup),
        experts=setup.experts_implementation if model.count("model.experts") else None,
        quantization="checkpoint" if stored else setup.quantization if setup.quantization in PACKAGES else None,
        packages=packages,
        cache_backend=setup.cache_backend or QUANTO if _quantizes_cache(setup) else None,
        cache_bits=setup.cache_bits if _quantizes_cache(setup) else None,
        chunk_tokens=None if setup.use_cache is False else setup.prefill_chunk_size,
    )


def _quantizes_cache(setup: Setup) -> bool:
    return setup.use_cache is not False and setup.cache_implementation == "quantized"


def _packages(machine: Facts, setup: Setup, stored: str | None) -> tuple[str, ...] | Unknown:
    """Name and version of what quantizes weights and cache: the figures are theirs."""
    wanted = [stored or PACKAGES.get(setup.quantization or "none")]
    if _quantizes_cache(setup) and setup.cache_backend in (None, QUANTO):
        wanted.append(QUANTO)
    found = []
    for name in wanted:
        if name is not None:
            version = machine.text(f"{name}.version")
            if version is None:
                return Unknown(f"the version of {name} is not known")
            found.append(f"{DISTRIBUTIONS[name]} {version}")
    return tuple(found)


def _not_plain(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> str | None:
    """Why the model's code on fake tensors would not do what this setup does; None where it would."""
    version = machine.text("transformers.version")
    if workload.task != "generate":
        return f"the task {workload.task}"
    if version is None or Version(version) < CHECKED_SINCE:
        return f"transformers before {CHECKED_SINCE}"
    stored = model.text("model.checkpoint_quantization")
    if stored not in ("none", *STORED):
        return f"a checkpoint stored as {stored or 'nobody knows what'}{UNSTORED.get(stored or '', '')}"
    if stored != "none" and setup.quantization not in (None, "none"):
        return "weights that are quantized twice"
    if model.is_true("model.needs_remote_code"):
        return "code of the model's own"
    if device(machine, setup) not in DEVICES:
        return f"the device {device(machine, setup)}"
    if setup.use_cache is not False and setup.cache_implementation in OFFLOADED and device(machine, setup) != "cuda":
        return "a cache is moved to RAM from a GPU alone"
    if _quantizes_cache(setup) and setup.cache_backend == "hqq":
        return "hqq decides by values how it quantizes"
    for name, values in PLAIN.items():
        value = getattr(setup, name)
        if value not in values:
            return f"{name}={str(value).lower() if isinstance(value, bool) else value}"
    return "SDPA's plain path" if as_it_runs(model, machine, workload, setup) is not setup else None


def _joined(machine: Facts, setup: Setup, estimate: Estimate, found: Outcome) -> Estimate:
    there = room(machine, setup)
    if isinstance(found, DryRun) and _is_another_path(found, machine, setup):
        found = Unknown("SDPA takes its plain path on a CPU, which another device need not do")
    if isinstance(found, DryRun) and there.overhead_bytes is None:
        found = Unknown("the free memory is not known")
    if isinstance(found, Unknown):
        return replace(estimate, basis_note=f"no dry run: {found.reason}")
    memory = _memory(estimate.memory, found, there.overhead_bytes or 0, there.slack_bytes)
    return replace(estimate, memory=memory, basis="dry run")


def _is_another_path(found: DryRun, machine: Facts, setup: Setup) -> bool:
    """Whether the fake CPU tensors took SDPA's plain path: kernels of a GPU take shapes that the CPU's do not."""
    return setup.attn_implementation == "sdpa" and not found.prompt.attention and device(machine, setup) != "cpu"


def _memory(formula: Memory, found: DryRun, overhead: int, slack: int) -> Memory:
    """The dry run's figures, with the formula's for what the process takes and what is free."""
    last = found.last_step or found.prompt
    total = found.weights_held_bytes + max(one.peak_bytes for one in found.passes) + overhead
    free = formula.available_bytes
    return replace(
        formula,
        weights_bytes=found.weights_held_bytes,
        kv_cache_bytes=last.cache_bytes,
        kv_cache_peak_bytes=max(one.cache_bytes for one in found.passes),
        activation_peak_bytes=max(one.beside_bytes for one in found.passes),
        total_bytes=total,
        fits=None if free is None else total + slack <= free,
    )
