"""The host, read from recorded text of the system."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.facts import Facts, Known, Unknown, from_json, to_json
from advisor.probe import host
from advisor.probe.cgroup import Limits
from advisor.rulebook import full_vocabulary
from advisor.vocabulary import HOST

GIB = 1024**3
# Recorded; the flags between are left out.
ZEN_4 = """\
processor	: 0
vendor_id	: AuthenticAMD
model name	: AMD EPYC
flags		: fpu vme sse2 ht avx f16c avx512f avx512dq avx512_bf16 clzero avx512vbmi avx512_vnni rdpid fsrm
bugs		: sysret_ss_attrs null_seg

processor	: 1
model name	: another
flags		: fpu
"""
# Written after the kernel's names for the flags.
SAPPHIRE_RAPIDS = """\
model name	: Intel(R) Xeon(R) Platinum 8480+
flags		: fpu avx512f avx512_bf16 avx512_vnni amx_bf16 avx512_fp16 amx_tile amx_int8
"""
GRANITE_RAPIDS = "model name	: Intel(R) Xeon(R) 6980P\nflags		: fpu avx512_bf16 amx_bf16 amx_fp16 amx_tile\n"
KABY_LAKE = "model name	: Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz\nflags		: fpu sse4_2 avx f16c avx2 fma\n"
GRAVITON_3 = """\
processor	: 0
BogoMIPS	: 2100.00
Features	: fp asimd aes crc32 atomics fphp asimdhp cpuid sve asimdfhm i8mm bf16
CPU implementer	: 0x41
CPU part	: 0xd40
"""
RASPBERRY_PI_4 = "Features	: fp asimd evtstrm crc32 cpuid\nCPU implementer	: 0x41\nCPU part	: 0xd08\n"
MEMORY = (
    "MemTotal:       24684084 kB\nMemFree:        21882428 kB\nMemAvailable:   23340876 kB\nHugePages_Total:       0\n"
)


def units(facts: Facts) -> dict[str, object]:
    names = ("host.avx512_bf16", "host.amx_bf16", "host.arm_bf16", "host.fp16_units")
    return {name.removeprefix("host."): facts.value(name) for name in names}


@pytest.mark.parametrize(
    ("text", "name", "there"),
    [
        (ZEN_4, "AMD EPYC", {"avx512_bf16"}),
        (SAPPHIRE_RAPIDS, "Intel(R) Xeon(R) Platinum 8480+", {"avx512_bf16", "amx_bf16", "fp16_units"}),
        (GRANITE_RAPIDS, "Intel(R) Xeon(R) 6980P", {"avx512_bf16", "amx_bf16", "fp16_units"}),
        (KABY_LAKE, "Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz", set()),
        (GRAVITON_3, "Arm implementer 0x41 part 0xd40", {"arm_bf16", "fp16_units"}),
        (RASPBERRY_PI_4, "Arm implementer 0x41 part 0xd08", set()),
    ],
)
def test_number_units_by_processor(text: str, name: str, there: set[str]) -> None:
    facts = host.from_cpuinfo(text)
    assert facts.text("host.cpu") == name
    assert units(facts) == {unit: unit in there for unit in ("avx512_bf16", "amx_bf16", "arm_bf16", "fp16_units")}


def test_a_processor_that_lists_nothing_is_unknown_not_without_units() -> None:
    facts = host.from_cpuinfo("processor : 0\nvendor_id : IBM/S390\n")
    assert set(units(facts).values()) == {None}
    assert facts.get("host.avx512_bf16") == Unknown("the system does not list the processor's features")
    assert isinstance(facts.get("host.cpu"), Unknown)


def test_a_mac() -> None:
    rows = {"machdep.cpu.brand_string": "Apple M2", "hw.optional.arm.FEAT_BF16": "1", "hw.optional.arm.FEAT_FP16": "1"}
    facts = host.from_sysctl(rows)
    assert facts.text("host.cpu") == "Apple M2"
    assert units(facts) == {"avx512_bf16": False, "amx_bf16": False, "arm_bf16": True, "fp16_units": True}
    first_generation = host.from_sysctl(rows | {"hw.optional.arm.FEAT_BF16": "0"})
    assert first_generation.value("host.arm_bf16") is False


def test_memory_of_the_machine() -> None:
    facts = host.memory(MEMORY, Limits())
    assert facts.get("host.ram_total_bytes") == Known(24684084 * 1024, "meminfo")
    assert facts.get("host.ram_available_bytes") == Known(23340876 * 1024, "meminfo")


def test_memory_of_the_group_where_it_is_less() -> None:
    facts = host.memory(MEMORY, Limits(None, 4 * GIB, 3 * GIB))
    assert facts.get("host.ram_total_bytes") == Known(4 * GIB, "cgroup limit")
    assert facts.get("host.ram_available_bytes") == Known(3 * GIB, "cgroup limit")
    roomy = host.memory(MEMORY, Limits(None, 64 * GIB, 60 * GIB))
    assert roomy == host.memory(MEMORY, Limits())


def test_memory_that_the_system_does_not_tell() -> None:
    facts = host.memory("MemTotal:  many kB\n", Limits(None, GIB, GIB))
    assert facts.get("host.ram_total_bytes") == Unknown("meminfo has no MemTotal")
    assert facts.get("host.ram_available_bytes") == Unknown("meminfo has no MemAvailable")


@pytest.mark.parametrize(
    ("quota", "usable"),
    [
        (None, Known(6, "affinity")),
        (12.0, Known(6, "affinity")),
        (2.9, Known(2, "cgroup quota")),
        (0.5, Known(1, "cgroup quota")),
    ],
)
def test_cores_by_affinity_and_quota(quota: float | None, usable: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    facts = host.cores(Limits(quota))
    assert facts.count("host.cores_total") == 8
    assert facts.get("host.cores_usable") == usable


OVERLAY = "600 500 0:99 / / rw,relatime - overlay overlay rw,lowerdir=x\n"
DISK = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
V2_TOP = "0::/\n"


@pytest.mark.parametrize(
    ("files", "inside"),
    [
        ({".dockerenv": "", "proc/self/mountinfo": DISK}, True),
        ({"run/.containerenv": "", "proc/self/mountinfo": DISK}, True),
        ({"run/systemd/container": "podman\n", "proc/self/mountinfo": DISK}, True),
        ({"run/systemd/container": "wsl\n", "proc/self/mountinfo": DISK, "proc/self/cgroup": V2_TOP}, False),
        ({"proc/self/cgroup": "4:memory:/kubepods/pod1/abc\n", "proc/self/mountinfo": DISK}, True),
        ({"proc/self/cgroup": V2_TOP, "proc/self/mountinfo": OVERLAY}, True),
        ({"proc/self/cgroup": "0::/user.slice/user-1000.slice\n", "proc/self/mountinfo": OVERLAY}, False),
        ({"proc/self/cgroup": V2_TOP, "proc/self/mountinfo": DISK}, False),
        ({}, None),
    ],
)
def test_container(files: dict[str, str], inside: bool | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert host.surroundings(tmp_path).value("host.container") is inside


@pytest.mark.parametrize(
    ("release", "wsl"),
    [("5.15.167.4-microsoft-standard-WSL2\n", True), ("6.8.0-45-generic\n", False), (None, None)],
)
def test_wsl(release: str | None, wsl: bool | None, tmp_path: Path) -> None:
    if release is not None:
        (tmp_path / "proc/sys/kernel").mkdir(parents=True)
        (tmp_path / "proc/sys/kernel/osrelease").write_text(release)
    assert host.surroundings(tmp_path).value("host.wsl") is wsl


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/c", "HF_HOME": "/b"}, "/c"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/d"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub"),
        ({"HF_HUB_CACHE": ""}, "~/.cache/huggingface/hub"),
    ],
)
def test_the_folder_of_the_model_cache(environment: dict[str, str], folder: str) -> None:
    assert host.cache_folder(environment) == Path(folder).expanduser()


def test_disk_of_a_folder_that_is_not_made_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def usage(place: Path) -> SimpleNamespace:
        seen.append(Path(place))
        return SimpleNamespace(free=12345)

    monkeypatch.setattr(host.shutil, "disk_usage", usage)
    facts = host.disk({"HF_HOME": str(tmp_path / "not" / "yet")})
    assert facts.get("host.disk_free_bytes") == Known(12345, "file system of the model cache")
    assert seen == [tmp_path]


def test_a_disk_that_cannot_be_read_is_unknown_and_names_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(place: Path) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr(host.shutil, "disk_usage", usage)
    fact = host.disk({"HF_HOME": str(tmp_path)}).get("host.disk_free_bytes")
    assert fact == Unknown("the model cache's disk cannot be read: Permission denied")


def test_this_machine_gives_every_fact_of_the_vocabulary() -> None:
    facts = host.look() | host.disk()
    assert set(facts) == {declaration.name for declaration in HOST}
    assert from_json(to_json(facts), full_vocabulary(), "here") == facts
    assert 1 <= (facts.count("host.cores_usable") or 0) <= (facts.count("host.cores_total") or 0)
    assert 0 < (facts.count("host.ram_available_bytes") or 0) <= (facts.count("host.ram_total_bytes") or 0)


def test_an_empty_system_gives_every_fact_unknown_or_counted(tmp_path: Path) -> None:
    facts = host.look(tmp_path, "linux")
    assert set(facts) == {declaration.name for declaration in HOST} - {"host.disk_free_bytes"}
    known = {name for name in facts if isinstance(facts.get(name), Known)}
    assert known == {"host.os", "host.cores_total", "host.cores_usable"}


def test_another_system_is_asked_through_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.platform, "processor", lambda: "AMD64 Family 25")
    facts = host.look(system="win32")
    assert set(facts) == {declaration.name for declaration in HOST} - {"host.disk_free_bytes"}
    assert (facts.text("host.os"), facts.text("host.cpu")) == ("windows", "AMD64 Family 25")
    assert isinstance(facts.get("host.avx512_bf16"), Unknown)
    assert (facts.count("host.ram_total_bytes") or 0) > 0


@given(st.text(alphabet=st.sampled_from("MemTotal: AvailbkB0123456789\nflagsFeatures²é\t"), max_size=200))
def test_no_text_breaks_the_parsers(text: str) -> None:
    facts = host.from_cpuinfo(text) | host.memory(text, Limits())
    assert from_json(to_json(facts), full_vocabulary(), "text") == facts
