"""A snapshot file as figures. The file is opened by a child process that takes only plain data (inside_snapshot.py)."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor import child
from advisor.errors import Mistake, RequestError
from advisor.reading import masked

LARGEST_BYTES = 1_000_000_000
LIMIT_SECONDS = 120.0
REMEDY = "write one with torch.cuda.memory._dump_snapshot('FILE')"


@dataclass(frozen=True)
class Device:
    """One device's memory as PyTorch's allocator holds it, in bytes.

    `reserved` was taken from the driver, of which `allocated` serves live tensors, `awaiting_free` waits for another
    stream, and `inactive` serves nobody; `largest_inactive` is the largest block of it, `returnable` lies in segments
    without any live block, which `torch.cuda.empty_cache()` returns. `rounding` is what sizes were rounded up by,
    `private_pools` the segments of CUDA graphs and other pools of their own.
    """

    device: int
    reserved: int
    allocated: int
    awaiting_free: int
    inactive: int
    largest_inactive: int
    returnable: int
    rounding: int
    private_pools: int
    segments: int
    blocks: int

    @property
    def fragmentation(self) -> float | None:
        """1 - largest inactive block / all inactive memory: 0 where it is in one piece. None where there is none."""
        return 1 - self.largest_inactive / self.inactive if self.inactive else None


@dataclass(frozen=True)
class Holder:
    """Live memory that one line asked for: the innermost line of the user's own code, and the innermost line of any
    package but torch itself; None where the frames do not show one."""

    bytes: int
    blocks: int
    largest_bytes: int
    own_line: str | None
    asked_by: str | None


@dataclass(frozen=True)
class Failure:
    """A request that failed while the history was recorded."""

    device: int
    requested_bytes: int
    free_bytes: int | None
    own_line: str | None
    asked_by: str | None


@dataclass(frozen=True)
class Snapshot:
    """Everything that is shown of a snapshot. `other_bytes` is held by lines that are not listed."""

    source: str
    devices: tuple[Device, ...]
    holders: tuple[Holder, ...]
    largest_blocks: tuple[Holder, ...]
    other_lines: int
    other_bytes: int
    failures: tuple[Failure, ...]

    def to_json(self) -> dict[str, Any]:
        """The part of `explain --json` that is about the snapshot."""
        return {
            "devices": [_device_json(device) for device in self.devices],
            "holders": [vars(holder) for holder in self.holders],
            "largest_blocks": [
                {"bytes": h.bytes, "own_line": h.own_line, "asked_by": h.asked_by} for h in self.largest_blocks
            ],
            "other_lines": self.other_lines,
            "other_bytes": self.other_bytes,
            "failures": [vars(failure) for failure in self.failures],
        }


def _device_json(device: Device) -> dict[str, Any]:
    figures = {f"{name}_bytes" if name in _SIZES else name: value for name, value in vars(device).items()}
    return {**figures, "fragmentation": device.fragmentation}


_SIZES = frozenset(Device.__annotations__) - {"device", "segments", "blocks"}


def read(path: Path) -> Snapshot:
    """The snapshot in `path`.

    Raises:
        RequestError: there is no such file, it is too large, or it is no snapshot.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise RequestError(Mistake(str(path), error.strerror or str(error))) from error
    if not path.is_file() or size > LARGEST_BYTES:
        what = f"larger than {LARGEST_BYTES:,} bytes" if path.is_file() else "no file"
        hint = "record fewer events: torch.cuda.memory._record_memory_history(max_entries=100_000)"
        raise RequestError(Mistake(str(path), what, hint))
    program = Path(__file__).with_name("inside_snapshot.py")
    match child.run(sys.executable, program, {"path": str(path.resolve())}, LIMIT_SECONDS):
        case child.Died(reason):
            raise RequestError(Mistake(str(path), f"cannot be read: {reason}", REMEDY))
        case child.Answered(answer):
            if "refused" in answer:
                raise RequestError(Mistake(str(path), f"no memory snapshot: {answer['refused']}", REMEDY))
            return _snapshot(str(path), answer)


def _snapshot(source: str, answer: Mapping[str, Any]) -> Snapshot:
    others = answer["other_lines"]
    return Snapshot(
        source=source,
        devices=tuple(Device(**device) for device in answer["devices"]),
        holders=tuple(Holder(**_shown(holder)) for holder in answer["holders"]),
        largest_blocks=tuple(
            Holder(blocks=1, largest_bytes=block["bytes"], **_shown(block)) for block in answer["largest_blocks"]
        ),
        other_lines=others["lines"],
        other_bytes=others["bytes"],
        failures=tuple(Failure(**_shown(failure)) for failure in answer["failures"]),
    )


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose lines may be printed: no home folder's name, nothing that steers a terminal."""
    return {name: _plain(value) if name in ("own_line", "asked_by") else value for name, value in row.items()}


def _plain(line: str | None) -> str | None:
    if line is None:
        return None
    return masked("".join(letter if letter.isprintable() else "?" for letter in line))
