"""Readings of the machine: own peaks of memory, and what others do to the cores."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from advisor.run import inside_gauges as gauges

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SPIN = "import time\nend = time.time() + 10\nwhile time.time() < end: pass"


@contextmanager
def neighbour() -> Iterator[None]:
    """Another program that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        time.sleep(0.3)
        yield
    finally:
        process.kill()
        process.wait()


@linux
def test_a_busy_neighbour_is_seen() -> None:
    with neighbour():
        others = gauges.Neighbours(needed_cores=10_000)
        time.sleep(1.0)
        assert (others.seconds() or 0) > 0.3


@linux
def test_own_work_is_no_neighbour() -> None:
    before_busy, before_own = gauges.cpu_busy_seconds(), gauges.own_cpu_seconds()
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        pass
    busy = (gauges.cpu_busy_seconds() or 0) - (before_busy or 0)
    assert gauges.own_cpu_seconds() - before_own > 0.2
    assert busy >= gauges.own_cpu_seconds() - before_own - 0.1


@pytest.mark.parametrize(
    ("others", "wall", "cores", "needed", "disturbed"),
    [
        (0.5, 1.0, 2, 2, True),
        (0.1, 1.0, 2, 2, False),
        (0.05, 0.1, 2, 2, False),
        (0.5, 1.0, 2, 1, False),
        (1.5, 1.0, 2, 1, True),
        (3.0, 1.0, 64, 64, False),
        (8.0, 1.0, 64, 64, True),
        (0.5, 1.0, 2, 8, True),
        (None, 1.0, 2, 2, False),
    ],
)
def test_disturbed_is_who_loses_cores(
    monkeypatch: pytest.MonkeyPatch, others: float | None, wall: float, cores: int, needed: int, disturbed: bool
) -> None:
    busy = iter([0.0, others if others is not None else None])
    monkeypatch.setattr(gauges, "cpu_busy_seconds", lambda: next(busy))
    monkeypatch.setattr(gauges, "own_cpu_seconds", lambda _: 0.0)
    monkeypatch.setattr(gauges.os, "sched_getaffinity", lambda _: range(cores), raising=False)
    clock = iter([10.0, 10.0 + wall])
    monkeypatch.setattr(gauges.time, "perf_counter", lambda: next(clock))
    assert gauges.Neighbours(needed).disturb() is disturbed


@linux
def test_resident_memory_grows_by_what_is_held() -> None:
    before = gauges.resident()
    held = bytearray(80_000_000)
    after = gauges.resident()
    assert len(held) == 80_000_000
    assert (after["anonymous_bytes"] or 0) - (before["anonymous_bytes"] or 0) > 60_000_000
    assert (after["peak_bytes"] or 0) >= (after["anonymous_bytes"] or 0)
