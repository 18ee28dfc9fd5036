"""Weights that wait elsewhere: one placement for the memory, for what crosses the bus, and for the screen's split."""

import pytest

from advisor.estimate.memory import memory
from advisor.estimate.offload import FROM_RAM_BYTES_PER_SECOND, Placement, fetch_seconds, placement
from advisor.estimate.split import split
from advisor.facts import Facts, Known
from advisor.probe import anatomy, shapes
from advisor.setup import Setup
from advisor.workload import Workload

GIB = 2**30
SPREAD = Setup(device="cuda", device_map="auto", dtype="bfloat16", attn_implementation="sdpa")


def model(shape: str) -> Facts:
    plain = Facts({"model.checkpoint_quantization": Known("none", "test")})
    return anatomy.facts(shapes.load(shape).anatomy) | plain


def machine(gpu: float, ram: float) -> Facts:
    free, host = Known(round(gpu * GIB), "test"), Known(round(ram * GIB), "test")
    names = ("gpu.memory_free_bytes", "gpu.0.memory_free_bytes")
    return Facts({"gpu.count": Known(1, "test"), "host.ram_available_bytes": host} | dict.fromkeys(names, free))


@pytest.mark.parametrize("shape", ["qwen2.5-7b", "mixtral-8x7b", "llama-3.1-8b"])
def test_memory_bus_and_split_go_by_the_same_bytes(shape: str) -> None:
    weights = 2 * (model(shape).count("model.parameters") or 0)
    here = machine(0.9 * weights / GIB, 400)
    shares, needed = split(model(shape), here, SPREAD), memory(model(shape), here, Workload(), SPREAD)
    assert shares is not None and needed.total_bytes is not None and needed.overhead_bytes is not None
    gpu, ram = shares
    found = placement(model(shape), here, SPREAD, weights)
    assert found is not None and (found.in_ram, found.on_disk) == (ram.weights_bytes, 0)
    assert needed.fetched_bytes == ram.weights_bytes
    assert found.staying == pytest.approx(gpu.weights_bytes, rel=1e-3)
    assert fetch_seconds(model(shape), here, SPREAD, needed) == ram.weights_bytes / FROM_RAM_BYTES_PER_SECOND
    beside = (needed.activation_peak_bytes or 0) + (needed.kv_cache_peak_bytes or 0) + needed.overhead_bytes
    fetched = found.visiting
    assert 0 < fetched < ram.weights_bytes, "what is fetched is on the device only for its turn"
    assert needed.total_bytes == pytest.approx(found.staying + fetched + beside, rel=5e-3)


def test_what_finds_no_room_in_ram_does_not_fit() -> None:
    found = placement(model("llama-3.1-8b"), machine(8, 4), SPREAD, 16 * 10**9)
    assert found is not None and found.on_disk > 0 and found.in_ram > 0
    assert memory(model("llama-3.1-8b"), machine(8, 4), Workload(), SPREAD).fits is False


def test_quantized_parts_are_not_left_in_ram() -> None:
    """The bitsandbytes quantizers raise an error there."""
    small = SPREAD.changed({"quantization": "bnb_int8"})
    found = placement(model("llama-3.1-8b"), machine(7, 64), small, 9 * 10**9)
    assert found is not None and found.in_ram == 0 and found.on_disk > 0
    assert memory(model("llama-3.1-8b"), machine(7, 64), Workload(), small).fits is False


def test_layers_of_different_sizes_are_taken_by_the_limits() -> None:
    found = placement(Facts(), machine(10, 2), SPREAD, 12 * GIB)
    assert found == Placement(9 * GIB, round(1.8 * GIB), 3 * GIB - round(1.8 * GIB), 0)


def test_without_a_device_map_everything_stays() -> None:
    assert placement(Facts(), Facts(), Setup(device="cuda"), 5) == Placement(5, 0, 0, 0)
    assert placement(Facts(), Facts(), SPREAD, 5) is None
    assert placement(Facts(), Facts(), SPREAD, None) is None
