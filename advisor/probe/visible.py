"""Which of the driver's devices a program may use, and which one torch uses first.

CUDA_VISIBLE_DEVICES is read as the CUDA C++ Programming Guide describes it ("CUDA environment variables"): indices or
UUIDs, shortened or not, in the order of use; the list ends at the first entry that names no device. torch's own list,
where there is one, decides before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from advisor.facts import Unknown
from advisor.probe.software import TorchDevice

VARIABLES = {
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
    "amd": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
}
"""By maker, the first that is set counts (ROCm documentation, "GPU isolation techniques")."""


@dataclass(frozen=True)
class Listed:
    """What identifies a device: the driver's index, the UUID without prefix, the PCI address, and the product name."""

    index: int
    uuid: str | None
    pci: str | None
    name: str | None


def named_by(environment: Mapping[str, str], vendor: str) -> tuple[str, str] | None:
    """The variable that restricts devices, and its value; None where none is set."""
    return next(((name, environment[name]) for name in VARIABLES.get(vendor, ()) if name in environment), None)


def by_variable(devices: Sequence[Listed], value: str) -> tuple[Listed, ...]:
    """The devices that `value` names, in its order; none at all where it names one twice."""
    chosen: list[Listed] = []
    for word in value.split(","):
        found = _named(devices, word.strip())
        if found is None:
            break
        if found in chosen:
            return ()
        chosen.append(found)
    return tuple(chosen)


def _named(devices: Sequence[Listed], word: str) -> Listed | None:
    if word.isascii() and word.isdecimal():
        return devices[int(word)] if int(word) < len(devices) else None
    plain = plain_uuid(word)
    found = [device for device in devices if plain and device.uuid and device.uuid.startswith(plain)]
    return found[0] if len(found) == 1 else None


def plain_uuid(text: str) -> str:
    """`GPU-5a..` and `5A..` alike."""
    return text.lower().removeprefix("gpu-").removeprefix("mig-")


def by_torch(devices: Sequence[Listed], told: Sequence[TorchDevice]) -> tuple[Listed | None, ...]:
    """For each of torch's devices the driver's one, or None where there is doubt: by UUID or PCI address.

    An older torch tells neither. Then a name that each side has once identifies, and devices that are all alike are in
    the same order on both sides; `devices` must be those that the program may use.
    """
    if any(row.uuid or row.pci for row in told):
        return tuple(next((device for device in devices if _same(device, row)), None) for row in told)
    if len(devices) == len(told) and len({device.name for device in devices}) == 1:
        return tuple(devices)
    return tuple(_by_name(devices, told, row) for row in told)


def _by_name(devices: Sequence[Listed], told: Sequence[TorchDevice], row: TorchDevice) -> Listed | None:
    found = [device for device in devices if device.name is not None and device.name == row.name]
    return found[0] if len(found) == 1 and sum(other.name == row.name for other in told) == 1 else None


def _same(device: Listed, told: TorchDevice) -> bool:
    if device.uuid and told.uuid:
        return device.uuid == plain_uuid(told.uuid)
    return device.pci is not None and device.pci == told.pci


def unsure_order(devices: Sequence[Listed], environment: Mapping[str, str]) -> Unknown | None:
    """Why the driver's order may not be CUDA's, or None: by default CUDA begins with the fastest device."""
    if environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({device.name for device in devices}) < 2:
        return None
    return Unknown(
        "which of several kinds of GPU CUDA counts first is not known; CUDA_DEVICE_ORDER=PCI_BUS_ID settles it"
    )
