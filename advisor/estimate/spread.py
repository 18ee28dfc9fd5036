"""A model over several devices, or over several machines: what each device may take."""

import math

from advisor.estimate.room import QUANTIZED_SHARE
from advisor.facts import Facts
from advisor.plan import Memory
from advisor.setup import Setup

EQUAL_FREE_SHARE = 0.8
"""From here on devices count as equally free: accelerate leaves a tenth of each free anyhow, this is twice that."""
SERVED_SHARE = 0.9
"""What engines that serve from several machines claim of a device by default (vLLM's gpu_memory_utilization)."""
BLOCK_ALLOWANCE = 1.1
"""Weights are placed by whole blocks, so each device's share gets a tenth more than its exact part."""


def free_sizes(machine: Facts) -> tuple[int, ...] | None:
    """Free bytes of each device, or None where one does not tell."""
    count = machine.count("gpu.count") or 0
    sizes = [machine.count(f"gpu.{index}.memory_free_bytes") for index in range(count)]
    known = tuple(size for size in sizes if size is not None)
    return known if known and len(known) == count else None


def unequal(machine: Facts) -> bool | None:
    """Whether devices differ so much in free memory that an even share fills one of them up."""
    sizes = free_sizes(machine)
    return min(sizes) < EQUAL_FREE_SHARE * max(sizes) if sizes else None


def machines(machine: Facts, total: int | None) -> int | None:
    """How many such machines hold `total` bytes on their devices."""
    sizes = free_sizes(machine)
    if not sizes or not any(sizes) or total is None:
        return None
    return math.ceil(total / (SERVED_SHARE * sum(sizes)))


def shares(machine: Facts, setup: Setup, weights: int | None) -> tuple[str, ...] | None:
    """Weights for each device in proportion to what is free there, never above that. The quantizers take their share
    off again."""
    sizes = free_sizes(machine)
    if not sizes or not any(sizes) or weights is None:
        return None
    allowance = BLOCK_ALLOWANCE / (QUANTIZED_SHARE if setup.quantization not in (None, "none") else 1.0)
    shares = (min(size, weights * allowance * size / sum(sizes)) for size in sizes)
    return tuple(f"{index}={share / 2**30:.1f}GiB" for index, share in enumerate(shares))


def shard(machine: Facts, training: Memory) -> int | None:
    """Bytes of weights, gradients and optimizer states on each device when all devices share them evenly."""
    parts = (training.weights_bytes, training.gradients_bytes, training.optimizer_bytes)
    known, count = [part for part in parts if part is not None], machine.count("gpu.count")
    return sum(known) // count if count and len(known) == len(parts) else None


def shard_fits(machine: Facts, training: Memory) -> bool | None:
    """Whether such a share fits on a device beside the activations of its own sequences. Layers that are gathered while
    they are computed, and buffers of the exchange, are not counted."""
    parts = (shard(machine, training), training.activation_peak_bytes, training.overhead_bytes)
    known = [part for part in parts if part is not None]
    if training.available_bytes is None or len(known) < len(parts):
        return None
    return sum(known) <= training.available_bytes
