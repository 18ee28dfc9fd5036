"""Graphics and compute devices on the PCI bus, as Linux lists them: no driver, no library, nothing is started.

It tells a machine without a GPU from one whose driver is missing, and gives an AMD card's memory (files of amdgpu).
"""

from dataclasses import dataclass
from pathlib import Path

DISPLAY, PROCESSING = "0x03", "0x12"
"""PCI base classes: display controllers, and processing accelerators (how Instinct cards show up)."""
VENDORS = {"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel"}
INTEL_INTEGRATED_SLOT = "00:02.0"
"""Intel's integrated graphics always sits in this slot of the first bus; its cards sit behind a bridge."""
AMD_INTEGRATED_BYTES = 2 * 1024**3
"""Below this an AMD device is taken for integrated graphics with its carved-out memory (512 MiB as a rule). A board
that carves out more is counted as a card; torch's own list, where there is one, decides instead."""


@dataclass(frozen=True)
class BusDevice:
    """One device, by domain, bus and slot (`0000:03:00`); sizes in bytes, None where its driver does not tell."""

    vendor: str
    integrated: bool
    slot: str
    name: str | None = None
    memory_bytes: int | None = None
    used_bytes: int | None = None
    busy_percent: int | None = None


@dataclass(frozen=True)
class Bus:
    """What the bus shows. `readable` is False where the system has no such list; `adapter` marks WSL's own."""

    readable: bool
    devices: tuple[BusDevice, ...] = ()
    adapter: bool = False

    def cards(self, vendor: str) -> tuple[BusDevice, ...]:
        """A maker's devices, integrated graphics left out."""
        return tuple(device for device in self.devices if device.vendor == vendor and not device.integrated)


def look(root: Path = Path("/")) -> Bus:
    """The devices in the order of their slots."""
    folder = root / "sys/bus/pci/devices"
    adapter = (root / "dev/dxg").exists()
    if not folder.is_dir():
        return Bus(False, (), adapter)
    found = (_device(place) for place in sorted(folder.iterdir()))
    return Bus(True, tuple(device for device in found if device is not None), adapter)


def _device(place: Path) -> BusDevice | None:
    vendor = VENDORS.get(_text(place / "vendor"))
    if vendor is None or not _text(place / "class").startswith((DISPLAY, PROCESSING)):
        return None
    if vendor == "amd":
        return _amd(place)
    return BusDevice(vendor, vendor == "intel" and place.name.endswith(INTEL_INTEGRATED_SLOT), _slot(place))


def _amd(place: Path) -> BusDevice:
    """amdgpu writes memory in bytes (kernel documentation, "amdgpu: Memory Information"); the name is often absent."""
    total = _whole(place / "mem_info_vram_total")
    return BusDevice(
        "amd",
        total is not None and total < AMD_INTEGRATED_BYTES,
        _slot(place),
        _text(place / "product_name") or None,
        total,
        _whole(place / "mem_info_vram_used"),
        _whole(place / "gpu_busy_percent"),
    )


def _slot(place: Path) -> str:
    return place.name.lower().split(".")[0]


def _whole(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isascii() and text.isdigit() else None


def _text(path: Path) -> str:
    """The file's text; empty where there is none or it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
