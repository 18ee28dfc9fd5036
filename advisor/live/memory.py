"""Memory of this process's devices and of its host, now.

torch is asked only where the process has imported it and started the device: nothing is imported and no device is
started, which would take memory where there is none.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DeviceNow:
    """One device, in bytes; None where it does not tell. `free` and `total` are the driver's, the others torch's."""

    name: str
    index: int
    allocated: int | None
    peak: int | None
    reserved: int | None
    free: int | None
    total: int | None


@dataclass(frozen=True)
class HostNow:
    """Host memory in bytes: what this process holds, what can still be had, and a limit on its addresses if one is
    set (None: none is, or the system does not tell)."""

    resident: int | None
    available: int | None
    limit: int | None = None


def devices() -> tuple[DeviceNow, ...]:
    """The devices on which torch holds memory in this process."""
    torch = sys.modules.get("torch")
    if torch is None:
        return ()
    return (*_counted(torch, "cuda"), *_counted(torch, "xpu"), *_metal(torch))


def _counted(torch: Any, kind: str) -> Iterator[DeviceNow]:
    part: Any = getattr(torch, kind, None)
    if not _value(lambda: part.is_initialized()):
        return
    for index in range(_value(lambda: part.device_count()) or 0):
        stats = _value(lambda index=index: part.memory_stats(index)) or {}
        reserved = stats.get("reserved_bytes.all.current")
        # Asking the driver about a device that was not used yet would start it there.
        if not reserved:
            continue
        free, total = _value(lambda index=index: part.mem_get_info(index)) or (None, None)
        allocated, peak = (stats.get(f"allocated_bytes.all.{when}") for when in ("current", "peak"))
        yield DeviceNow(kind, index, allocated, peak, reserved, free, total)


def _metal(torch: Any) -> Iterator[DeviceNow]:
    """Apple's devices share the host's memory; what counts as their total is what Metal recommends as most."""
    mps: Any = getattr(torch, "mps", None)
    allocated = _value(lambda: mps.current_allocated_memory()) if sys.platform == "darwin" else None
    if allocated:
        held = _value(lambda: mps.driver_allocated_memory())
        total = _value(lambda: mps.recommended_max_memory())
        free = max(0, total - held) if held is not None and total is not None else None
        yield DeviceNow("mps", 0, allocated, None, held, free, total)


def host() -> HostNow:
    """This process and its host, as the system tells."""
    import psutil

    resident = _value(lambda: int(psutil.Process().memory_info().rss))
    return HostNow(resident, _value(lambda: int(psutil.virtual_memory().available)), _value(_limit))


def _limit() -> int | None:
    """The limit on addresses (`ulimit -v`)."""
    import resource

    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _value(ask: Callable[..., Any]) -> Any:
    """What a question gives; None where it fails, as drivers do after an error."""
    try:
        return ask()
    except Exception:
        return None
