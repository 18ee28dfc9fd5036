"""What one decode step costs on a device: constants measured there, else figures of a device that is known by name.

`constants` gives None where neither is at hand; another device's figures are never used.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from packaging.version import Version

from advisor.estimate import devices, room
from advisor.estimate.weights import BYTES
from advisor.facts import Facts
from advisor.setup import Setup

SHORT = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}

ACCELERATOR_POWER = 4.0
"""On an accelerator the host runs ahead of the device, and the longer of the two counts: (host^4 + device^4)^(1/4).
Chosen on published runs, see bench/published.py."""
CPU_POWER = 1.0
"""On a CPU each operator is waited for, so host and device times add up (seen on random-weight Llama models)."""

# Share of the peak that whole models reach in published runs: bandwidth of large matrices (A100 .78, A6000 .76-.80,
# RTX 4090 .81-.87), arithmetic in prefill (A100 .42-.50 from 1000 tokens; GeForce cards, whose peak with fp32
# accumulation is halved, .63-.70).
BANDWIDTH_SHARE = 0.78
ARITHMETIC_SHARE = 0.45
GEFORCE_ARITHMETIC_SHARE = 0.65
# Times that keys and values are read or written in one step: the growing cache is copied, and up to 4.53 each key head
# was repeated for its query heads (fitted to published A100 runs: 8 passes with transformers 4.35, 7 with 4.46). Since
# 4.54 nothing is repeated: two for the copy and one for reading. The last figure is reasoned, not measured.
NEWEST_PASSES = 3.0
PASSES = ((Version("4.54"), NEWEST_PASSES, False), (Version("4.46"), 7.0, True), (Version("0"), 8.0, True))
# Host seconds of one layer where nobody measured, by kind of machine: published runs give 1.24-1.7 ms (T4 in hosted
# notebooks), 0.34-0.76 (GeForce), 0.60-0.96 (data centres). It is the host's property, hence the wide band.
T4_HOST_SECONDS = 1.4e-3
GEFORCE_HOST_SECONDS = 0.5e-3
OTHER_HOST_SECONDS = 0.77e-3

TENSOR_TYPES_CAPABILITY = 8.0
# First compute capability with bf16 and TF32, and what TF32 reaches of bf16's dense rate on every tensor core since
# (NVIDIA's datasheets of A100, H100, B200, RTX 3090 and RTX 4090).
TF32_OF_BF16 = 0.5

# More threads quicken arithmetic almost in proportion and memory traffic less: 1 against 2 threads on an EPYC 9004.
# Parameters of a matrix on average, and hidden sizes, of what is measured on a CPU (probe/inside_speed_cpu.py): Llama
# layers of 384, 1024 and 2048 values with seven matrices.
NARROW_PARAMETERS, MIDDLE_PARAMETERS, WIDE_PARAMETERS = (11.25 * hidden**2 / 7 for hidden in (384, 1024, 2048))
HEAD_HIDDEN = (512, 1024)
THREAD_POWERS = {"one_row": 0.5, "eight_rows": 0.6, "many_rows": 0.9}


@dataclass(frozen=True)
class Measured:
    """Seconds per parameter of a matrix product with 1, 8 and 256 rows; linear between, in proportion beyond."""

    one_row: float
    eight_rows: float
    many_rows: float

    def seconds(self, rows: float) -> float:
        """Seconds per parameter for `rows` rows."""
        if rows >= 256:
            return self.many_rows * rows / 256
        low, high = ((1, self.one_row), (8, self.eight_rows))
        if rows > 8:
            low, high = high, (256, self.many_rows)
        return low[1] + (high[1] - low[1]) * (max(rows, 1) - low[0]) / (high[0] - low[0])


@dataclass(frozen=True)
class Roofline:
    """Seconds per parameter from bandwidth and arithmetic of the catalog, already lowered to what models reach."""

    byte_seconds: float
    operation_seconds: float | None
    element_bytes: int

    def seconds(self, rows: float) -> float | None:
        """Seconds per parameter for `rows` rows; None where arithmetic may count and its rate is unknown."""
        read = self.element_bytes * self.byte_seconds
        if self.operation_seconds is None:
            return read if rows <= 1 else None
        return float((read**ACCELERATOR_POWER + (2 * rows * self.operation_seconds) ** ACCELERATOR_POWER) ** 0.25)


Matrices = Measured | Roofline


@dataclass(frozen=True)
class Constants:
    """What a decode step is made of on one device for one floating-point type; times in seconds."""

    layer_host_seconds: float
    layer_fixed_seconds: float
    """What a layer takes beside launching, reading and computing: on a CPU, sharing operators out to threads."""
    step_host_seconds: float
    matrices: Matrices
    kv_byte_seconds: float
    kv_repeated: bool
    """Whether `kv_byte_seconds` counts a pair of keys and values for each query head, not each stored one."""
    power: float
    measured: bool
    sizes: tuple[tuple[float, Measured], ...] = ()
    """Products of layers by the mean number of parameters of their matrices, ascending; none where one size alone was
    measured."""
    heads: tuple[tuple[float, Measured], ...] = ()
    """The output projection by the hidden size, ascending; none where it was not measured apart."""

    def products(self, matrix_parameters: float) -> Matrices:
        """Products of layers whose matrices have so many parameters on average.

        Sharing a product out takes as long for a small matrix as for a large one, so that between two sizes the seconds
        per parameter are linear in 1 / parameters; beyond the measured sizes they stay.
        """
        return _between(self.sizes, matrix_parameters) if self.sizes else self.matrices

    def output_projection(self, hidden: float) -> Matrices:
        """The product with the output projection. Each of its rows begins anew: linear in 1 / hidden size."""
        return _between(self.heads, hidden) if self.heads else self.matrices


def _between(known: tuple[tuple[float, Measured], ...], size: float) -> Measured:
    below = max((one for one in known if one[0] <= size), default=known[0], key=_first)
    above = min((one for one in known if one[0] >= size), default=known[-1], key=_first)
    if below[0] == above[0]:
        return below[1]
    share = (1 / below[0] - 1 / size) / (1 / below[0] - 1 / above[0])
    ends = {name: (getattr(below[1], name), getattr(above[1], name)) for name in THREAD_POWERS}
    return Measured(**{name: low + share * (high - low) for name, (low, high) in ends.items()})


def _first(pair: tuple[float, Measured]) -> float:
    return pair[0]


def constants(machine: Facts, setup: Setup, dtype: str) -> Constants | None:
    """The constants of the device of `setup` for weights of type `dtype`, or None where they are not known."""
    if room.device(machine, setup) == "cpu":
        return _of_cpu(machine, setup, dtype)
    return _of_accelerator(machine, setup, dtype)


def _of_cpu(machine: Facts, setup: Setup, dtype: str) -> Constants | None:
    if machine.text("speed.device") != "cpu":
        return None
    found = _measured(machine, dtype, CPU_POWER)
    return None if found is None else _with_threads(found, machine, setup.threads)


def _measured(machine: Facts, dtype: str, power: float) -> Constants | None:
    """The constants that were measured on this machine, or None where one is missing."""
    layer = machine.number("speed.layer_host_seconds")
    gemv = machine.number(f"speed.gemv_{dtype}_bytes_per_second")
    small = machine.number(f"speed.small_gemm_{dtype}_flops_per_second")
    large = machine.number(f"speed.gemm_{dtype}_flops_per_second")
    cache = machine.number(f"speed.kv_{dtype}_bytes_per_second")
    if not (layer and gemv and small and large and cache):
        return None
    # Generation around the layers costs about as much as one layer; seen on CPU, and what published runs agree with.
    step = machine.number("speed.step_host_seconds") or layer
    matrices = Measured(BYTES[dtype] / gemv, 2 * 8 / small, 2 * 256 / large)
    narrow, wide = (_rates(machine, f"{name}_", dtype, matrices) for name in ("narrow", "wide"))
    heads = [_rates(machine, f"{name}head_", dtype, matrices) for name in ("narrow_", "")]
    # Older constants hold what sharing operators out takes in one figure for a layer, newer ones in the products.
    layer_all = machine.number(f"speed.layer_{dtype}_seconds")
    fixed = max(0.0, (layer_all or 0.0) - layer) if narrow is None else 0.0
    found = Constants(layer, fixed, step, matrices, 1 / cache, kv_repeated=True, power=power, measured=True)
    sizes = ((NARROW_PARAMETERS, narrow), (MIDDLE_PARAMETERS, matrices), (WIDE_PARAMETERS, wide))
    return replace(found, sizes=_known(sizes), heads=_known(zip(HEAD_HIDDEN, heads, strict=True)))


def _known(sizes: Iterable[tuple[float, Measured | None]]) -> tuple[tuple[float, Measured], ...]:
    """The measured sizes; none where one of them was not measured."""
    found = [(size, one) for size, one in sizes]
    known = tuple((size, one) for size, one in found if one is not None)
    return known if len(known) == len(found) else ()


def _rates(machine: Facts, prefix: str, dtype: str, middle: Measured) -> Measured | None:
    """Products of one and eight rows with other matrices; of many rows, which hide reading, those of `middle`."""
    gemv = machine.number(f"speed.{prefix}gemv_{dtype}_bytes_per_second")
    small = machine.number(f"speed.{prefix}small_gemm_{dtype}_flops_per_second")
    return Measured(BYTES[dtype] / gemv, 2 * 8 / small, middle.many_rows) if gemv and small else None


def _with_threads(found: Constants, machine: Facts, threads: int | None) -> Constants:
    """Times with another number of threads than was measured with; the host's share does not change."""
    base, cores = machine.count("speed.threads"), machine.count("host.cores_usable")
    if threads is None or base is None or threads == base or not isinstance(found.matrices, Measured):
        return found
    useful = min(threads, cores) if cores else threads
    # Threads beyond the cores wait for each other at the end of every operator.
    crowd = threads / useful
    factor = {name: (base / useful) ** power * crowd for name, power in THREAD_POWERS.items()}

    def slowed(one: Measured) -> Measured:
        return Measured(**{name: getattr(one, name) * times for name, times in factor.items()})

    sizes, heads = (tuple((size, slowed(one)) for size, one in each) for each in (found.sizes, found.heads))
    found = replace(found, matrices=slowed(found.matrices), sizes=sizes, heads=heads)
    return replace(found, kv_byte_seconds=found.kv_byte_seconds * factor["eight_rows"])


def _of_accelerator(machine: Facts, setup: Setup, dtype: str) -> Constants | None:
    passes, repeated = _passes(machine, setup)
    if machine.text("speed.device") in (None, "cpu"):
        return _of_catalog(machine, setup, dtype)
    measured = _measured(machine, dtype, ACCELERATOR_POWER)
    if measured is None:
        return _of_catalog(machine, setup, dtype)
    if dtype == "float32" and setup.matmul_precision == "high":
        measured = _with_tf32(measured, machine)
    # What was measured is copying a cache and reading it once, with a pair of keys and values for each query head.
    return replace(measured, kv_byte_seconds=measured.kv_byte_seconds * passes / NEWEST_PASSES, kv_repeated=repeated)


def _with_tf32(found: Constants, machine: Facts) -> Constants:
    """float32 products at TF32's rate, reckoned from the measured one of bf16; as measured where that is not known."""
    rate = machine.number("speed.gemm_bfloat16_flops_per_second")
    capability = machine.number("gpu.capability")
    if (
        not rate
        or capability is None
        or capability < TENSOR_TYPES_CAPABILITY
        or not isinstance(found.matrices, Measured)
    ):
        return found
    many = min(found.matrices.many_rows, 2 * 256 / (TF32_OF_BF16 * rate))
    return replace(found, matrices=replace(found.matrices, many_rows=many))


def _of_catalog(machine: Facts, setup: Setup, dtype: str) -> Constants | None:
    rates = devices.rates(machine)
    bandwidth = rates.number(devices.BANDWIDTH)
    name = machine.text("gpu.name")
    if bandwidth is None or name is None or not _is_nvidia(machine):
        return None
    geforce = "geforce" in name.casefold()
    share = GEFORCE_ARITHMETIC_SHARE if geforce else ARITHMETIC_SHARE
    flops = _flops(machine, rates, dtype, setup)
    passes, repeated = _passes(machine, setup)
    host = machine.number("speed.layer_host_seconds") if machine.text("speed.device") not in (None, "cpu") else None
    layer = host or (GEFORCE_HOST_SECONDS if geforce else OTHER_HOST_SECONDS)
    if host is None and devices.normalized(name) in ("t4", "tesla t4"):
        layer = T4_HOST_SECONDS
    return Constants(
        layer_host_seconds=layer,
        layer_fixed_seconds=0.0,
        step_host_seconds=layer,
        matrices=Roofline(1 / (BANDWIDTH_SHARE * bandwidth), 1 / (share * flops) if flops else None, BYTES[dtype]),
        kv_byte_seconds=passes / bandwidth,
        kv_repeated=repeated,
        power=ACCELERATOR_POWER,
        measured=host is not None,
    )


def _is_nvidia(machine: Facts) -> bool:
    """The class figures of the host come from NVIDIA machines; of others nothing is published."""
    vendor = machine.text("gpu.vendor")
    return vendor == "nvidia" if vendor is not None else machine.number("gpu.capability") is not None


def _flops(machine: Facts, rates: Facts, dtype: str, setup: Setup) -> float | None:
    """The dense rate for a type. Before compute capability 8.0 there is no TF32, and a 16-bit type without units of its
    own is computed as fp32: torch asks cuBLAS for sums in float32 (CUDABlas.cpp)."""
    found = rates.number(devices.FLOPS[SHORT[dtype]])
    capability = machine.number("gpu.capability")
    if found is None and dtype != "float32" and capability is not None and capability < TENSOR_TYPES_CAPABILITY:
        return rates.number(devices.FLOPS["fp32"])
    if dtype == "float32" and setup.matmul_precision == "high":
        half = rates.number(devices.FLOPS["bf16"])
        if half is not None and capability is not None and capability >= TENSOR_TYPES_CAPABILITY:
            return half * TF32_OF_BF16
    return found


def _passes(machine: Facts, setup: Setup) -> tuple[float, bool]:
    """Times that a step goes through keys and values, and whether those are repeated. A static cache is not copied."""
    if setup.cache_implementation == "static":
        return 1.0, False
    version = machine.text("transformers.version")
    installed = Version(version) if version else PASSES[0][0]
    return next((passes, repeated) for since, passes, repeated in PASSES if installed >= since)
