"""The host: processor, cores and memory that this process may use, the disk under the model cache, container, WSL.

Everything is read from text that the system offers; the parsers take that text, so tests feed recorded files. No
fact holds a path, a user's or a host's name.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from advisor.facts import Fact, Facts, Known, Unknown
from advisor.probe import cgroup

ROOT = Path("/")
MEMORY_FIELDS = {"host.ram_total_bytes": "MemTotal", "host.ram_available_bytes": "MemAvailable"}
# Flags of /proc/cpuinfo on x86, as Linux names them in arch/x86/include/asm/cpufeatures.h.
X86_UNITS = {
    "host.avx512_bf16": {"avx512_bf16"},
    "host.amx_bf16": {"amx_bf16"},
    "host.fp16_units": {"avx512_fp16", "amx_fp16"},
}
# Arm: FEAT_FP16 is shown as asimdhp, FEAT_BF16 as bf16 (Linux, Documentation/arch/arm64/elf_hwcaps).
ARM_FP16, ARM_BF16 = "asimdhp", "bf16"
SYSCTL = ("machdep.cpu.brand_string", "hw.optional.arm.FEAT_BF16", "hw.optional.arm.FEAT_FP16")
SYSCTL_SECONDS = 5.0


def look(root: Path = ROOT, system: str = sys.platform) -> Facts:
    """All facts of the host but the disk."""
    name = {"linux": "linux", "win32": "windows", "darwin": "darwin"}.get(system)
    known: Fact = Known(name, "python") if name else Unknown(f"{system} is none of the systems known here")
    facts = Facts({"host.os": known})
    limits = cgroup.limits(root)
    if system == "linux":
        cpu = from_cpuinfo(_text(root / "proc/cpuinfo"))
        return facts | cpu | cores(limits) | memory(_text(root / "proc/meminfo"), limits) | surroundings(root)
    elsewhere: dict[str, Fact] = {
        "host.container": Unknown("not looked for on this system"),
        "host.wsl": Known(False, "python"),
    }
    cpu = from_sysctl(_sysctl()) if system == "darwin" else _cpu_of_python()
    return facts | cpu | cores(limits) | _memory_of_psutil() | Facts(elsewhere)


def disk(environment: Mapping[str, str] = os.environ) -> Facts:
    """Free disk where the Hub's models are cached: of the folder itself, or of the nearest one above that exists.

    On its own because a folder on a network can hang.
    """
    return Facts({"host.disk_free_bytes": _disk_free(cache_folder(environment))})


def from_cpuinfo(text: str) -> Facts:
    """Model and number units, from `/proc/cpuinfo` of x86 or Arm."""
    rows = _rows(text)
    name = rows.get("model name") or _arm_name(rows)
    cpu: Fact = Known(name, "cpuinfo") if name else Unknown("the system does not name the processor")
    return Facts({"host.cpu": cpu}) | _units(rows)


def _units(rows: Mapping[str, str]) -> Facts:
    if "flags" in rows:
        flags = set(rows["flags"].split())
        units: dict[str, Fact] = {name: Known(bool(flags & some), "cpuinfo") for name, some in X86_UNITS.items()}
        return Facts(units | {"host.arm_bf16": Known(False, "cpuinfo")})
    if "Features" in rows:
        features = set(rows["Features"].split())
        return _arm_units(ARM_BF16 in features, ARM_FP16 in features, "cpuinfo")
    names = (*X86_UNITS, "host.arm_bf16")
    return Facts(dict.fromkeys(names, Unknown("the system does not list the processor's features")))


def _arm_units(bf16: bool, fp16: bool, source: str) -> Facts:
    """An Arm processor has neither AVX-512 nor AMX."""
    return Facts(
        {
            "host.avx512_bf16": Known(False, source),
            "host.amx_bf16": Known(False, source),
            "host.arm_bf16": Known(bf16, source),
            "host.fp16_units": Known(fp16, source),
        }
    )


def _arm_name(rows: Mapping[str, str]) -> str | None:
    """Linux gives Arm processors by numbers only."""
    maker, part = rows.get("CPU implementer"), rows.get("CPU part")
    return f"Arm implementer {maker} part {part}" if maker and part else None


def _rows(text: str) -> dict[str, str]:
    """`name : value` lines; the first of each name counts."""
    rows: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            rows.setdefault(name.strip(), value.strip())
    return rows


def from_sysctl(rows: Mapping[str, str]) -> Facts:
    """Model and number units of a Mac; no Mac has AMX units that torch uses, or AVX512-BF16."""
    name = rows.get("machdep.cpu.brand_string")
    cpu: Fact = Known(name, "sysctl") if name else Unknown("the system does not name the processor")
    bf16, fp16 = rows.get("hw.optional.arm.FEAT_BF16") == "1", rows.get("hw.optional.arm.FEAT_FP16") == "1"
    return Facts({"host.cpu": cpu}) | _arm_units(bf16, fp16, "sysctl")


def _sysctl() -> dict[str, str]:
    """The rows that this system has; names that it does not know are left out."""
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", *SYSCTL], capture_output=True, text=True, timeout=SYSCTL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return _rows(done.stdout)


def _cpu_of_python() -> Facts:
    """Elsewhere Python knows at best the model."""
    name = platform.processor()
    return Facts({"host.cpu": Known(name, "python") if name else Unknown("the system does not name the processor")}) | (
        _units({})
    )


def cores(limits: cgroup.Limits) -> Facts:
    """Cores of the machine, and whole cores for this process: its affinity, cut by the groups' quota, at least one."""
    total = os.cpu_count()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    return Facts(
        {
            "host.cores_total": Known(total, "python") if total else Unknown("the system does not count its cores"),
            "host.cores_usable": _usable(allowed, limits.cores),
        }
    )


def _usable(allowed: int | None, quota: float | None) -> Fact:
    if allowed is None:
        return Unknown("the system does not count its cores")
    if quota is not None and quota < allowed:
        return Known(max(1, int(quota)), "cgroup quota")
    return Known(allowed, "affinity")


def memory(text: str, limits: cgroup.Limits) -> Facts:
    """Memory of the machine and what can be had now, from `/proc/meminfo` (KiB), each cut by the groups' limit."""
    rows = _rows(text)
    found: dict[str, Fact] = {}
    for name, field in MEMORY_FIELDS.items():
        words = rows.get(field, "").split()
        known = words[:1] and words[0].isascii() and words[0].isdigit()
        limit = limits.memory_bytes if field == "MemTotal" else limits.memory_left_bytes
        found[name] = _cut(int(words[0]) * 1024, limit) if known else Unknown(f"meminfo has no {field}")
    return Facts(found)


def _cut(machine: int, limit: int | None) -> Fact:
    return Known(limit, "cgroup limit") if limit is not None and limit < machine else Known(machine, "meminfo")


def _memory_of_psutil() -> Facts:
    import psutil

    memory = psutil.virtual_memory()
    return Facts(
        {
            "host.ram_total_bytes": Known(memory.total, "psutil"),
            "host.ram_available_bytes": Known(memory.available, "psutil"),
        }
    )


def surroundings(root: Path) -> Facts:
    """Container and WSL, by the marks that the engines and the kernel leave."""
    release = _text(root / "proc/sys/kernel/osrelease").lower()
    return Facts(
        {
            "host.container": _container(root),
            "host.wsl": Known("microsoft" in release, "kernel release") if release else Unknown("no kernel release"),
        }
    )


def _container(root: Path) -> Fact:
    """Docker and Podman leave a file, systemd another, which also names WSL; elsewhere groups and mounts tell."""
    kind = _text(root / "run/systemd/container").strip()
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists() or kind not in ("", "wsl"):
        return Known(True, "container mark")
    own = _text(root / "proc/self/cgroup")
    if any(word in own for word in ("/docker", "/kubepods", "/containerd", "/lxc", "/libpod", "/crio")):
        return Known(True, "cgroup names")
    mounted = next((line for line in _text(root / "proc/self/mountinfo").splitlines() if " / / " in line), "")
    # Image-based systems have an overlay as root too, but their programs run in a group of their own.
    alone = cgroup.own_groups(own).get("") == "/"
    return Known(alone and " - overlay " in mounted, "root file system") if mounted else Unknown("no list of mounts")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps models (its documentation, "Environment variables")."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name):
            return Path(environment[name]).expanduser()
    if environment.get("HF_HOME"):
        return Path(environment["HF_HOME"]).expanduser() / "hub"
    caches = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "huggingface" / "hub"


def _disk_free(folder: Path) -> Fact:
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
        return Known(shutil.disk_usage(there).free, "file system of the model cache")
    except (OSError, RuntimeError, StopIteration) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such folder"
        return Unknown(f"the model cache's disk cannot be read: {reason}")


def _text(path: Path) -> str:
    """The file's text; empty where there is none or it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
