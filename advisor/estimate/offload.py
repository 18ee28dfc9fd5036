"""Weights that do not stay on the device: how many bytes every forward pass fetches, and how long that takes."""

import re

from advisor.facts import Facts
from advisor.plan import Memory
from advisor.setup import Setup

FROM_RAM_BYTES_PER_SECOND = 6e9
"""Pageable memory over PCIe 3, as accelerate moves it (published runs: NeoX-20B, OPT-30B)."""
FROM_DISK_BYTES_PER_SECOND = 2e9
"""A solid-state disk, from the same runs."""
PLACED_SHARE = 0.9
"""accelerate gives weights at most this share of the free memory, the rest is for the cache and activations."""
SPREADING = ("auto", "balanced", "sequential")
UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def fetch_seconds(machine: Facts, setup: Setup, memory: Memory) -> float | None:
    """Seconds that one forward pass waits for weights; None where sizes are unknown."""
    if setup.device_map not in SPREADING:
        return 0.0
    weights, free = memory.weights_bytes, _free_bytes(machine, setup)
    ram = _limit(setup, "cpu") or _share(machine.count("host.ram_available_bytes"))
    if weights is None or free is None or ram is None:
        return None
    if setup.device == "cpu":
        return max(0.0, weights - ram) / FROM_DISK_BYTES_PER_SECOND
    away = max(0.0, weights - free)
    in_ram = min(away, ram)
    return in_ram / FROM_RAM_BYTES_PER_SECOND + (away - in_ram) / FROM_DISK_BYTES_PER_SECOND


def devices_used(machine: Facts, setup: Setup) -> int:
    """Accelerators that hold layers of the model."""
    if setup.device == "cpu" or setup.device_map not in SPREADING:
        return 1
    return max(1, machine.count("gpu.count") or 1)


def _free_bytes(machine: Facts, setup: Setup) -> float | None:
    """Bytes that weights may take on all accelerators together."""
    total = 0.0
    for index in range(devices_used(machine, setup)):
        free = machine.count(f"gpu.{index}.memory_free_bytes")
        if free is None:
            free = machine.count("gpu.memory_free_bytes")
        part = _limit(setup, str(index))
        part = _share(free) if part is None else part
        if part is None and setup.device != "cpu":
            return None
        total += part or 0.0
    return total


def _share(size: int | None) -> float | None:
    return None if size is None else size * PLACED_SHARE


def _limit(setup: Setup, place: str) -> float | None:
    """The bytes that `max_memory` grants to one device, or None where it names none."""
    for entry in setup.max_memory or ():
        found = re.fullmatch(r"(\w+)=([\d.]+)([KMG]?i?B)", entry)
        if found and found[1] == place:
            return float(found[2]) * UNITS[found[3]]
    return None
