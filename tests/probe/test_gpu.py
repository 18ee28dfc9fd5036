"""The accelerators: NVML's answers, the PCI bus and torch's word become facts. Answers are written by hand here."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.facts import Facts, Known, Unknown, fits, plain_name
from advisor.probe import display_bus, gpu, inside_gpu, nvidia, visible
from advisor.probe.display_bus import Bus, BusDevice
from advisor.probe.gpu import Seen, Told
from advisor.probe.software import TorchDevice
from advisor.vocabulary import GPU

MIB, GIB = 2**20, 2**30
NOWHERE: dict[str, str] = {}
EMPTY_BUS = Bus(readable=True)


def row(index: int, name: str = "NVIDIA A100-SXM4-80GB", **changes: Any) -> dict[str, Any]:
    """One device as `inside_gpu` answers it; the figures are those of an A100 of 80 GB with 1 GiB in use."""
    return {
        "index": index,
        "uuid": f"GPU-{index}a5c0000-1111-2222-3333-444455556666",
        "name": name,
        "pci": f"00000000:{index + 59:02X}:00.0",
        "memory": {"total": 81920 * MIB, "free": 80028 * MIB, "reserved": 868 * MIB},
        "capability": [8, 0],
        "bus_width_bits": 5120,
        "memory_clock_mhz": 1593,
        "utilization_percent": 3,
        "mig": None,
        "instances": [],
        "missing": {"mig": "Not Supported"},
    } | changes


def nvml(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"driver": "570.172.08", "cuda": 12080, "devices": list(rows)}


def seen(*rows: dict[str, Any], bus: Bus = EMPTY_BUS, system: str = "linux") -> Seen:
    return Seen(nvidia.read(nvml(*rows)), bus, system)


def silent(code: int | None, text: str = "odd", bus: Bus = EMPTY_BUS, system: str = "linux") -> Seen:
    return Seen(nvidia.read({"error": {"code": code, "text": text}}), bus, system)


def names(facts: Facts) -> list[str | None]:
    """UUID-free identity of each numbered device: the driver's index."""
    return [str(facts.value(f"gpu.{index}.index")) for index in range(facts.count("gpu.count") or 0)]


def test_one_device() -> None:
    facts = gpu.facts(seen(row(0)), Told(), NOWHERE)
    assert facts.value("gpu.count") == 1
    assert facts.value("gpu.name") == "NVIDIA A100-SXM4-80GB"
    assert facts.value("gpu.vendor") == "nvidia"
    assert facts.value("gpu.capability") == 8.0
    assert facts.value("gpu.memory_total_bytes") == 81052 * MIB, "what the driver keeps is nobody's"
    assert facts.value("gpu.memory_free_bytes") == 80028 * MIB
    assert facts.value("gpu.memory_others_bytes") == 1024 * MIB
    assert facts.value("gpu.bandwidth_bytes_per_second") == 2039.04e9
    assert facts.value("gpu.driver") == "570.172.08"
    assert facts.value("gpu.driver_cuda") == "12.8"
    assert facts.value("gpu.mig") is False
    assert facts.value("gpu.utilization_percent") == 3
    assert facts.under("gpu.0").value("gpu.0.memory_total_bytes") == 81052 * MIB


@pytest.mark.parametrize(
    "found",
    [
        seen(row(0), row(1)),
        seen(row(0, memory=None, capability=None, bus_width_bits=None, name=None)),
        seen(row(0, mig=True, instances=[{"name": "slice", "uuid": "MIG-1", "memory": None, "missing": {}}])),
        seen({"index": 0, "missing": {"handle": "GPU is lost"}}),
        silent(12),
        silent(18),
        silent(9, bus=Bus(True, (BusDevice("amd", False, "0000:03:00", None, 16 * GIB, 1 * GIB, 5),))),
        silent(12, bus=Bus(True, (BusDevice("intel", False, "0000:03:00"),))),
    ],
    ids=["two", "tells little", "sliced", "lost", "none", "broken", "amd", "intel"],
)
def test_every_fact_has_a_word_of_its_kind(found: Seen) -> None:
    facts = gpu.facts(found, Told(), NOWHERE)
    assert {plain_name(name) for name in facts} == set(gpu.NAMES)
    declared = {declaration.name: declaration for declaration in GPU}
    for name in facts:
        match facts.get(name):
            case Known(value):
                assert fits(value, declared[plain_name(name)]), name
            case Unknown(reason):
                assert reason, name


def test_memories_are_never_summed() -> None:
    facts = gpu.facts(seen(row(0), row(1)), Told(), NOWHERE)
    assert facts.value("gpu.count") == 2
    assert facts.value("gpu.memory_free_bytes") == 80028 * MIB


# --- what programs may use -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "indices"),
    [
        ("2", ["2"]),
        ("1,0", ["1", "0"]),
        (" 2 , 1 ", ["2", "1"]),
        ("GPU-1a5c", ["1"]),
        ("GPU-2A5C0000-1111-2222-3333-444455556666,0", ["2", "0"]),
        ("0,7,1", ["0"]),
        ("0,-1,1", ["0"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,0", []),
        ("GPU-", []),
        ("²", []),
    ],
)
def test_the_variable_chooses_and_orders(value: str, indices: list[str]) -> None:
    facts = gpu.facts(seen(row(0), row(1), row(2)), Told(), {"CUDA_VISIBLE_DEVICES": value})
    assert facts.value("gpu.count") == len(indices)
    assert names(facts) == indices
    if indices:
        assert str(facts.value("gpu.index")) == indices[0]
    else:
        assert facts.get("gpu.name") == Unknown("CUDA_VISIBLE_DEVICES hides every GPU")


def test_a_shortened_uuid_that_names_two_devices_names_none() -> None:
    rows = (row(0, uuid="GPU-aa11"), row(1, uuid="GPU-aa22"))
    assert gpu.facts(seen(*rows), Told(), {"CUDA_VISIBLE_DEVICES": "GPU-aa"}).value("gpu.count") == 0


@given(st.text(max_size=40))
def test_no_text_of_the_variable_breaks_the_probe(value: str) -> None:
    listed = [visible.Listed(index, f"{index}f", None, "A") for index in range(3)]
    chosen = visible.by_variable(listed, value)
    assert set(chosen) <= set(listed)
    assert len(set(chosen)) == len(chosen)


def test_torchs_own_list_decides_by_uuid() -> None:
    told = Told("cuda", (TorchDevice("A", uuid="1a5c0000-1111-2222-3333-444455556666"),))
    facts = gpu.facts(seen(row(0), row(1)), told, {"CUDA_VISIBLE_DEVICES": "0"})
    assert names(facts) == ["1"]
    assert facts.get("gpu.count") == Known(1, "torch")


def test_torchs_own_list_decides_by_pci_address() -> None:
    told = Told("cuda", (TorchDevice("A", pci="0000:3c:00"), TorchDevice("A", pci="0000:3b:00")))
    assert names(gpu.facts(seen(row(0), row(1)), told, NOWHERE)) == ["1", "0"]


def test_an_old_torch_is_joined_where_there_is_no_doubt() -> None:
    one = gpu.facts(seen(row(0)), Told("cuda", (TorchDevice("A"),)), NOWHERE)
    assert names(one) == ["0"]
    rows = (TorchDevice("T4"), TorchDevice("A"))
    assert names(gpu.facts(seen(row(0, "A"), row(1, "T4")), Told("cuda", rows), NOWHERE)) == ["1", "0"]


def test_an_old_torch_is_not_joined_by_guessing() -> None:
    rows = (TorchDevice("A"), TorchDevice("A"), TorchDevice("T4"))
    facts = gpu.facts(seen(row(0, "A"), row(1, "T4"), row(2, "A")), Told("cuda", rows), NOWHERE)
    assert names(facts) == ["None", "None", "1"]
    assert facts.value("gpu.name") == "A"
    assert facts.get("gpu.memory_free_bytes") == Unknown("torch and the driver name their devices in different ways")


def test_old_torch_and_devices_all_alike_keep_the_drivers_order() -> None:
    told = Told("cuda", (TorchDevice("A"), TorchDevice("A")))
    assert names(gpu.facts(seen(row(0), row(1)), told, NOWHERE)) == ["0", "1"]
    assert names(gpu.facts(seen(row(0), row(1), row(2)), told, {"CUDA_VISIBLE_DEVICES": "2,0"})) == ["2", "0"]


def test_different_devices_without_torch_leave_the_first_open() -> None:
    both = seen(row(0, "Tesla T4"), row(1))
    open_ = gpu.facts(both, Told(), NOWHERE)
    assert open_.value("gpu.count") == 2
    assert open_.value("gpu.0.name") == "Tesla T4"
    match open_.get("gpu.name"):
        case Unknown(reason):
            assert "CUDA_DEVICE_ORDER" in reason
        case known:
            pytest.fail(f"{known}")
    settled = gpu.facts(both, Told(), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert settled.value("gpu.name") == "Tesla T4"


def test_a_cpu_build_of_torch_does_not_hide_the_card() -> None:
    facts = gpu.facts(seen(row(0)), Told("cpu", ()), NOWHERE)
    assert facts.value("gpu.count") == 1


# --- MIG -------------------------------------------------------------------------------------------------------------


def sliced(index: int = 0) -> dict[str, Any]:
    part = {"total": 10 * GIB, "free": 9 * GIB, "reserved": 0}
    slices = [
        {"name": "NVIDIA A100 MIG 1g.10gb", "uuid": f"MIG-{number}e", "memory": part, "missing": {}}
        for number in range(3)
    ]
    return row(index, mig=True, instances=slices, utilization_percent=None, missing={"utilization_percent": "No"})


def test_one_slice_is_used_and_has_no_known_bandwidth() -> None:
    facts = gpu.facts(seen(sliced(), row(1)), Told(), NOWHERE)
    assert facts.value("gpu.count") == 1
    assert facts.value("gpu.mig") is True
    assert facts.value("gpu.memory_total_bytes") == 10 * GIB
    assert facts.get("gpu.bandwidth_bytes_per_second") == Unknown(
        "a MIG slice has an unknown share of the card's bandwidth"
    )
    assert facts.get("gpu.utilization_percent") == Unknown("the driver does not tell: No")


def test_a_slice_is_found_by_its_uuid() -> None:
    chosen = gpu.facts(seen(sliced()), Told(), {"CUDA_VISIBLE_DEVICES": "MIG-2e"})
    assert chosen.value("gpu.count") == 1
    told = gpu.facts(seen(sliced()), Told("cuda", (TorchDevice("A", uuid="1e"),)), NOWHERE)
    assert told.value("gpu.name") == "NVIDIA A100 MIG 1g.10gb"


def test_a_partitioned_device_without_slices_cannot_be_used() -> None:
    facts = gpu.facts(seen(row(0, mig=True)), Told(), NOWHERE)
    assert facts.get("gpu.count") == Unknown(
        "every GPU is partitioned (MIG) and has no slice yet: create one with nvidia-smi mig"
    )
    assert gpu.facts(seen(row(0, mig=True), row(1)), Told(), NOWHERE).value("gpu.index") == 1


# --- drivers that do not answer --------------------------------------------------------------------------------------

CARD = Bus(True, (BusDevice("nvidia", False, "0000:3b:00"),))


def test_no_driver_and_nothing_on_the_bus_is_no_gpu() -> None:
    for code in (nvidia.NO_LIBRARY, nvidia.NOT_LOADED):
        facts = gpu.facts(silent(code), Told(), NOWHERE)
        assert facts.get("gpu.count") == Known(0, "drivers")
        assert facts.get("gpu.name") == Unknown("no GPU found")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (silent(18), "the driver's kernel module and library are of different versions"),
        (silent(18, bus=CARD), "the driver's kernel module and library are of different versions"),
        (silent(999), "the driver fails without saying why"),
        (silent(77, "something at /dev/nvidia0"), "the driver fails: something at (path)"),
        (silent(None, "nvidia-ml-py cannot be imported"), "the driver fails: nvidia-ml-py cannot be imported"),
        (silent(12, bus=CARD), "an NVIDIA GPU is in the machine, but no NVIDIA driver is installed"),
        (silent(9, bus=CARD), "an NVIDIA GPU is in the machine, but the driver's kernel module is not loaded"),
        (silent(12, bus=Bus(False), system="win32"), "no NVIDIA driver answers, and other GPUs cannot be looked for"),
        (silent(12, bus=Bus(False, adapter=True)), "the GPU that Windows shares has no driver library here"),
    ],
)
def test_what_is_not_known_is_not_zero(found: Seen, reason: str) -> None:
    for told in (Told(), Told("cpu", ())):
        facts = gpu.facts(found, told, NOWHERE)
        for name in gpu.NAMES:
            match facts.get(name):
                case Unknown(text):
                    assert text.startswith(reason)
                case known:
                    pytest.fail(f"{name}: {known}")


def test_torch_works_where_the_drivers_library_does_not() -> None:
    told = Told("cuda", (TorchDevice("GB10", "5a", None, 100 * GIB, 12.1, integrated=True),), 60 * GIB)
    facts = gpu.facts(silent(12), told, NOWHERE)
    assert facts.value("gpu.name") == "GB10"
    assert facts.value("gpu.capability") == 12.1
    assert facts.value("gpu.memory_total_bytes") == 100 * GIB
    assert facts.get("gpu.memory_free_bytes") == Known(60 * GIB, "shared with the host")
    assert facts.get("gpu.driver") == Unknown("no NVIDIA driver is installed")


def test_unified_memory_that_nvml_does_not_tell_comes_from_torch() -> None:
    device = row(0, "NVIDIA GB10", memory=None, bus_width_bits=None, missing={"memory": "Not Supported"})
    told = Told("cuda", (TorchDevice("NVIDIA GB10", None, "0000:3b:00", 119 * GIB, 12.1, True),), 90 * GIB)
    facts = gpu.facts(seen(device), told, NOWHERE)
    assert facts.value("gpu.memory_total_bytes") == 119 * GIB
    assert facts.value("gpu.memory_free_bytes") == 90 * GIB
    alone = gpu.facts(seen(device), Told(), NOWHERE)
    assert alone.get("gpu.memory_free_bytes") == Unknown("the driver does not tell: Not Supported")


def test_an_old_driver_counts_its_own_share_with_the_others() -> None:
    device = row(0, memory={"total": 16 * GIB, "free": 15 * GIB, "reserved": 0})
    fact = gpu.facts(seen(device), Told(), NOWHERE).get("gpu.memory_others_bytes")
    assert fact == Known(GIB, "nvml, with the driver's own share")


@pytest.mark.parametrize(
    ("driver", "fact"),
    [
        ("570.172.08", Known("570.172.08", "nvml")),
        ("535.154.05-grid", Unknown("no version that can be compared: 535.154.05-grid")),
        (None, Unknown("the driver does not tell")),
        ("", Unknown("the driver does not tell")),
    ],
)
def test_a_driver_version_can_be_compared_or_is_unknown(driver: str | None, fact: Known | Unknown) -> None:
    found = Seen(nvidia.read(nvml(row(0)) | {"driver": driver}), EMPTY_BUS, "linux")
    assert gpu.facts(found, Told(), NOWHERE).get("gpu.driver") == fact


# --- other makers ----------------------------------------------------------------------------------------------------


def amd(slot: str, total: int, used: int, integrated: bool = False, name: str | None = None) -> BusDevice:
    return BusDevice("amd", integrated, slot, name, total, used, 7)


def test_an_amd_card_by_its_files() -> None:
    bus = Bus(True, (amd("0000:0c:00", GIB // 2, 1, integrated=True), amd("0000:03:00", 24 * GIB, 2 * GIB)))
    facts = gpu.facts(silent(12, bus=bus), Told(), NOWHERE)
    assert facts.value("gpu.count") == 1, "integrated graphics are no second card"
    assert facts.value("gpu.vendor") == "amd"
    assert facts.value("gpu.memory_free_bytes") == 22 * GIB
    assert facts.get("gpu.capability") == Unknown("an AMD GPU has none")


def test_amd_cards_as_torch_orders_them() -> None:
    bus = Bus(True, (amd("0000:03:00", 24 * GIB, 0), amd("0000:83:00", 48 * GIB, 0)))
    rows = (TorchDevice("W7900", pci="0000:83:00"), TorchDevice("RX 7900 XTX", pci="0000:03:00"))
    facts = gpu.facts(silent(12, bus=bus), Told("rocm", rows), NOWHERE)
    assert facts.value("gpu.name") == "W7900"
    assert facts.value("gpu.memory_total_bytes") == 48 * GIB
    assert names(facts) == ["1", "0"]


def test_torchs_integrated_device_does_not_count_beside_a_card() -> None:
    rows = (TorchDevice("card", integrated=False), TorchDevice("APU", integrated=True))
    assert gpu.facts(silent(12), Told("rocm", rows), NOWHERE).value("gpu.count") == 1
    assert gpu.facts(silent(12), Told("rocm", rows[1:]), NOWHERE).value("gpu.count") == 1


def test_integrated_graphics_beside_an_nvidia_card_do_not_count() -> None:
    bus = Bus(True, (BusDevice("intel", True, "0000:00:02"), BusDevice("nvidia", False, "0000:3b:00")))
    facts = gpu.facts(seen(row(0), bus=bus), Told(), NOWHERE)
    assert facts.value("gpu.count") == 1
    assert gpu.facts(silent(12, bus=Bus(True, bus.devices[:1])), Told(), NOWHERE).value("gpu.count") == 0


def test_a_mac() -> None:
    told = Told("mps", (TorchDevice(memory_bytes=24 * GIB, integrated=True),), 20 * GIB)
    found = gpu.facts(silent(12, bus=Bus(False), system="darwin"), told, NOWHERE)
    facts = gpu.with_name(found, "Apple M3 Pro")
    assert facts.value("gpu.vendor") == "apple"
    assert facts.value("gpu.name") == "Apple M3 Pro"
    assert facts.value("gpu.memory_total_bytes") == 24 * GIB
    assert facts.value("gpu.memory_free_bytes") == 20 * GIB
    assert gpu.with_name(gpu.facts(seen(row(0)), Told(), NOWHERE), "EPYC").value("gpu.name") == row(0)["name"]


def test_an_intel_card_without_torch_is_there_and_tells_nothing() -> None:
    facts = gpu.facts(silent(12, bus=Bus(True, (BusDevice("intel", False, "0000:03:00"),))), Told(), NOWHERE)
    assert facts.value("gpu.count") == 1
    assert facts.value("gpu.vendor") == "intel"
    assert facts.get("gpu.memory_total_bytes") == Unknown("only a torch built for xpu tells")


# --- the bus ---------------------------------------------------------------------------------------------------------


def device_files(root: Path, slot: str, vendor: str, kind: str = "0x030000", **files: str) -> None:
    place = root / "sys/bus/pci/devices" / slot
    place.mkdir(parents=True)
    for name, text in {"vendor": vendor, "class": kind, **files}.items():
        (place / name).write_text(text + "\n")


def test_the_bus_as_linux_lists_it(tmp_path: Path) -> None:
    device_files(tmp_path, "0000:00:02.0", "0x8086")
    device_files(tmp_path, "0000:03:00.0", "0x1002", mem_info_vram_total=str(16 * GIB), mem_info_vram_used="5",
                 gpu_busy_percent="12", product_name="")  # fmt: skip
    device_files(tmp_path, "0000:0c:00.0", "0x1002", mem_info_vram_total=str(512 * MIB), mem_info_vram_used="x")
    device_files(tmp_path, "0000:3b:00.0", "0x10de", "0x030200")
    device_files(tmp_path, "0000:3b:00.1", "0x10de", "0x040300")
    device_files(tmp_path, "0000:44:00.0", "0x1af4")
    bus = display_bus.look(tmp_path)
    assert bus.readable
    assert bus.cards("intel") == ()
    assert bus.cards("amd") == (BusDevice("amd", False, "0000:03:00", None, 16 * GIB, 5, 12),)
    assert bus.cards("nvidia") == (BusDevice("nvidia", False, "0000:3b:00"),)
    assert len(bus.devices) == 4


def test_a_system_without_the_list_is_no_machine_without_gpu(tmp_path: Path) -> None:
    assert display_bus.look(tmp_path) == Bus(False)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/dxg").write_text("")
    assert display_bus.look(tmp_path).adapter


# --- the child -------------------------------------------------------------------------------------------------------


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


def refuse(*_: Any, **__: Any) -> Any:
    raise NVMLError(3)


def bindings(**changes: Any) -> Any:
    """The few functions of pynvml that the child uses, for one T4; texts are bytes, as old bindings gave them."""
    memory = SimpleNamespace(total=15360 * MIB, free=14900 * MIB, reserved=258 * MIB)
    functions: dict[str, Any] = {
        "NVMLError": NVMLError, "NVML_DEVICE_MIG_ENABLE": 1, "NVML_CLOCK_MEM": 2, "nvmlMemory_v2": 0x02000028,
        "nvmlInit": lambda: None, "nvmlDeviceGetCount": lambda: 1,
        "nvmlSystemGetDriverVersion": lambda: b"570.172.08", "nvmlSystemGetCudaDriverVersion_v2": lambda: 12080,
        "nvmlDeviceGetHandleByIndex": lambda index: index, "nvmlDeviceGetMigMode": refuse,
        "nvmlDeviceGetUUID": lambda _: b"GPU-5a", "nvmlDeviceGetName": lambda _: b"Tesla T4",
        "nvmlDeviceGetMemoryInfo": lambda _, version=None: memory,
        "nvmlDeviceGetPciInfo": lambda _: SimpleNamespace(busId=b"00000000:00:1E.0"),
        "nvmlDeviceGetCudaComputeCapability": lambda _: (7, 5), "nvmlDeviceGetMemoryBusWidth": lambda _: 256,
        "nvmlDeviceGetMaxClockInfo": lambda _, __: 5001,
        "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=0),
    }  # fmt: skip
    return SimpleNamespace(**(functions | changes))


def survey(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    monkeypatch.setitem(sys.modules, "pynvml", bindings(**changes))
    answer: dict[str, Any] = json.loads(json.dumps(inside_gpu.survey()))
    return answer


def test_what_the_child_asks_becomes_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Seen(nvidia.read(survey(monkeypatch)), EMPTY_BUS, "linux")
    facts = gpu.facts(found, Told("cuda", (TorchDevice("Tesla T4", pci="0000:00:1e"),)), NOWHERE)
    assert facts.value("gpu.name") == "Tesla T4"
    assert facts.value("gpu.capability") == 7.5
    assert facts.value("gpu.memory_total_bytes") == 15102 * MIB
    assert facts.value("gpu.bandwidth_bytes_per_second") == 320.064e9
    assert facts.value("gpu.mig") is False
    assert facts.value("gpu.0.driver_cuda") == "12.8"


def test_a_reading_that_fails_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = survey(monkeypatch, nvmlDeviceGetUtilizationRates=refuse, nvmlDeviceGetMemoryBusWidth=refuse)
    facts = gpu.facts(Seen(nvidia.read(answer), EMPTY_BUS, "linux"), Told(), NOWHERE)
    assert facts.get("gpu.utilization_percent") == Unknown("the driver does not tell: error 3")
    assert facts.get("gpu.bandwidth_bytes_per_second") == Unknown("the driver does not tell: error 3")
    assert facts.value("gpu.memory_clock_mhz") == 5001


def test_the_child_hands_nvmls_number_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def mismatch() -> None:
        raise NVMLError(18)

    assert survey(monkeypatch, nvmlInit=mismatch) == {"error": {"code": 18, "text": "error 18"}}


def test_slices_are_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def part(_: Any, number: int) -> str:
        return f"slice {number}" if number == 1 else refuse()

    answer = survey(
        monkeypatch,
        nvmlDeviceGetMigMode=lambda _: [1, 1],
        nvmlDeviceGetMaxMigDeviceCount=lambda _: 3,
        nvmlDeviceGetMigDeviceHandleByIndex=part,
    )
    assert len(answer["devices"][0]["instances"]) == 1
    assert answer["devices"][0]["mig"] is True


def test_a_driver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "inside_gpu.py"
    program.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(gpu, "CHILD", program)
    found = gpu.look(0.5)
    assert isinstance(found.nvidia, nvidia.Silent)
    assert found.nvidia.reason == "the NVIDIA driver does not answer: no answer within 0 s"
    assert isinstance(gpu.facts(found, Told(), NOWHERE).get("gpu.count"), Unknown)


def test_the_child_runs_here(tmp_path: Path) -> None:
    """With or without a driver it answers, in the shape that `nvidia.read` takes."""
    answer = tmp_path / "answer.json"
    done = subprocess.run([sys.executable, inside_gpu.__file__, "request", str(answer)], check=False, timeout=30)
    assert done.returncode == 0
    found = json.loads(answer.read_text())
    assert set(found) in ({"error"}, {"driver", "cuda", "devices"})
    nvidia.read(found)
