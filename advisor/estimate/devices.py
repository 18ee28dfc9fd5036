"""What an accelerator can do: the driver's own figures first, then a catalog of exact product names, else unknown.

The catalog (`devices.csv`) holds dense rates with fp32 accumulation, in teraflops, and bandwidth in 1e9 bytes a second.
A name must match whole: laptop and Max-Q cards, slices of a card and export variants share most of a desktop card's
name and little of its speed. Cards sold under one name with different chips are told apart by their memory. Where one
name and size was sold with memory of two speeds (GTX 1060 6GB and 1080, RTX 3060 Ti and 4070, laptop cards), the name
gives no bandwidth, and the driver's bus width and clock do.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from advisor.facts import Fact, Facts, Known, Unknown

BANDWIDTH = "gpu.bandwidth_bytes_per_second"
FLOPS = {kind: f"gpu.{kind}_flops_per_second" for kind in ("bf16", "fp16", "fp32")}
VENDOR_PREFIXES = ("nvidia ", "amd ", "intel(r) ", "intel ")
# Drivers show 0.90 to 1.00 of the nominal size (ECC, reserved pages; 1 "GB" may be 1e9 or 2**30 bytes). The next
# variant of a card is at least 1.2 times or at most 0.8 times as large.
LEAST_SHARE, MOST_SHARE = 0.85, 1.06
# Two transfers a clock: NVML gives the clock of the command bus, and every memory since DDR sends twice per cycle.
TRANSFERS_PER_CLOCK = 2
SLICE = re.compile(r"\bmig \d+g\.|^grid |-\d+[abcq]$", re.IGNORECASE)
"""Names of parts of a card: torch writes the MIG profile behind the card's name ("MIG 1g.10gb"), and a virtual GPU is
called after its profile ("GRID T4-16Q", "NVIDIA A40-48Q"; NVIDIA's vGPU user guide)."""


@dataclass(frozen=True)
class Device:
    """One row of the catalog; rates in bytes and operations a second, None where no figure is trusted."""

    capability: float | None
    memory_gb: tuple[float, ...]
    bandwidth: float | None
    flops: Mapping[str, float | None]
    confirmed: bool


def rates(machine: Facts) -> Facts:
    """Bandwidth and dense rates of the GPU that torch uses first: known with a source, or unknown with a reason."""
    found = identified(machine)
    if isinstance(found, Unknown):
        return Facts({BANDWIDTH: _bandwidth(machine, found), **dict.fromkeys(FLOPS.values(), found)})
    source = "device catalog" if found.confirmed else "device catalog, unconfirmed"
    named: Fact = Unknown("this device was sold with memory of more than one speed")
    if found.bandwidth is not None:
        named = Known(found.bandwidth, source)
    rate: dict[str, Fact] = {BANDWIDTH: _bandwidth(machine, named)}
    for kind, name in FLOPS.items():
        value = found.flops[kind]
        rate[name] = (
            Unknown(f"the catalog has no {kind} rate for this device") if value is None else Known(value, source)
        )
    return Facts(rate)


def _bandwidth(machine: Facts, catalog: Fact) -> Fact:
    """The driver's figure; a slice of a card has only a part of it, and nobody says which."""
    if _is_slice(machine):
        return Unknown("a slice of a card has an unknown share of its bandwidth")
    if isinstance(told := machine.get(BANDWIDTH), Known):
        return told
    bits, clock = machine.count("gpu.bus_width_bits"), machine.number("gpu.memory_clock_mhz")
    if bits and clock:
        return Known(bits / 8 * clock * 1e6 * TRANSFERS_PER_CLOCK, "bus width x memory clock")
    return catalog


def _is_slice(machine: Facts) -> bool:
    """Whether the device is a MIG slice or a virtual GPU, as the driver says or by its name."""
    return machine.is_true("gpu.mig") or SLICE.search(machine.text("gpu.name") or "") is not None


def identified(machine: Facts) -> Device | Unknown:
    """The catalog's row for this device, or why there is none."""
    name = machine.text("gpu.name")
    if name is None:
        return Unknown("the device's name is unknown")
    if _is_slice(machine):
        return Unknown("a slice of a card has an unknown share of it")
    device = catalog().get(normalized(name))
    if device is None:
        return Unknown(f"{name} is not in the device catalog")
    capability = machine.number("gpu.capability")
    if device.capability is not None and capability is not None and capability != device.capability:
        return Unknown(f"{name} with compute capability {capability} is not in the device catalog")
    return (
        device if _memory_agrees(device, machine) else Unknown(f"no {name} with this memory is in the device catalog")
    )


def _memory_agrees(device: Device, machine: Facts) -> bool:
    """Whether the memory is that of a known variant. A card whose size the driver hides is not identified."""
    if not device.memory_gb:
        return True
    total = machine.count("gpu.memory_total_bytes")
    return total is not None and any(LEAST_SHARE <= total / 2**30 / size <= MOST_SHARE for size in device.memory_gb)


def normalized(name: str) -> str:
    """A product name without the vendor, trademark signs and differences of case and spacing."""
    plain = " ".join(name.casefold().split())
    for prefix in VENDOR_PREFIXES:
        plain = plain.removeprefix(prefix)
    return plain.replace("(tm)", "").replace("(r)", "")


@cache
def catalog() -> Mapping[str, Device]:
    """The catalog by normalized product name."""
    with Path(__file__).with_name("devices.csv").open(encoding="utf-8", newline="") as lines:
        return {normalized(name): _device(row) for row in csv.DictReader(lines) for name in row["names"].split("|")}


def _device(row: Mapping[str, str]) -> Device:
    return Device(
        capability=float(row["capability"]) if row["capability"] else None,
        memory_gb=tuple(float(size) for size in row["memory_gb"].split("|") if size),
        bandwidth=float(cell) * 1e9 if (cell := row["bandwidth_gb_per_second"]) else None,
        flops={kind: float(cell) * 1e12 if (cell := row[f"{kind}_tflops"]) else None for kind in FLOPS},
        confirmed=row["confirmed"] == "yes",
    )
