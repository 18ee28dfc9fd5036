"""How far measurements stray from predictions, as factors (low, high) on the predicted total of memory or rate."""

from dataclasses import replace

from packaging.version import Version

from advisor.estimate.constants import constants
from advisor.estimate.quantized import scheme_of
from advisor.estimate.room import device
from advisor.estimate.weights import BYTES, dtype
from advisor.facts import Facts
from advisor.plan import Estimate, Memory
from advisor.setup import Setup

MEMORY_BAND = (0.90, 1.12)
"""Factors on the total on a GPU. Of 192 published runs of transformers 4.35 to 4.46 on one GPU (bench/published.py) the
median error is 0.3 %, 95 of 100 lie within 4 %, the worst is 13 % off (kernels that take more room than the checkpoint
says). No published run of transformers 5 is among them."""
COMPARED_SINCE = Version("4.35")
"""Nobody compared the formula with older releases."""
CPU_LOW = 0.97
"""The same for a process on a CPU (torch 2.13, transformers 5.22, Linux with glibc): of the runs that
bench/process_memory.py recorded none peaked below what is predicted; earlier ones, not kept, 2 % below."""
HEAP_KEPT = 1.7
"""Why a process peaks above: once glibc's malloc has freed a block of less than 32 MiB, it takes such blocks from its
heap and keeps the holes that growing caches and activations leave there (M_MMAP_THRESHOLD, mallopt(3)). With
MALLOC_MMAP_THRESHOLD_=131072 two processes of a model of 135 million parameters peaked 1 and 2 % above the sum, without
it 11 to 24 %. One and the same program kept between 155 and 262 MB on different runs, so that nobody can predict it
closer. What is kept grows with what moves, cache and activations, and not with the weights: the processes of
bench/process_memory.py took 0.22 to 1.65 times as much beside it, more with a second call of generate."""
CPU_REST = 0.01
"""What lies beside the heap: code that is read in when it first runs, a few MB."""
QUANTIZED_ON_CPU, COMPILED_ON_CPU = (0.95, 1.9), (0.95, 1.45)
"""Processes on a CPU with quantized weights or compiled code, of which too few were compared: with a model of 135
million parameters int8 weights (bitsandbytes) peaked 76 and 88 % above what is predicted, some 450 MB, and code that
was compiled for a static cache 41 %, 260 MB (bench/results/gpu-bench-on-a-cpu.json). While a file is loaded in another
type its pages are mapped beside the weights; the system can drop them, so they do not count."""
AGAINST_DRY_RUN = (0.986, 1.008)
"""What the model's own code took over what the formula says, without a process's overhead: the lowest and the highest
of the shipped shapes, eager and SDPA, one prompt and eight, 512 and 4096 tokens (bench/formula_held.py)."""
UNHEARD_OF = (0.71, 1.26)
"""The same where the formula is not told a model's type, so that it counts as for most: 98 of 100 cases lie within it.
So it is with a type that nobody compared, and with one whose code does not run without memory."""
COMPARED_TYPES = frozenset(
    [
        "bloom",
        "deepseek_v2",
        "deepseek_v3",
        "falcon",
        "gemma2",
        "gemma3_text",
        "glm4",
        "gpt2",
        "gpt_neox",
        "gpt_oss",
        "llama",
        "mistral",
        "mixtral",
        "olmo2",
        "olmoe",
        "opt",
        "phi",
        "phi3",
        "qwen2",
        "qwen3",
        "qwen3_moe",
        "smollm3",
    ]
)
"""Types of the shipped shapes that were compared."""
DRY_RUN_ON_CPU_LOW = 0.98
"""Measured over the dry run's total: of those of bench/process_memory.py no process peaked below it."""

Band = tuple[float, float]


def memory_band(model: Facts, machine: Facts, setup: Setup, needed: Memory) -> Band | None:
    """The factors on the formula's total; None without a total, or for a transformers that nobody compared."""
    version = machine.text("transformers.version")
    if needed.total_bytes is None or (version is not None and Version(version) < COMPARED_SINCE):
        return None
    plain = _of_a_process(setup, needed, CPU_LOW) if device(machine, setup) == "cpu" else MEMORY_BAND
    kind = model.text("model.type")
    heard_of = kind is None or kind in COMPARED_TYPES or model.value("model.decoder_only") is False
    return plain if heard_of else _joined(plain, UNHEARD_OF)


def _of_a_process(setup: Setup, needed: Memory, low: float) -> Band:
    """The band on a CPU: as wide as what moves is large beside the total, wider where something is made on the way."""
    if setup.quantization not in (None, "none"):
        return QUANTIZED_ON_CPU
    known = needed.total_bytes, needed.weights_bytes, needed.overhead_bytes
    if setup.compile not in (None, "none") or None in known or needed.gradients_bytes is not None:
        return COMPILED_ON_CPU
    total, weights, overhead = (size or 0 for size in known)
    moving = max(0, total - weights - overhead)
    return (low, round(1 + CPU_REST + HEAP_KEPT * moving / total, 3))


def closer(machine: Facts, setup: Setup, estimate: Estimate, failed: bool) -> Estimate:
    """`estimate` with the band that fits what a dry run gave: figures, nothing for this setup, or a failure."""
    band = estimate.memory_band
    if band is None:
        return estimate
    if estimate.basis == "dry run":
        # On a GPU nobody compared it yet.
        on_cpu = device(machine, setup) == "cpu"
        close = _of_a_process(setup, estimate.memory, DRY_RUN_ON_CPU_LOW) if on_cpu else MEMORY_BAND
        return replace(estimate, memory_band=close)
    return replace(estimate, memory_band=_joined(band, UNHEARD_OF if failed else AGAINST_DRY_RUN))


def _joined(one: Band, other: Band) -> Band:
    """Both together, each end as far as both ends reach."""
    return (round(one[0] * other[0], 2), round(one[1] * other[1], 2))


ON_CPU = (0.75, 1.35)
"""Constants measured on the same CPU. All of 32 quiet runs (20M, 150M, 600M models; fp32, bf16, fp16; 1 and 8 prompts)
lie within it, and so do 23 of the 24 of bench/cpu_speed.py, whose decoding was predicted 13 % off in the median and
36 % at most."""
ON_CPU_QUANTIZED = (0.6, 1.7)
"""The factors for bitsandbytes on a CPU were taken from two machines, which differ by as much."""
MEASURED_HOST = (0.8, 1.25)
"""An accelerator whose host was measured, transformers since 4.46: all of 68 published runs lie within it, and 90 % of
73 further ones within 21 %."""
MEASURED_HOST_BEFORE = (0.6, 1.25)
"""The same with older releases: 95 % of 191 published runs are at least 0.64 of what is predicted."""
WELL_KNOWN_SINCE = Version("4.46")
CATALOG = (0.65, 1.55)
"""An accelerator known by name alone: the host's share is a class figure, median error 36 % over 78 published runs.
Of 278 others (bench/published.py) 97 % lie within it."""
COMPARED_CAPABILITY = 7.5
"""The oldest NVIDIA GPU whose published speeds were compared is a T4."""


def speed_band(model: Facts, machine: Facts, setup: Setup) -> tuple[float, float] | None:
    """The band of a predicted rate; None where no rate is predicted, or nobody compared such a device."""
    kind = dtype(model, machine, setup)
    found = constants(machine, setup, kind) if kind in BYTES else None
    if found is None:
        return None
    if device(machine, setup) == "cpu":
        return ON_CPU if scheme_of(model, setup) == "none" else ON_CPU_QUANTIZED
    capability = machine.number("gpu.capability")
    if not found.measured:
        return None if capability is not None and capability < COMPARED_CAPABILITY else CATALOG
    version = machine.text("transformers.version")
    older = version is not None and Version(version) < WELL_KNOWN_SINCE
    return MEASURED_HOST_BEFORE if older else MEASURED_HOST
