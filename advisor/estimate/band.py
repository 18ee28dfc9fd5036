"""How far measured speeds stray from predicted ones, as factors (low, high) on a predicted rate."""

from packaging.version import Version

from advisor.estimate.constants import constants
from advisor.estimate.quantized import scheme_of
from advisor.estimate.room import device
from advisor.estimate.weights import BYTES, dtype
from advisor.facts import Facts
from advisor.setup import Setup

ON_CPU = (0.75, 1.35)
"""Constants measured on the same CPU. All of 32 quiet runs (20M, 150M, 600M models; fp32, bf16, fp16; 1 and 8 prompts)
lie within it, and so do the 12 quiet setups of bench/cpu_speed.py: decoding strayed by 11 % (median) and 31 % at most,
total tokens a second by 12 % and 27 % (measured over predicted)."""
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


def speed_band(model: Facts, machine: Facts, setup: Setup) -> tuple[float, float] | None:
    """The band of a predicted rate; None where no rate is predicted."""
    kind = dtype(model, machine, setup)
    found = constants(machine, setup, kind) if kind in BYTES else None
    if found is None:
        return None
    if device(machine, setup) == "cpu":
        return ON_CPU if scheme_of(model, setup) == "none" else ON_CPU_QUANTIZED
    if not found.measured:
        return CATALOG
    version = machine.text("transformers.version")
    older = version is not None and Version(version) < WELL_KNOWN_SINCE
    return MEASURED_HOST_BEFORE if older else MEASURED_HOST
