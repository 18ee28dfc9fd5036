"""The catalog: names as drivers print them, and none mistaken for a faster relative."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.estimate import devices
from advisor.facts import Fact, Facts, Known, Unknown

BANDWIDTH = "gpu.bandwidth_bytes_per_second"
GIB = 2**30


def gpu(name: str, memory_gib: float, **more: Fact) -> Facts:
    facts: dict[str, Fact] = {
        "gpu.name": Known(name, "nvml"),
        "gpu.memory_total_bytes": Known(round(memory_gib * GIB), "nvml"),
    }
    return Facts({**facts, **{f"gpu.{key}": value for key, value in more.items()}})


@pytest.mark.parametrize(
    ("name", "memory_gib", "gb_per_second"),
    [
        ("NVIDIA GeForce RTX 4090", 23.99, 1008),
        ("GeForce RTX 2080 Ti", 10.76, 616),
        ("NVIDIA GeForce RTX 3080", 10.0, 760),
        ("NVIDIA GeForce RTX 3060", 12.0, 360),
        ("NVIDIA GeForce RTX 4060 Ti", 16.0, 288),
        ("NVIDIA GeForce RTX 4060 Ti", 8.0, 288),
        ("NVIDIA GeForce RTX 5090", 31.84, 1792),
        ("NVIDIA GeForce RTX 4070 Laptop GPU", 8.0, 256),
        ("Tesla T4", 15.0, 320),
        ("Tesla V100-SXM2-16GB", 16.0, 900),
        ("Tesla V100-PCIE-32GB", 32.0, 900),
        ("NVIDIA A10G", 22.49, 600),
        ("NVIDIA A100-SXM4-40GB", 40.0, 1555),
        ("NVIDIA A100-SXM4-80GB", 80.0, 2039),
        ("NVIDIA A100 80GB PCIe", 80.0, 1935),
        ("NVIDIA A100-PCIE-40GB", 40.0, 1555),
        ("NVIDIA H100 80GB HBM3", 79.65, 3350),
        ("NVIDIA H100 PCIe", 79.65, 2039),
        ("NVIDIA H100 NVL", 93.58, 3938),
        ("NVIDIA H200", 140.4, 4800),
        ("NVIDIA H200 NVL", 140.4, 4800),
        ("NVIDIA GH200 480GB", 94.5, 4000),
        ("NVIDIA GH200 144G HBM3e", 139.8, 4900),
        ("NVIDIA L40S", 44.99, 864),
        ("NVIDIA L4", 22.49, 300),
        ("NVIDIA RTX A6000", 47.99, 768),
        ("NVIDIA RTX 6000 Ada Generation", 47.99, 960),
        ("Quadro RTX 6000", 24.0, 672),
        ("NVIDIA B200", 179.1, 7700),
        ("AMD Instinct MI300X", 191.98, 5300),
        ("AMD Radeon RX 7900 XTX", 23.98, 960),
        ("Intel(R) Arc(TM) B580 Graphics", 11.6, 456),
    ],
)
def test_known_cards_have_their_own_bandwidth(name: str, memory_gib: float, gb_per_second: float) -> None:
    assert devices.rates(gpu(name, memory_gib)).number(BANDWIDTH) == gb_per_second * 1e9


@pytest.mark.parametrize(
    ("name", "memory_gib"),
    [
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16.0),
        ("NVIDIA GeForce RTX 4090 D", 23.99),
        ("NVIDIA GeForce RTX 5090 D", 31.84),
        ("NVIDIA GeForce RTX 3080", 12.0),
        ("NVIDIA GeForce RTX 3060", 8.0),
        ("NVIDIA GeForce RTX 3050", 6.0),
        ("NVIDIA GeForce RTX 2060", 12.0),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", 6.0),
        ("NVIDIA GeForce RTX 3080 Laptop GPU", 16.0),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", 8.0),
        ("NVIDIA GeForce RTX 3070 Ti Laptop GPU", 8.0),
        ("GeForce RTX 2080 with Max-Q Design", 8.0),
        ("GeForce RTX 2080 Super with Max-Q Design", 8.0),
        ("NVIDIA GeForce RTX 2080 SUPER", 8.0),
        ("NVIDIA GeForce GTX 1060 3GB", 3.0),
        ("NVIDIA GeForce GTX 1650", 4.0),
        ("NVIDIA T400", 2.0),
        ("NVIDIA T4G", 15.0),
        ("NVIDIA RTX A1000", 8.0),
        ("NVIDIA RTX A2000", 6.0),
        ("NVIDIA RTX A4000 Laptop GPU", 8.0),
        ("NVIDIA RTX A5000 Laptop GPU", 16.0),
        ("NVIDIA RTX A5500", 24.0),
        ("NVIDIA RTX 5000 Ada Generation Laptop GPU", 16.0),
        ("NVIDIA RTX 4000 SFF Ada Generation", 20.0),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 95.6),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 95.6),
        ("Quadro RTX 6000 with Max-Q Design", 24.0),
        ("Quadro RTX 5000", 16.0),
        ("Tesla V100S-PCIE-32GB", 32.0),
        ("Tesla V100-SXM3-32GB", 32.0),
        ("Tesla V100-DGXS-32GB", 32.0),
        ("Tesla P100-PCIE-12GB", 12.0),
        ("Tesla P4", 7.6),
        ("NVIDIA A10M", 22.5),
        ("NVIDIA A100-SXM-64GB", 64.0),
        ("NVIDIA A100X", 80.0),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9.5),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", 39.5),
        ("NVIDIA A800-SXM4-80GB", 80.0),
        ("NVIDIA H800", 80.0),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 9.75),
        ("NVIDIA H100 80GB HBM2e", 79.65),
        ("NVIDIA L20", 44.99),
        ("NVIDIA L40G", 24.0),
        ("NVIDIA H200", 70.0),
        ("NVIDIA Graphics Device", 24.0),
        ("Orin (nvgpu)", 61.4),
        ("AMD Radeon Graphics", 16.0),
        ("Intel(R) Arc(TM) A770 Graphics", 8.0),
        ("Apple M3 Max", 64.0),
        ("llvmpipe", 8.0),
    ],
)
def test_relatives_of_known_cards_are_unknown(name: str, memory_gib: float) -> None:
    found = devices.rates(gpu(name, memory_gib))
    assert isinstance(found.get(BANDWIDTH), Unknown)
    assert all(isinstance(found.get(fact), Unknown) for fact in devices.FLOPS.values())


def test_the_drivers_figure_counts_before_the_catalog() -> None:
    told = Known(9.5e11, "nvml")
    assert devices.rates(gpu("NVIDIA GeForce RTX 4090", 23.99, bandwidth_bytes_per_second=told)).get(BANDWIDTH) == told


def test_bus_width_and_clock_give_the_bandwidth_of_a_card_that_no_catalog_knows() -> None:
    machine = gpu(
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        16.0,
        bus_width_bits=Known(256, "nvml"),
        memory_clock_mhz=Known(9001, "nvml"),
    )
    assert devices.rates(machine).number(BANDWIDTH) == pytest.approx(576e9, rel=0.001)
    assert isinstance(devices.rates(machine).get("gpu.bf16_flops_per_second"), Unknown)


@pytest.mark.parametrize(
    ("name", "memory_gib"),
    [
        ("NVIDIA GeForce RTX 3060 Ti", 8.0),
        ("NVIDIA GeForce RTX 4070", 12.0),
        ("NVIDIA GeForce GTX 1080", 7.92),
        ("NVIDIA GeForce GTX 1060 6GB", 5.94),
    ],
)
def test_a_name_sold_with_two_kinds_of_memory_has_rates_and_no_bandwidth(name: str, memory_gib: float) -> None:
    found = devices.rates(gpu(name, memory_gib))
    assert isinstance(found.get(BANDWIDTH), Unknown)
    assert found.number("gpu.fp32_flops_per_second")


@pytest.mark.parametrize(
    "name", ["NVIDIA A100-SXM4-80GB MIG 3g.40gb", "GRID T4-16Q", "NVIDIA A40-48Q", "GRID A100-10C", "NVIDIA L40S-24C"]
)
def test_a_slice_is_known_by_its_name_where_the_driver_does_not_say(name: str) -> None:
    machine = gpu(name, 39.0, bus_width_bits=Known(5120, "nvml"), memory_clock_mhz=Known(1593, "nvml"))
    assert isinstance(devices.rates(machine).get(BANDWIDTH), Unknown)


def test_a_slice_of_a_card_has_not_the_cards_bandwidth() -> None:
    whole = Known(2.039e12, "nvml")
    machine = gpu("NVIDIA A100-SXM4-80GB", 80.0, mig=Known(True, "nvml"), bandwidth_bytes_per_second=whole)
    assert isinstance(devices.rates(machine).get(BANDWIDTH), Unknown)
    assert isinstance(devices.rates(machine).get("gpu.fp16_flops_per_second"), Unknown)


def test_another_compute_capability_is_another_card() -> None:
    right = gpu("Tesla T4", 15.0, capability=Known(7.5, "nvml"))
    wrong = gpu("Tesla T4", 15.0, capability=Known(8.6, "nvml"))
    assert devices.rates(right).number("gpu.fp16_flops_per_second") == 65e12
    assert isinstance(devices.rates(wrong).get("gpu.fp16_flops_per_second"), Unknown)


def test_a_card_of_unknown_size_is_not_identified() -> None:
    assert isinstance(devices.rates(Facts({"gpu.name": Known("Tesla T4", "nvml")})).get(BANDWIDTH), Unknown)


def test_cards_without_bf16_units_have_no_bf16_rate() -> None:
    for name, memory in (("Tesla T4", 15.0), ("Tesla V100-SXM2-32GB", 32.0), ("Tesla P40", 22.4)):
        assert isinstance(devices.rates(gpu(name, memory)).get("gpu.bf16_flops_per_second"), Unknown)


def test_no_device_says_why() -> None:
    match devices.rates(Facts()).get(BANDWIDTH):
        case Unknown(reason):
            assert "name" in reason
        case Known():
            pytest.fail("a bandwidth without a device")


def test_the_catalog_is_plausible() -> None:
    for name, device in devices.catalog().items():
        assert device.bandwidth is None or 50e9 < device.bandwidth < 10e12, name
        assert all(size >= 5 for size in device.memory_gb), name
        rates = [rate for rate in device.flops.values() if rate is not None]
        assert all(1e12 < rate < 3e15 for rate in rates), name


@given(st.text(max_size=60))
def test_any_name_is_answered(name: str) -> None:
    found = devices.rates(gpu(name, 24.0))
    assert isinstance(found.get(BANDWIDTH), Known) == _of_24(name)


def _of_24(name: str) -> bool:
    device = devices.catalog().get(devices.normalized(name))
    if device is None or device.bandwidth is None:
        return False
    return not device.memory_gb or any(0.85 <= 24 / size <= 1.06 for size in device.memory_gb)
