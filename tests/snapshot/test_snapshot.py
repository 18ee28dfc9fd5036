"""Snapshots of PyTorch's allocator: the figures, and files from strangers."""

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from advisor import cli
from advisor.errors import RequestError
from advisor.snapshot import read

MIB = 2**20
USER = "/home/anna/work/train.py"
LIBRARY = "/usr/lib/python3.11/site-packages/"
LINEAR = [
    {"filename": "??", "line": 0, "name": "at::native::linear"},
    {"filename": f"{LIBRARY}torch/nn/modules/linear.py", "line": 125, "name": "forward"},
    {"filename": f"{LIBRARY}transformers/models/llama/modeling_llama.py", "line": 210, "name": "forward"},
    {"filename": USER, "line": 12, "name": "<module>"},
]
CACHE = [
    {"filename": f"{LIBRARY}transformers/cache_utils.py", "line": 101, "name": "update"},
    {"filename": USER, "line": 40, "name": "step"},
]


def block(size: int, state: str = "active_allocated", frames: Any = LINEAR, asked: int | None = None) -> dict[str, Any]:
    return {"address": 7, "size": size, "requested_size": size if asked is None else asked, "state": state,
            "frames": frames}  # fmt: skip


def segment(*blocks: dict[str, Any], device: int = 0, **more: Any) -> dict[str, Any]:
    """As torch 2.13 writes one (torch/cuda/memory.py, `_snapshot`)."""
    live = sum(b["size"] for b in blocks if b["state"] == "active_allocated")
    return {
        "device": device, "address": 1, "total_size": sum(b["size"] for b in blocks), "allocated_size": live,
        "active_size": live, "requested_size": live, "stream": 0, "segment_type": "large", "segment_pool_id": (0, 0),
        "is_expandable": False, "frames": [], "blocks": list(blocks), **more,
    }  # fmt: skip


def whole(*segments: dict[str, Any], events: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"segments": list(segments), "device_traces": [list(events)], "allocator_settings": {"x": False},
            "external_annotations": []}  # fmt: skip


SCATTERED = whole(
    segment(block(60 * MIB, asked=59 * MIB), block(10 * MIB, "inactive"), block(10 * MIB, frames=CACHE)),
    segment(block(20 * MIB, "inactive")),
    segment(block(2 * MIB, "active_awaiting_free"), segment_pool_id=(0, 1)),
    events=({"action": "alloc", "addr": 1, "size": 1, "stream": 0, "frames": LINEAR},
            {"action": "oom", "size": 64 * MIB, "device_free": 5 * MIB, "stream": 0, "frames": CACHE}),
)  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    def save(data: Any) -> Path:
        path = tmp_path / "memory.pickle"
        path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data))
        return path

    return save


def test_the_figures_add_up(saved: Callable[[Any], Path]) -> None:
    (device,) = read(saved(SCATTERED)).devices
    assert (device.reserved, device.allocated, device.inactive) == (102 * MIB, 70 * MIB, 30 * MIB)
    assert (device.awaiting_free, device.private_pools, device.rounding) == (2 * MIB, 2 * MIB, MIB)
    assert (device.largest_inactive, device.returnable) == (20 * MIB, 20 * MIB)
    assert device.fragmentation == pytest.approx(1 / 3)
    assert (device.segments, device.blocks) == (3, 5)


def test_holders_are_the_own_line_and_the_package_s(saved: Callable[[Any], Path]) -> None:
    first, second = read(saved(SCATTERED)).holders
    assert (first.bytes, first.own_line) == (60 * MIB, "~/work/train.py:12")
    assert first.asked_by == "transformers/models/llama/modeling_llama.py:210 in forward"
    assert (second.bytes, second.own_line) == (10 * MIB, "~/work/train.py:40 in step")


def test_blocks_of_one_line_are_one_row(saved: Callable[[Any], Path]) -> None:
    (row,) = read(saved(whole(segment(block(4 * MIB), block(MIB)), segment(block(2 * MIB))))).holders
    assert (row.bytes, row.blocks, row.largest_bytes) == (7 * MIB, 3, 4 * MIB)


def test_the_request_that_failed(saved: Callable[[Any], Path]) -> None:
    (failure,) = read(saved(SCATTERED)).failures
    assert (failure.requested_bytes, failure.free_bytes) == (64 * MIB, 5 * MIB)
    assert failure.own_line == "~/work/train.py:40 in step"


def test_devices_are_counted_one_by_one(saved: Callable[[Any], Path]) -> None:
    found = read(saved(whole(segment(block(MIB), device=1), segment(block(3 * MIB)))))
    assert [(d.device, d.allocated) for d in found.devices] == [(0, 3 * MIB), (1, MIB)]


def test_the_form_of_the_first_releases(saved: Callable[[Any], Path]) -> None:
    old = {"address": 1, "size": MIB, "state": "active_allocated", "history": [{"real_size": 9, "frames": CACHE}]}
    data = [{"device": 0, "address": 1, "total_size": MIB, "stream": 0, "segment_type": "large", "blocks": [old]}]
    assert read(saved(data)).holders[0].own_line == "~/work/train.py:40 in step"


def test_without_frames_that_is_said(saved: Callable[[Any], Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "--snapshot", str(saved(whole(segment(block(MIB, frames=[])))))]) == 0
    assert "_record_memory_history()" in capsys.readouterr().out


def test_an_empty_allocator_is_an_answer(saved: Callable[[Any], Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "--snapshot", str(saved(whole()))]) == 0
    assert "holds no memory" in capsys.readouterr().out


class Runs:
    """What a stranger would send: reading it as usual makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


def refused(path: Path) -> str:
    with pytest.raises(RequestError) as caught:
        read(path)
    return str(caught.value)


def test_nothing_in_the_file_is_run(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    victim = tmp_path / "made"
    for data in (Runs(str(victim)), {"segments": [], "device_traces": Runs(str(victim))}):
        assert "and a snapshot names nothing" in refused(saved(data))
    assert not victim.exists()


def persistent() -> bytes:
    class Pointing(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return "x" if obj == "target" else None

    stream = io.BytesIO()
    Pointing(stream).dump({"segments": "target"})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cannot be read as a pickle"),
        (b"no pickle at all", "cannot be read as a pickle"),
        (pickle.dumps(SCATTERED)[:-20], "cannot be read as a pickle"),
        (pickle.dumps(7), "its top is no mapping"),
        (pickle.dumps({}), "no list of segments"),
        (pickle.dumps({"segments": [3]}), "no list of blocks"),
        (pickle.dumps({"segments": [{"blocks": [3]}]}), "a block without a state"),
        (pickle.dumps(whole(segment(block(MIB), total_size=-1))), "total_size is no size"),
        (pickle.dumps(whole(segment(block(MIB), total_size=10**40))), "total_size is no size"),
        (pickle.dumps(whole(segment({**block(MIB), "requested_size": "x"}))), "requested_size is no size"),
        (persistent(), "refers to objects outside"),
        (b"\x80\x04r" + struct.pack("<I", 2**32 - 1) + b".", "cannot be read|more memory"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.", "cannot be read|more memory"),
    ],
)
def test_what_is_no_snapshot_is_refused(data: bytes, why: str, saved: Callable[[Any], Path]) -> None:
    told = refused(saved(data))
    assert any(part in told for part in why.split("|")), told
    assert "_dump_snapshot" in told


def test_a_small_file_that_stands_for_endless_blocks_is_refused(saved: Callable[[Any], Path]) -> None:
    many = [segment(*[block(1)] * 1500)] * 1500
    assert "more than 1,000,000 blocks" in refused(saved(whole(*many)))


def test_names_that_steer_a_terminal_do_not(saved: Callable[[Any], Path]) -> None:
    frames = [{"filename": "/x/\x1b[2J\x1b]0;evil\x07.py", "line": 3, "name": "a\x1b[31m"}]
    (row,) = read(saved(whole(segment(block(MIB, frames=frames))))).holders
    assert row.own_line is not None
    assert row.own_line.isprintable()


def test_a_missing_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "--snapshot", "/no/such.pickle"]) == 2
    assert "/no/such.pickle: No such file" in capsys.readouterr().err


def test_json_is_like_that_of_a_text(saved: Callable[[Any], Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "--json", "--snapshot", str(saved(SCATTERED))]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["recognized"], data["kind"], data["cause"]) == (True, "gpu_oom", None)
    assert data["memory"]["requested_bytes"] == 64 * MIB
    assert data["memory"]["reserved_unallocated_bytes"] == 32 * MIB
    assert data["snapshot"]["devices"][0]["largest_inactive_bytes"] == 20 * MIB
    assert data["snapshot"]["holders"][0]["bytes"] == 60 * MIB
