"""Whether a setup fits into the memory that is free: as predicted, and as measured. Pure."""

from advisor.plan import Estimate
from advisor.run.figures import Measured, Peak


def outgrew(measured: Measured) -> str | None:
    """Why a setup is too large for this machine although it ran, or None.

    A process may get more than was free: from swap, from other programs' pages, from a GPU driver that spills into
    RAM. Pages mapped from files give way when memory is short, so on the host they do not count.
    """
    held = max(filter(None, map(_held, (measured.load_peak, measured.run_peak))), default=None)
    if held is None or measured.free_bytes is None or held <= measured.free_bytes:
        return None
    needed, free = (size / 2**30 for size in (held, measured.free_bytes))
    return f"took {needed:.2f} GiB, more memory than the {free:.2f} GiB that were free when it started"


def _held(peak: Peak) -> int | None:
    if peak.allocated_bytes is not None:
        return peak.allocated_bytes
    return None if peak.resident_bytes is None else peak.resident_bytes - (peak.file_bytes or 0)


def does_not_fit(estimate: Estimate) -> str | None:
    """Why an estimate forbids running on the host, or None."""
    memory = estimate.memory
    if memory.fits is not False or memory.total_bytes is None or memory.available_bytes is None:
        return None
    needed, free = (size / 2**30 for size in (memory.total_bytes, memory.available_bytes))
    return f"is predicted to need {needed:.1f} GiB of memory, {free:.1f} GiB are free"
