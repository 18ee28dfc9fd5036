"""The accelerators: what the drivers show, ordered and restricted as torch sees them.

NVML is asked in a child process of this program's interpreter, because a hung driver hangs whoever asks it; the PCI
bus tells a machine without a GPU from one whose driver is missing. The judgement (`facts`) is pure. A device is never
counted twice, memories are never summed, and integrated graphics are no second card.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from advisor import child
from advisor.facts import Fact, Facts, Known, Unknown
from advisor.probe import display_bus, nvidia, visible
from advisor.probe.display_bus import Bus, BusDevice
from advisor.probe.nvidia import Device, Silent
from advisor.probe.privacy import without_places
from advisor.probe.software import TorchDevice
from advisor.probe.visible import Listed
from advisor.vocabulary import GPU

CHILD = Path(__file__).with_name("inside_gpu.py")
CATALOG = ("gpu.bf16_flops_per_second", "gpu.fp16_flops_per_second", "gpu.fp32_flops_per_second")
"""Rates come from the device catalog, not from the machine."""
NAMES = tuple(declaration.name for declaration in GPU if declaration.name not in CATALOG)
OF_ONE = tuple(name for name in NAMES if name != "gpu.count")
VENDOR_OF_BUILD = {"cuda": "nvidia", "rocm": "amd", "xpu": "intel", "mps": "apple"}
NONE_FOUND = "no GPU found"


@dataclass(frozen=True)
class Seen:
    """What the drivers and the bus show; the system is Python's `sys.platform`."""

    nvidia: tuple[Device, ...] | Silent
    bus: Bus
    system: str


@dataclass(frozen=True)
class Told:
    """What the target environment says: torch's build, its devices (None: not asked), and RAM that can be had."""

    build: str | None = None
    devices: tuple[TorchDevice, ...] | None = None
    ram_bytes: int | None = None


def look(limit_seconds: float) -> Seen:
    """Ask NVML and the PCI bus."""
    match child.run(sys.executable, CHILD, {}, limit_seconds):
        case child.Answered(answer):
            found = nvidia.read(answer)
        case child.Died(reason):
            found = Silent(f"the NVIDIA driver does not answer: {without_places(reason)}", absent=False)
    return Seen(found, display_bus.look(), sys.platform)


def facts(seen: Seen, told: Told, environment: Mapping[str, str] = os.environ) -> Facts:
    """All facts `gpu.*`: the devices in torch's order (`gpu.0.*` ...), and the one that it uses first (`gpu.*`)."""
    devices = _usable(seen, told, environment)
    if isinstance(devices, Unknown):
        return nothing(devices.reason)
    if not devices:
        hidden = _hidden(seen, environment)
        return nothing(hidden or NONE_FOUND) | Facts({"gpu.count": Known(0, "drivers" if hidden is None else hidden)})
    unsure = None if told.devices else visible.unsure_order([one.listed for one in devices], environment)
    first = dict.fromkeys(OF_ONE, unsure) if unsure else {name: devices[0].facts[name] for name in OF_ONE}
    numbered: dict[str, Fact] = {
        name.replace("gpu.", f"gpu.{index}.", 1): device.facts[name]
        for index, device in enumerate(devices)
        for name in OF_ONE
    }
    return Facts(numbered | first | {"gpu.count": Known(len(devices), "torch" if told.devices else "drivers")})


def nothing(reason: str) -> Facts:
    """Every fact unknown for one reason."""
    return Facts(dict.fromkeys(NAMES, Unknown(reason)))


def _usable(seen: Seen, told: Told, environment: Mapping[str, str]) -> tuple[Device, ...] | Unknown:
    """The devices that torch uses or would use; () where there is none."""
    if told.devices:
        return _as_torch_sees(seen, told, environment)
    shown = _shown(seen, told)
    if isinstance(shown, Unknown) or not shown:
        return shown
    return _one_slice(_restricted(shown, environment))


def _restricted(devices: tuple[Device, ...], environment: Mapping[str, str]) -> tuple[Device, ...]:
    """The devices that the maker's variable lets a program use, in its order."""
    named = visible.named_by(environment, str(_vendor(devices))) if devices else None
    if named is None:
        return devices
    by_list = {device.listed: device for device in devices}
    return tuple(by_list[listed] for listed in visible.by_variable(tuple(by_list), named[1]))


def _one_slice(devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """A process uses one MIG slice, and no other device beside it (MIG user guide, "CUDA visible devices")."""
    sliced = [device.facts["gpu.mig"] == Known(True, nvidia.SOURCE) for device in devices]
    if any(sliced[:1]):
        return devices[:1]
    return tuple(one for one, is_slice in zip(devices, sliced, strict=True) if not is_slice)


def _vendor(devices: tuple[Device, ...]) -> str | None:
    match devices[0].facts["gpu.vendor"]:
        case Known(str(vendor)):
            return vendor
    return None


def _hidden(seen: Seen, environment: Mapping[str, str]) -> str | None:
    """The variable that hides every device, or None where there is none to hide."""
    shown = _shown(seen, Told())
    if isinstance(shown, Unknown) or not shown:
        return None
    restricted = visible.named_by(environment, str(_vendor(shown)))
    return f"{restricted[0]} hides every GPU" if restricted else None


def _shown(seen: Seen, told: Told) -> tuple[Device, ...] | Unknown:
    """What the drivers show when torch has no word of its own: NVIDIA first, then AMD, Apple, Intel."""
    if not isinstance(seen.nvidia, Silent) and seen.nvidia:
        return seen.nvidia
    broken = isinstance(seen.nvidia, Silent) and not seen.nvidia.absent
    if isinstance(seen.nvidia, Silent) and (broken or seen.bus.cards("nvidia")):
        return Unknown(_no_driver(seen.nvidia, broken))
    if cards := seen.bus.cards("amd"):
        return tuple(_amd(index, card) for index, card in enumerate(cards))
    if cards := seen.bus.cards("intel"):
        return tuple(_intel(index) for index, _ in enumerate(cards))
    if seen.system == "darwin" and told.build == "mps":
        return Unknown("torch did not say whether it can use the GPU of this Mac")
    if seen.bus.adapter:
        return Unknown("the GPU that Windows shares has no driver library here: update the driver of Windows")
    # A torch that finds nothing is no proof: a CPU build never looks.
    if seen.bus.readable or (told.devices == () and told.build != "cpu"):
        return ()
    return Unknown("no NVIDIA driver answers, and other GPUs cannot be looked for on this system")


def _no_driver(silent: Silent, broken: bool) -> str:
    if broken:
        return silent.reason
    return f"an NVIDIA GPU is in the machine, but {silent.reason}; a container must be started with access to it"


def _as_torch_sees(seen: Seen, told: Told, environment: Mapping[str, str]) -> tuple[Device, ...]:
    """torch's devices in its order, each with what the driver knows of it; integrated ones only where all are."""
    rows = told.devices or ()
    discrete = tuple(row for row in rows if not row.integrated) or rows
    known, reason = _known_beside_torch(seen, told)
    if not any(row.uuid or row.pci for row in discrete):
        known = _restricted(known, environment)
    matched = visible.by_torch([device.listed for device in known], discrete)
    by_list = {device.listed: device for device in known}
    return tuple(
        _joined(row, by_list.get(listed) if listed else None, index, told, reason)
        for index, (row, listed) in enumerate(zip(discrete, matched, strict=True))
    )


def _known_beside_torch(seen: Seen, told: Told) -> tuple[tuple[Device, ...], str]:
    """The driver's devices of the maker that torch is built for; and why one of torch's may not be among them."""
    differ = "torch and the driver name their devices in different ways"
    vendor = VENDOR_OF_BUILD.get(told.build or "cuda")
    if vendor == "nvidia":
        return ((), seen.nvidia.reason) if isinstance(seen.nvidia, Silent) else (seen.nvidia, differ)
    if vendor == "amd":
        return tuple(_amd(index, card) for index, card in enumerate(seen.bus.cards("amd"))), differ
    return (), "only torch knows this device, and it does not say"


def _joined(row: TorchDevice, device: Device | None, index: int, told: Told, reason: str) -> Device:
    """The driver's facts, and torch's where the driver is silent."""
    facts: dict[str, Fact] = dict(device.facts) if device else dict.fromkeys(OF_ONE, Unknown(reason))
    vendor = VENDOR_OF_BUILD.get(told.build or "")
    said: dict[str, str | float | int | None] = {
        "gpu.name": row.name,
        "gpu.vendor": vendor,
        "gpu.capability": row.capability,
        "gpu.memory_total_bytes": row.memory_bytes,
    }
    for name, value in said.items():
        if value is not None and isinstance(facts[name], Unknown):
            facts[name] = Known(value, "torch")
    if row.integrated and isinstance(facts["gpu.memory_free_bytes"], Unknown):
        facts["gpu.memory_free_bytes"] = _shared(row, told)
    return Device(device.listed if device else Listed(index, row.uuid, row.pci, row.name), facts)


def _shared(row: TorchDevice, told: Told) -> Fact:
    """A device without memory of its own has what the host has left, at most what torch grants it."""
    if told.ram_bytes is None or row.memory_bytes is None:
        return Unknown("the device shares the host's memory, of which too little is known")
    return Known(min(told.ram_bytes, row.memory_bytes), "shared with the host")


def _amd(index: int, card: BusDevice) -> Device:
    """What amdgpu writes into its files. Memory, clock and capability have no counterpart there."""
    listed = Listed(index, None, card.slot, card.name)
    total, used = card.memory_bytes, card.used_bytes
    values: dict[str, str | int | None] = {
        "gpu.name": card.name,
        "gpu.vendor": "amd",
        "gpu.index": index,
        "gpu.memory_total_bytes": total,
        "gpu.memory_others_bytes": used,
        "gpu.memory_free_bytes": None if total is None or used is None else max(0, total - used),
        "gpu.utilization_percent": card.busy_percent,
    }
    facts: dict[str, Fact] = dict.fromkeys(OF_ONE, Unknown("the amdgpu driver does not tell"))
    facts |= {name: Known(value, "amdgpu") for name, value in values.items() if value is not None}
    facts |= dict.fromkeys(("gpu.capability", "gpu.driver_cuda", "gpu.mig"), Unknown("an AMD GPU has none"))
    return Device(listed, facts)


def _intel(index: int) -> Device:
    """A card on the bus; its figures come from an XPU build of torch."""
    facts: dict[str, Fact] = dict.fromkeys(OF_ONE, Unknown("only a torch built for xpu tells"))
    known: dict[str, Fact] = {"gpu.vendor": Known("intel", "PCI bus"), "gpu.index": Known(index, "PCI bus")}
    return Device(Listed(index, None, None, None), facts | known)


def with_name(found: Facts, cpu: str | None) -> Facts:
    """The GPU of a Mac has the name of its chip."""
    if found.text("gpu.vendor") != "apple" or cpu is None or isinstance(found.get("gpu.name"), Known):
        return found
    name = Known(cpu, "the chip's name")
    return found | Facts({"gpu.name": name, "gpu.0.name": name})
