"""NVML's answer as devices with facts, and its errors as reasons that help."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from advisor.facts import Fact, Known, Unknown
from advisor.probe.privacy import without_places
from advisor.probe.visible import Listed, plain_uuid

SOURCE = "nvml"
# Numbers of nvml.h, nvmlReturn_t.
NOT_LOADED, NO_LIBRARY = 9, 12
REASONS = {
    4: "the driver refuses to answer this user",
    NOT_LOADED: "the driver's kernel module is not loaded: load it with nvidia-smi or modprobe nvidia, or restart",
    NO_LIBRARY: "no NVIDIA driver is installed",
    15: "the GPU has fallen off the bus: restart the machine",
    16: "the GPU must be reset: nvidia-smi --gpu-reset, or restart the machine",
    18: (
        "the driver's kernel module and library are of different versions: "
        "restart the machine, or install the driver again"
    ),
    999: "the driver fails without saying why: look for NVRM in the kernel's log",
}
FIELDS = {
    "gpu.capability": "capability",
    "gpu.bus_width_bits": "bus_width_bits",
    "gpu.memory_clock_mhz": "memory_clock_mhz",
    "gpu.utilization_percent": "utilization_percent",
}
TRANSFERS_PER_CLOCK = 2
"""NVML's memory clock is that of the command bus; data moves on both edges. Against makers' figures this is right to
about 2.5 %, on the high side for the newest HBM3e. It is wrong for what the clock does not show: error correction on
GDDR memory costs up to a tenth, a MIG slice has a share, unified memory has no clock."""


@dataclass(frozen=True)
class Device:
    """An accelerator: what identifies it, and its facts by plain name (`gpu.name`)."""

    listed: Listed
    facts: Mapping[str, Fact]


@dataclass(frozen=True)
class Silent:
    """NVML cannot be used. `absent` is true where that is what a machine without NVIDIA devices looks like."""

    reason: str
    absent: bool


def read(answer: Mapping[str, Any]) -> tuple[Device, ...] | Silent:
    """The devices in NVML's order, each MIG slice as one of its own; or why there is no answer."""
    if error := answer.get("error"):
        code = error["code"]
        told = without_places(str(error["text"]))
        return Silent(REASONS.get(code, f"the driver fails: {told}"), code in (NOT_LOADED, NO_LIBRARY))
    found = tuple(device for row in answer["devices"] for device in _devices(row, answer))
    if answer["devices"] and not found:
        return Silent(
            "every GPU is partitioned (MIG) and has no slice yet: create one with nvidia-smi mig", absent=False
        )
    return found


def _devices(row: Mapping[str, Any], answer: Mapping[str, Any]) -> list[Device]:
    """The device, or in its place its MIG slices: a partitioned device cannot be used as a whole."""
    parts = row["instances"] if row.get("mig") else [row]
    return [_device(row, part, answer) for part in parts]


def _device(row: Mapping[str, Any], part: Mapping[str, Any], answer: Mapping[str, Any]) -> Device:
    """`part` has the name and the memory: the whole device or a slice of it."""
    missing = row.get("missing", {})
    facts: dict[str, Fact] = {
        "gpu.name": _known(part.get("name"), "name", part.get("missing", missing)),
        "gpu.vendor": Known("nvidia", SOURCE),
        "gpu.index": Known(row["index"], SOURCE),
        "gpu.mig": _mig(row),
        "gpu.driver": _driver(answer["driver"]),
        "gpu.driver_cuda": _cuda(answer["cuda"]),
    }
    for name, field in FIELDS.items():
        facts[name] = _known(_number(row.get(field)), field, missing)
    facts |= _memory(part.get("memory"), part.get("missing", missing))
    facts["gpu.bandwidth_bytes_per_second"] = _bandwidth(row, missing)
    uuid = part.get("uuid")
    listed = Listed(row["index"], plain_uuid(uuid) if uuid else None, _address(row.get("pci")), part.get("name"))
    return Device(listed, facts)


def _address(written: str | None) -> str | None:
    """`00000000:3B:00.0` as `0000:3b:00`: domain, bus and slot."""
    return written.lower().split(".")[0][-10:] if written else None


def _number(value: Any) -> Any:
    """NVML gives a capability as two numbers."""
    return float(f"{value[0]}.{value[1]}") if isinstance(value, list) else value


def _known(value: Any, field: str, missing: Mapping[str, str]) -> Fact:
    return Known(value, SOURCE) if value is not None else Unknown(_why(field, missing))


def _why(field: str, missing: Mapping[str, str]) -> str:
    told = missing.get(field) or missing.get("handle")
    return f"the driver does not tell: {without_places(told)}" if told else "the driver does not tell"


def _mig(row: Mapping[str, Any]) -> Fact:
    """A device that cannot be partitioned answers "not supported": it is whole."""
    if row.get("mig") is None and "handle" in row.get("missing", {}):
        return Unknown(_why("handle", row["missing"]))
    return Known(bool(row.get("mig")), SOURCE)


def _driver(text: str | None) -> Fact:
    """Drivers for virtual GPUs may add a word to the number; such a version cannot be compared."""
    try:
        return Known(text, SOURCE) if text and Version(text) else Unknown("the driver does not tell")
    except InvalidVersion:
        return Unknown(f"no version that can be compared: {without_places(text or '')[:40]}")


def _cuda(number: int | None) -> Fact:
    """12080 is 12.8."""
    if not number:
        return Unknown("the driver does not tell")
    return Known(f"{number // 1000}.{number % 1000 // 10}", SOURCE)


def _memory(found: Mapping[str, int] | None, missing: Mapping[str, str]) -> dict[str, Fact]:
    """What programs can have, as torch shows it: the driver's own share is left out of the total.

    NVML tells that share since driver 510; before, it counts with what other processes hold.
    """
    names = ("gpu.memory_total_bytes", "gpu.memory_free_bytes", "gpu.memory_others_bytes")
    if found is None:
        return dict.fromkeys(names, Unknown(_why("memory", missing)))
    total = found["total"] - found["reserved"]
    source = SOURCE if found["reserved"] else f"{SOURCE}, with the driver's own share"
    return {
        names[0]: Known(total, SOURCE),
        names[1]: Known(found["free"], SOURCE),
        names[2]: Known(max(0, total - found["free"]), source),
    }


def _bandwidth(row: Mapping[str, Any], missing: Mapping[str, str]) -> Fact:
    """Bytes a second: bus width in bits x memory clock x 2 / 8; source: the makers' data sheets, see above."""
    if row.get("mig"):
        return Unknown("a MIG slice has an unknown share of the card's bandwidth")
    bits, clock = row.get("bus_width_bits"), row.get("memory_clock_mhz")
    if not bits or not clock:
        return Unknown(_why("bus_width_bits" if not bits else "memory_clock_mhz", missing))
    return Known(bits / 8 * clock * 1e6 * TRANSFERS_PER_CLOCK, "nvml: bus width x memory clock")
