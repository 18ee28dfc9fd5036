"""Read a file of torch.cuda.memory._dump_snapshot() and add up who holds the memory.

    python inside_snapshot.py request.json answer.json

A pickle can run anything when it is read, and this one comes from a stranger: only plain containers, numbers and texts
are taken, nothing that has a name is looked up, in a process of its own whose memory is limited. Uses the standard
library alone. The form of the file is that of PyTorch 2.0 to 2.13 (torch/cuda/memory.py, `_snapshot`).
"""

import io
import json
import pickle
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_BLOCKS = 1_000_000
MOST_FRAMES = 400
LONGEST_NAME = 2_000
LARGEST_SIZE = 2**60
ROWS = 30
LARGEST_BLOCKS = 10
LIBRARY = re.compile(r".*[/\\](?:site-packages|dist-packages)[/\\]|.*[/\\]lib[/\\]python3[^/\\]*[/\\]")
FRAMEWORK = re.compile(r"torch[/\\]|accelerate[/\\]hooks\.py|functools\.py|contextlib\.py|runpy\.py|threading\.py")

Look = tuple[str, bool, bool]
"""A file as it is shown, whether it is the user's own, and whether its lines tell who asked."""
Place = tuple[str | None, str | None]


class Refused(Exception):  # noqa: N818
    """The file is no snapshot."""


class Plain(pickle.Unpickler):
    """Takes nothing that has a name: no class, no function, no persistent object."""

    def find_class(self, module: str, name: str) -> Any:
        raise Refused(f"it asks for {module[:80]}.{name[:80]}, and a snapshot names nothing")

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002
        raise Refused("it refers to objects outside the file")


def limit_memory(size: int) -> None:
    """A short pickle can ask for any amount of memory. A snapshot takes some ten times its file."""
    try:
        import resource

        room = 2**31 + 20 * size
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (room if hard < 0 else min(room, hard), hard))
    except (ImportError, ValueError, OSError):
        return


def whole(table: dict[str, Any], key: str, default: int | None = None) -> int:
    """The size or number under a key."""
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST_SIZE:
        raise Refused(f"{key} is no size in bytes")
    return value


def listed(table: Any, key: str) -> Sequence[Any]:
    value = table.get(key) if isinstance(table, dict) else None
    if isinstance(value, list | tuple):
        return value
    raise Refused(f"it has no list of {key}")


class Places:
    """Turns the frames of a block into the two lines that matter, each kind of frame looked at once."""

    def __init__(self) -> None:
        self.known: dict[str, Look | None] = {}
        self.of_list: dict[int, Place] = {}

    def shown(self, filename: str) -> "Look | None":
        """What is known of a file; None: no Python file."""
        if filename not in self.known:
            self.known[filename] = self.look(filename)
        return self.known[filename]

    def look(self, filename: str) -> "Look | None":
        if not filename or len(filename) > LONGEST_NAME or not (filename.endswith(".py") or filename[0] == "<"):
            return None
        if "ipykernel" in filename or filename.startswith("<ipython"):
            return "notebook cell", True, True
        if filename[0] == "<":
            return None
        inside = LIBRARY.match(filename)
        if not inside:
            return filename, True, True
        short = filename[inside.end() :]
        return short, False, not FRAMEWORK.match(short)

    def of(self, frames: Sequence[Any]) -> "Place":
        """As `looked_up`; blocks share the lists of their frames, which live as long as this process."""
        found = self.of_list.get(id(frames))
        if found is None:
            found = self.of_list[id(frames)] = self.looked_up(frames)
        return found

    def looked_up(self, frames: Sequence[Any]) -> "Place":
        """(the innermost line of the user's own code, the innermost line that is not the framework's), None if none."""
        own: str | None = None
        asker: str | None = None
        for frame in frames[:MOST_FRAMES]:
            filename = frame.get("filename") if isinstance(frame, dict) else None
            found = self.shown(filename) if isinstance(filename, str) else None
            if found is None:
                continue
            path, users, asks = found
            if asker is None and asks:
                asker = line_of(path, frame)
            if users:
                own = line_of(path, frame)
                break
        return own, asker


def line_of(path: str, frame: dict[str, Any]) -> str:
    line, name = frame.get("line"), frame.get("name")
    number = line if isinstance(line, int) and 0 <= line < 10**7 else "?"
    function = name[:120] if isinstance(name, str) and name.isprintable() else ""
    return f"{path}:{number}" + (f" in {function}" if function and function != "<module>" else "")


def frames_of(block: dict[str, Any]) -> Sequence[Any]:
    """The frames of the request that a block serves; releases before 2.1 kept them under `history`."""
    frames = block.get("frames")
    if frames is None:
        history = block.get("history")
        first = history[0] if isinstance(history, list | tuple) and history else {}
        frames = first.get("frames") if isinstance(first, dict) else None
    return frames if isinstance(frames, list | tuple) else ()


class Device:
    """The figures of one device, in bytes."""

    def __init__(self) -> None:
        self.figures: dict[str, int] = dict.fromkeys(
            ("reserved", "allocated", "awaiting_free", "inactive", "largest_inactive", "returnable", "rounding",
             "private_pools", "segments", "blocks"), 0
        )  # fmt: skip

    def add(self, segment: dict[str, Any], blocks: list[tuple[str, int, int]]) -> None:
        f, total = self.figures, whole(segment, "total_size")
        active = [size for state, size, _ in blocks if state.startswith("active")]
        free = [size for state, size, _ in blocks if not state.startswith("active")]
        f["reserved"] += total
        f["segments"] += 1
        f["blocks"] += len(blocks)
        f["allocated"] += sum(size for state, size, _ in blocks if state == "active_allocated")
        f["awaiting_free"] += sum(active) - sum(size for state, size, _ in blocks if state == "active_allocated")
        f["inactive"] += sum(free)
        f["largest_inactive"] = max([f["largest_inactive"], *free])
        f["returnable"] += total if not active else 0
        f["rounding"] += sum(max(0, size - asked) for state, size, asked in blocks if state == "active_allocated")
        pool = segment.get("segment_pool_id", (0, 0))
        f["private_pools"] += total if isinstance(pool, list | tuple) and any(pool) else 0


class Holders:
    """Bytes by line of code."""

    def __init__(self) -> None:
        self.rows: dict[Place, list[int]] = {}
        self.largest: list[tuple[int, Place]] = []

    def add(self, size: int, place: Place) -> None:
        row = self.rows.setdefault(place, [0, 0, 0])
        row[0] += size
        row[1] += 1
        row[2] = max(row[2], size)
        if len(self.largest) < LARGEST_BLOCKS or size > self.largest[-1][0]:
            self.largest = sorted([*self.largest, (size, place)], key=lambda pair: -pair[0])[:LARGEST_BLOCKS]

    def answer(self) -> dict[str, Any]:
        ordered = sorted(self.rows.items(), key=lambda item: -item[1][0])
        top = [row(place, *numbers) for place, numbers in ordered[:ROWS]]
        rest = [numbers for _, numbers in ordered[ROWS:]]
        return {
            "holders": top,
            "other_lines": {"lines": len(rest), "bytes": sum(n[0] for n in rest), "blocks": sum(n[1] for n in rest)},
            "largest_blocks": [{"bytes": size, **named(place)} for size, place in self.largest],
        }


def named(place: Place) -> dict[str, str | None]:
    return {"own_line": place[0], "asked_by": place[1]}


def row(place: Place, size: int, blocks: int, largest: int) -> dict[str, Any]:
    return {"bytes": size, "blocks": blocks, "largest_bytes": largest, **named(place)}


def summed(snapshot: Any) -> dict[str, Any]:
    """The whole answer for a snapshot's data."""
    if isinstance(snapshot, list | tuple):
        # Releases before 2.0 saved the list of segments alone.
        snapshot = {"segments": snapshot}
    if not isinstance(snapshot, dict):
        raise Refused("its top is no mapping")
    devices: dict[int, Device] = {}
    holders, places, visited = Holders(), Places(), 0
    for segment in listed(snapshot, "segments"):
        blocks = []
        for block in listed(segment, "blocks"):
            visited += 1
            if visited > MOST_BLOCKS:
                raise Refused(f"it lists more than {MOST_BLOCKS:,} blocks")
            if not isinstance(block, dict) or not isinstance(block.get("state"), str):
                raise Refused("it has a block without a state")
            size = whole(block, "size")
            blocks.append((block["state"], size, whole(block, "requested_size", size)))
            if block["state"] == "active_allocated":
                holders.add(size, places.of(frames_of(block)))
        devices.setdefault(whole(segment, "device", 0), Device()).add(segment, blocks)
    found = [{"device": number, **device.figures} for number, device in sorted(devices.items())]
    return {"devices": found, **holders.answer(), "failures": failures(snapshot, places)}


def failures(snapshot: dict[str, Any], places: Places) -> list[dict[str, Any]]:
    """The requests that failed, by the history of the allocator, the last one last."""
    found: list[dict[str, Any]] = []
    for number, trace in enumerate(snapshot.get("device_traces") or ()):
        events = trace if isinstance(trace, list | tuple) else ()
        for event in events[-MOST_BLOCKS:]:
            if isinstance(event, dict) and event.get("action") == "oom":
                free = event.get("device_free")
                found.append(
                    {
                        "device": number,
                        "requested_bytes": whole(event, "size"),
                        "free_bytes": whole(event, "device_free") if isinstance(free, int) else None,
                        **named(places.of(frames_of(event))),
                    }
                )
    return found[-LARGEST_BLOCKS:]


def read(path: str) -> dict[str, Any]:
    """What is in the file at `path`, or Refused."""
    data = Path(path).read_bytes()
    limit_memory(len(data))
    try:
        return summed(Plain(io.BytesIO(data)).load())
    except Refused:
        raise
    except MemoryError:
        raise Refused("reading it takes more memory than a snapshot of its size does") from None
    except Exception as error:
        raise Refused(f"it cannot be read as a pickle: {str(error)[:200]}") from None


def main(request: str, answer: str) -> None:
    try:
        found = read(json.loads(Path(request).read_text(encoding="utf-8"))["path"])
    except Refused as error:
        found = {"refused": str(error)}
    fresh = Path(answer + ".fresh")
    fresh.write_text(json.dumps(found), encoding="utf-8")
    fresh.replace(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
