"""`perf-advisor explain --snapshot FILE`: who holds the memory of a device, from a file of PyTorch's allocator."""

from pathlib import Path
from typing import Any

from advisor.commands import options as common
from advisor.explaining import Diagnosis
from advisor.snapshot import Snapshot, read


def look(path: str, as_json: bool) -> Snapshot:
    """Read and print the snapshot in `path`.

    Raises:
        RequestError: the file is no snapshot.
    """
    snapshot = read(Path(path))
    if as_json:
        common.print_json(to_json(snapshot), compact=True)
    else:
        from advisor.show import snapshot as screen
        from advisor.show import terminal

        terminal.out().print(screen.screen(snapshot))
    return snapshot


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """An object like that of a text, with the snapshot's own figures under `snapshot`."""
    failure = snapshot.failures[-1] if snapshot.failures else None
    figures: dict[str, int | float] = {}
    if failure:
        figures = {"requested_bytes": failure.requested_bytes, "device_index": failure.device}
        if failure.free_bytes is not None:
            figures["free_bytes"] = failure.free_bytes
        for device in snapshot.devices:
            if device.device == failure.device:
                loose = device.reserved - device.allocated
                figures |= {"allocated_bytes": device.allocated, "reserved_bytes": device.reserved}
                figures["reserved_unallocated_bytes"] = loose
    told = Diagnosis(snapshot.source, recognized=True, kind="gpu_oom" if failure else None, figures=figures)
    return {**told.to_json(), "snapshot": snapshot.to_json()}
