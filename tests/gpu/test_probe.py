"""The probe against torch on a real card: what the driver shows is what programs get."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from advisor import probe
from advisor.facts import Facts, Known

pytestmark = pytest.mark.gpu

MIB = 2**20
SEEN_BY_TORCH = 0.01
"""torch and NVML may differ in the total by what the driver rounds or keeps: one part in a hundred."""


@pytest.fixture(scope="module")
def torch() -> Any:
    module = pytest.importorskip("torch")
    if not module.cuda.is_available():
        pytest.skip("torch finds no GPU")
    return module


@pytest.fixture(scope="module")
def facts(torch: Any) -> Facts:
    return probe.machine(sys.executable)


def test_torch_and_the_probe_count_alike(torch: Any, facts: Facts) -> None:
    assert facts.value("gpu.count") == torch.cuda.device_count()
    assert facts.value("torch.sees_gpu") is True


def test_each_device_is_torchs(torch: Any, facts: Facts) -> None:
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        assert facts.value(f"gpu.{index}.name") == properties.name
        assert facts.number(f"gpu.{index}.capability") == float(f"{properties.major}.{properties.minor}")
        total = facts.count(f"gpu.{index}.memory_total_bytes")
        assert total == pytest.approx(properties.total_memory, rel=SEEN_BY_TORCH)


def test_the_first_device_is_the_one_torch_uses(torch: Any, facts: Facts) -> None:
    assert facts.value("gpu.name") == torch.cuda.get_device_properties(0).name
    for name in facts.under("gpu.0"):
        assert facts.get(name) == facts.get(name.replace("gpu.0.", "gpu."))


def test_free_memory_is_what_torch_can_have(torch: Any, facts: Facts) -> None:
    """torch's own context costs a few hundred MiB once it asks; other programs may come and go meanwhile."""
    free, _ = torch.cuda.mem_get_info(0)
    told = facts.count("gpu.memory_free_bytes")
    assert told is not None
    assert free <= told + 256 * MIB
    assert told - free <= 2048 * MIB


def test_total_is_free_and_others(facts: Facts) -> None:
    total, free = facts.count("gpu.memory_total_bytes"), facts.count("gpu.memory_free_bytes")
    others = facts.count("gpu.memory_others_bytes")
    assert total is not None and free is not None and others is not None
    assert free + others == total


def test_versions_agree(torch: Any, facts: Facts) -> None:
    assert facts.value("torch.version") == torch.__version__
    assert facts.value("torch.cuda") == torch.version.cuda
    assert facts.value("torch.bf16") is (torch.cuda.get_device_capability(0)[0] >= 8)


def test_the_bandwidth_can_be_approached_and_not_exceeded(torch: Any, facts: Facts) -> None:
    """A copy reads and writes; it reaches between half of the memory's bandwidth and all of it."""
    told = facts.number("gpu.bandwidth_bytes_per_second")
    if told is None or facts.is_true("gpu.mig"):
        pytest.skip("no bandwidth is claimed for this device")
    source = torch.empty(512 * MIB, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(10):
        target.copy_(source)
    end.record()
    torch.cuda.synchronize()
    reached = 10 * 2 * source.numel() / (begin.elapsed_time(end) / 1000)
    assert 0.5 * told <= reached <= 1.05 * told


def seen_with(**environment: str) -> str:
    """What a fresh process finds under these variables: count and the first device's index in the driver."""
    code = (
        "import sys; from advisor import probe; f = probe.machine(sys.executable);"
        "print(f.value('gpu.count'), f.value('gpu.index'), f.value('torch.sees_gpu'))"
    )
    path = str(Path(probe.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def test_hidden_devices_do_not_count(torch: Any) -> None:
    assert seen_with(CUDA_VISIBLE_DEVICES="") == "0 None False"


def test_one_device_by_index_and_by_uuid(torch: Any, facts: Facts) -> None:
    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    words = ["0"] + ([f"GPU-{uuid}"] if uuid is not None and not facts.is_true("gpu.mig") else [])
    for word in words:
        count, index, sees = seen_with(CUDA_VISIBLE_DEVICES=word).split()
        assert (count, sees) == ("1", "True")
        assert facts.get("gpu.index") == Known(int(index), "nvml")
