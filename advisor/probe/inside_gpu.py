"""Runs as a child of perf-advisor's own interpreter: what NVIDIA's driver says, through NVML.

In a process of its own, because a hung driver hangs whoever asks it. Two paths on the command line: the request
(empty) and the answer. Nothing is judged here.

Answer: {"driver", "cuda", "devices": [...]}, or {"error": {"code", "text"}} where NVML cannot be used at all. Sizes in
bytes, clocks in MHz. A reading that fails is null, and `missing` says why.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def survey() -> dict[str, Any]:
    """Everything that NVML tells about this machine."""
    try:
        import pynvml
    except ImportError as error:
        return {"error": {"code": None, "text": f"nvidia-ml-py cannot be imported: {error}"}}
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return {"error": {"code": error.value, "text": str(error)}}
    driver = Readings(pynvml)
    return {
        "driver": driver.take("driver", lambda: as_text(pynvml.nvmlSystemGetDriverVersion())),
        "cuda": driver.take("cuda", pynvml.nvmlSystemGetCudaDriverVersion_v2),
        "devices": [device(pynvml, index) for index in range(count)],
    }


class Readings:
    """Takes readings one by one; a failing one is None and noted."""

    def __init__(self, nvml: Any) -> None:
        self.nvml = nvml
        self.missing: dict[str, str] = {}

    def take(self, name: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except self.nvml.NVMLError as error:
            self.missing[name] = str(error)
            return None


def device(nvml: Any, index: int) -> dict[str, Any]:
    """One device by NVML's index (PCI order)."""
    readings = Readings(nvml)
    handle = readings.take("handle", lambda: nvml.nvmlDeviceGetHandleByIndex(index))
    if handle is None:
        return {"index": index, "missing": readings.missing}
    mig = readings.take("mig", lambda: nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE)
    return {
        "index": index,
        **identity(readings, handle),
        "pci": readings.take("pci", lambda: as_text(nvml.nvmlDeviceGetPciInfo(handle).busId)),
        "capability": readings.take("capability", lambda: list(nvml.nvmlDeviceGetCudaComputeCapability(handle))),
        "bus_width_bits": readings.take("bus_width_bits", lambda: nvml.nvmlDeviceGetMemoryBusWidth(handle)),
        "memory_clock_mhz": readings.take(
            "memory_clock_mhz", lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM)
        ),
        "utilization_percent": readings.take(
            "utilization_percent", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu
        ),
        "mig": mig,
        "instances": instances(nvml, handle) if mig else [],
        "missing": readings.missing,
    }


def identity(readings: Readings, handle: Any) -> dict[str, Any]:
    """Name, UUID and memory: what a whole device and a MIG instance both have."""
    nvml = readings.nvml
    return {
        "uuid": readings.take("uuid", lambda: as_text(nvml.nvmlDeviceGetUUID(handle))),
        "name": readings.take("name", lambda: as_text(nvml.nvmlDeviceGetName(handle))),
        "memory": readings.take("memory", lambda: memory(nvml, handle)),
    }


def memory(nvml: Any, handle: Any) -> dict[str, int]:
    """Total, free and reserved. Version 2 tells the driver's own share apart, which no program can have."""
    try:
        found = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
        return {"total": found.total, "free": found.free, "reserved": found.reserved}
    except nvml.NVMLError:
        found = nvml.nvmlDeviceGetMemoryInfo(handle)
        return {"total": found.total, "free": found.free, "reserved": 0}


def instances(nvml: Any, handle: Any) -> list[dict[str, Any]]:
    """The MIG instances of a partitioned device."""
    most = Readings(nvml).take("count", lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0
    return [found for number in range(most) if (found := instance(nvml, handle, number)) is not None]


def instance(nvml: Any, handle: Any, number: int) -> dict[str, Any] | None:
    """One instance; None where this place is not taken."""
    readings = Readings(nvml)
    part = readings.take("handle", lambda: nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
    return {**identity(readings, part), "missing": readings.missing} if part is not None else None


def as_text(value: Any) -> str:
    """Old versions of the library hand out bytes."""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def main(answer: str) -> None:
    found = json.dumps(survey())
    part = Path(answer + ".part")
    part.write_text(found, encoding="utf-8")
    part.replace(answer)


if __name__ == "__main__":
    # The modules beside this file must not hide a library of the same name.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    main(sys.argv[2])
