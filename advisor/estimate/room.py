"""How much memory there is for a setup, and what every process takes of it before the first weight."""

import re
from dataclasses import dataclass

from advisor.facts import Facts
from advisor.setup import Setup

GIB = 2**30
SPREADING = ("auto", "balanced", "sequential")
UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
PLACED_SHARE = 0.9
"""Given to weights of what is free: on the only GPU, unless it is filled in sequence (get_balanced_memory of
integrations/accelerate.py), and in RAM (get_max_memory). Of several GPUs all is given."""
QUANTIZED_SHARE = 0.9
"""The bitsandbytes quantizers of transformers take a tenth off every limit again (adjust_max_memory)."""
CONTEXT_BYTES = round(0.5 * GIB)
"""A CUDA context: what published out-of-memory messages leave between process and allocator is 0.36 GiB (V100), 0.46 to
0.49 (RTX 4090), 0.49 (A100), 0.50 (L40S), 0.58 (RTX 5090)."""
WORKSPACE_BYTES = round(8.125 * 2**20)
HOPPER_WORKSPACE_BYTES = 32 * 2**20
HOPPER = 9.0
"""cuBLAS's workspace for each handle and stream; 32 MiB on compute capability 9.0 (PyTorch's documentation)."""
PROCESS_BYTES = 351 * 2**20
"""Resident memory of a process that has imported torch 2.13 (CPU build) and transformers 5.22 and made a tiny model:
351 MiB, measured on Linux. Used where this machine's own figure is not known."""
SLACK_SHARE = 0.03
SLACK_BYTES = round(0.3 * GIB)
"""What the allocator of a GPU loses to rounding: an allocation fails this much before the memory is full."""


@dataclass(frozen=True)
class Room:
    """Free bytes of the devices that run the model, the most that weights may take there and in RAM, and the overhead.

    `spread` is true where weights may go to RAM when the devices are full. `slack_bytes` must stay free.
    """

    available_bytes: int | None
    weights_limit_bytes: int | None
    spill_limit_bytes: int | None
    overhead_bytes: int | None
    slack_bytes: int
    devices: int
    spread: bool


def device(machine: Facts, setup: Setup) -> str:
    """The kind of device that the setup uses; without a word the library loads to the CPU, or spreads over GPUs."""
    if setup.device is not None:
        return setup.device
    return "cuda" if setup.device_map in SPREADING and machine.is_true("torch.sees_gpu") else "cpu"


def room(machine: Facts, setup: Setup) -> Room:
    """The memory of the devices that `setup` uses, free now."""
    if device(machine, setup) == "cpu":
        free = machine.count("host.ram_available_bytes")
        overhead = machine.count("speed.process_bytes") or PROCESS_BYTES
        slack = round(SLACK_SHARE * free) if free is not None else 0
        return Room(free, free, 0, overhead, slack, 1, spread=False)
    if setup.device_map not in SPREADING:
        free = machine.count("gpu.memory_free_bytes")
        return Room(free, free, 0, _overhead(machine), _slack(free), 1, spread=False)
    return _several(machine, setup)


def _several(machine: Facts, setup: Setup) -> Room:
    """All GPUs together, each with its own context; what does not fit there may go to RAM, unless it is quantized."""
    free = [_free(machine, index) for index in range(max(1, machine.count("gpu.count") or 1))]
    known = [size for size in free if size is not None]
    if len(known) < len(free):
        return Room(None, None, None, None, 0, len(free), spread=True)
    quantized = setup.quantization not in (None, "none")
    alone = len(free) == 1 and setup.device_map != "sequential"
    share = (PLACED_SHARE if alone else 1.0) * (QUANTIZED_SHARE if quantized else 1.0)
    limits = [_limit(setup, str(index), share * size) for index, size in enumerate(known)]
    ram = machine.count("host.ram_available_bytes")
    spill = 0 if quantized else _limit(setup, "cpu", PLACED_SHARE * (ram or 0))
    overhead = len(free) * _overhead(machine)
    return Room(sum(known), sum(limits), spill, overhead, sum(_slack(size) for size in known), len(free), spread=True)


def _free(machine: Facts, index: int) -> int | None:
    found = machine.count(f"gpu.{index}.memory_free_bytes")
    return machine.count("gpu.memory_free_bytes") if found is None and index == 0 else found


def named_limits(setup: Setup) -> dict[str, float]:
    """What `max_memory` grants, in bytes by device; empty where it names none."""
    named: dict[str, float] = {}
    for entry in setup.max_memory or ():
        if found := re.fullmatch(r"(\w+)=([\d.]+)([KMG]?i?B)", entry):
            named[found[1]] = float(found[2]) * UNITS[found[3]]
    return named


def _limit(setup: Setup, place: str, free: float) -> int:
    """What `max_memory` grants to one device; a device that it leaves out gets nothing once it names any."""
    named = named_limits(setup)
    return round(named.get(place, 0.0) if named else free)


def _overhead(machine: Facts) -> int:
    capability = machine.number("gpu.capability")
    workspace = HOPPER_WORKSPACE_BYTES if capability == HOPPER else WORKSPACE_BYTES
    return CONTEXT_BYTES + workspace


def _slack(free: int | None) -> int:
    return 0 if free is None else max(round(SLACK_SHARE * free), SLACK_BYTES)
