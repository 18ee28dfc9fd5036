"""Weights that do not stay on the device: where they wait, and how long every forward pass waits for them.

One placement for every figure: what the devices hold, what crosses the bus and how long that takes.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Placement:
    """Bytes of the weights that stay on the devices, that wait in RAM and that find no room there either; and the most
    of those that wait that is on a device at a time."""

    staying: int
    in_ram: int
    on_disk: int
    visiting: int

    @property
    def away(self) -> int:
        """Bytes that are fetched for every forward pass."""
        return self.in_ram + self.on_disk


def placement(model: Facts, machine: Facts, setup: Setup, weights: int | None) -> Placement | None:
    """Where `weights` bytes go; None where sizes are unknown.

    By where accelerate would put each part, where that is known: a device that looks large enough may leave no room for
    the head. Else by what exceeds the devices' limits, of which accelerate keeps a part free for what comes back.
    """
    there = room(machine, setup)
    if weights is None:
        return None
    if not there.spread:
        return Placement(weights, 0, 0, 0)
    if there.weights_limit_bytes is None or there.spill_limit_bytes is None:
        return None
    if (shares := split(model, machine, setup)) is None:
        away = max(0, weights - there.weights_limit_bytes)
        in_ram = min(away, there.spill_limit_bytes)
        return Placement(weights - away, in_ram, away - in_ram, 0)
    in_ram, on_disk = (sum(one.weights_bytes for one in shares if one.device == place) for place in (RAM, DISK))
    if there.spill_limit_bytes == 0:
        in_ram, on_disk = 0, in_ram + on_disk
    # Matrix by matrix (accelerate.hooks, AlignDevicesHook), or the experts of a layer in one: at most the largest part.
    visiting = max((one.largest_bytes for one in shares if one.device in (RAM, DISK)), default=0)
    return Placement(max(0, weights - in_ram - on_disk), in_ram, on_disk, visiting)


def fetch_seconds(model: Facts, machine: Facts, setup: Setup, memory: Memory) -> float | None:
    """Seconds that one forward pass waits for weights; None where sizes are unknown."""
    if not room(machine, setup).spread:
        return 0.0
    found = placement(model, machine, setup, memory.weights_bytes)
    if found is None:
        return None
    return found.in_ram / FROM_RAM_BYTES_PER_SECOND + found.on_disk / FROM_DISK_BYTES_PER_SECOND
