"""Weights that do not stay on the device: how long every forward pass waits for them."""

from advisor.estimate.room import room
from advisor.estimate.split import DISK, RAM, split
from advisor.facts import Facts
from advisor.plan import Memory
from advisor.setup import Setup

FROM_RAM_BYTES_PER_SECOND = 6e9
"""Pageable memory over PCIe 3, as accelerate moves it (published runs: NeoX-20B, OPT-30B)."""
PINNED_BYTES_PER_SECOND = 12.8e9
"""Pinned memory over PCIe, each way (published for offloaded weights on two A100; not measured for an offloaded cache,
whose layers torch pins while it moves them)."""
FROM_DISK_BYTES_PER_SECOND = 2e9
"""A solid-state disk, from the same runs."""


def fetch_seconds(model: Facts, machine: Facts, setup: Setup, memory: Memory) -> float | None:
    """Seconds that one forward pass waits for weights; None where sizes are unknown.

    By where accelerate would put each part, where that is known: a device that looks large enough may leave no room for
    the head. Else by what exceeds the devices' limits.
    """
    there = room(machine, setup)
    if not there.spread:
        return 0.0
    if memory.weights_bytes is None or there.weights_limit_bytes is None or there.spill_limit_bytes is None:
        return None
    if (shares := split(model, machine, setup)) is not None:
        in_ram, on_disk = (sum(one.weights_bytes for one in shares if one.device == place) for place in (RAM, DISK))
    else:
        away = max(0, memory.weights_bytes - there.weights_limit_bytes)
        in_ram = min(away, there.spill_limit_bytes)
        on_disk = away - in_ram
    return in_ram / FROM_RAM_BYTES_PER_SECOND + on_disk / FROM_DISK_BYTES_PER_SECOND
