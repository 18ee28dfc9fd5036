"""Figures of the own process, with devices that are made up; tensors are real ones in test_hooks."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from advisor import live
from advisor.live.owners import owners
from advisor.live.tensors import _together

GIB = 2**30


class Cuda:
    """A device as torch.cuda shows it; asking the driver about the second one would start it."""

    def __init__(self, started: bool = True, broken: bool = False) -> None:
        self.started, self.broken = started, broken

    def is_initialized(self) -> bool:
        return self.started

    def device_count(self) -> int:
        return 2

    def memory_stats(self, index: int) -> dict[str, int]:
        amount = 10 * GIB if index == 0 else 0
        return {
            "reserved_bytes.all.current": amount,
            "allocated_bytes.all.current": amount - GIB if amount else 0,
            "allocated_bytes.all.peak": amount,
        }

    def mem_get_info(self, index: int) -> tuple[int, int]:
        assert index == 0, "this would start a device that was not used yet"
        if self.broken:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return 5 * GIB, 24 * GIB


def torch_with(monkeypatch: pytest.MonkeyPatch, cuda: Cuda) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))


def test_the_device_that_is_used_tells_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_with(monkeypatch, Cuda())
    assert live.devices() == (live.DeviceNow("cuda", 0, 9 * GIB, 10 * GIB, 10 * GIB, 5 * GIB, 24 * GIB),)


def test_a_device_that_was_not_started_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_with(monkeypatch, Cuda(started=False))
    assert live.devices() == ()


def test_a_driver_that_fails_leaves_its_figures_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_with(monkeypatch, Cuda(broken=True))
    (device,) = live.devices()
    assert (device.allocated, device.free, device.total) == (9 * GIB, None, None)


def test_without_torch_there_is_nothing_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert live.devices() == ()
    assert live.tensors({}).largest == ()
    assert "torch" not in sys.modules


def test_the_host_tells_what_is_held_and_free() -> None:
    host = live.host()
    assert host.resident is not None and host.resident > 2**20
    assert host.available is not None and host.available > 0


def test_tensors_that_differ_in_a_number_alone_are_one_row() -> None:
    found = [
        live.TensorNow(4, (2, 2), "float16", "cuda:0", f"model.layers.{n}.up.weight in step") for n in range(3)
    ] + [live.TensorNow(4, (2, 2), "float16", "cuda:0", f"kept[{n}]") for n in range(2)]
    rows = list(_together(found))
    assert [(row.count, row.bytes, row.owner) for row in rows] == [
        (3, 12, "model.layers.*.up.weight in step"), (2, 8, "kept[*]"),
    ]  # fmt: skip


def test_shapes_and_devices_are_kept_apart() -> None:
    found = [live.TensorNow(4, (2, size), "float16", device, None) for size in (1, 2) for device in ("cpu", "cuda:0")]
    assert len(list(_together(found))) == 4


class Tensor:
    """Stands for torch.Tensor."""


class Hostile:
    """Everything that is asked of it goes wrong."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    __hash__ = None  # type: ignore[assignment]


def failing(things: Any) -> BaseException:
    hostile, loop = Hostile(), []  # noqa: F841
    loop.append(loop)

    def inner(parts: Any) -> None:
        raise ValueError(len(parts))

    try:
        try:
            inner(things)
        except ValueError as error:
            raise RuntimeError("again") from error
    except RuntimeError as error:
        return error
    raise AssertionError


def test_names_come_from_the_innermost_frame_and_lead_through_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(Tensor=Tensor))
    first, second = Tensor(), Tensor()
    names = owners(failing({"a": [first], "b": SimpleNamespace(cache=(1, second))})).names
    assert names[id(first)] == "parts['a'][0] in inner"
    assert names[id(second)] == "parts['b'].cache[1] in inner"


def test_a_proxy_is_never_asked_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(Tensor=Tensor))
    assert owners(failing([Hostile(), Hostile()])).models == ()
