"""Writes the machines that are known from datasheets alone: `python tests/machines/datasheets.py`.

The environment (Python, torch, transformers and their packages) is that of a100-80gb.json; the device and the host are
the maker's figures; nothing else runs there unless a row says so. Every fact has the source `datasheet`, and no file
says how fast such a machine is.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TEMPLATE = "a100-80gb"
GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """One kind of device: memory in GiB as programs see it, the bus in bits, the memory clock in MHz."""

    name: str
    capability: float
    memory: float
    bus: int
    clock: int
    count: int = 1
    free: float | None = None


@dataclass(frozen=True)
class Host:
    """Cores that can be used, memory in GiB, and the 16-bit units of the CPU."""

    cpu: str
    cores: int
    ram: float
    units: tuple[str, ...] = ()
    os: str = "linux"
    others: dict[str, Any] = field(default_factory=dict)


XEON = Host("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", 8, 31)
RYZEN = Host("AMD Ryzen 9 5950X 16-Core Processor", 16, 63)
SERVER = Host("Intel(R) Xeon(R) Platinum 8480+", 52, 1007, ("avx512_bf16", "amx_bf16", "fp16_units"))
WINDOWS = {"triton.installed": False, "compiler.found": False, "kernels.installed": False}

NVIDIA: dict[str, tuple[Gpu, Host]] = {
    "gtx-1080": (
        Gpu("NVIDIA GeForce GTX 1080", 6.1, 7.92, 256, 5005),
        # The builds for CUDA 12.8 have no kernels for Pascal.
        Host(
            "Intel(R) Core(TM) i7-7700K CPU @ 4.20GHz",
            8,
            31,
            others={"torch.version": "2.9.1+cu126", "torch.cuda": "12.6"},
        ),
    ),
    "v100-16gb": (
        Gpu("Tesla V100-SXM2-16GB", 7.0, 15.77, 4096, 877),
        Host("Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz", 8, 59),
    ),
    "rtx-2080-ti-windows": (
        Gpu("NVIDIA GeForce RTX 2080 Ti", 7.5, 10.76, 352, 7000, free=9.5),
        Host("AMD Ryzen 7 3700X 8-Core Processor", 16, 31, os="windows", others=WINDOWS),
    ),
    "rtx-3060-12gb": (Gpu("NVIDIA GeForce RTX 3060", 8.6, 11.76, 192, 7501, free=11.0), RYZEN),
    "rtx-3090": (Gpu("NVIDIA GeForce RTX 3090", 8.6, 23.68, 384, 9751), RYZEN),
    "a10g": (Gpu("NVIDIA A10G", 8.6, 22.06, 384, 6251), Host("AMD EPYC 7R32", 4, 15.5)),
    "l4": (Gpu("NVIDIA L4", 8.9, 22.03, 192, 6251), XEON),
    "l40s": (Gpu("NVIDIA L40S", 8.9, 44.52, 384, 9001), Host("AMD EPYC 7R13 Processor", 16, 124)),
    "rtx-4060-laptop": (
        Gpu("NVIDIA GeForce RTX 4060 Laptop GPU", 8.9, 7.75, 128, 8001, free=6.9),
        Host("13th Gen Intel(R) Core(TM) i7-13700H", 20, 15.6, os="windows", others=WINDOWS),
    ),
    "rtx-5090": (
        Gpu("NVIDIA GeForce RTX 5090", 12.0, 31.37, 512, 14001),
        Host("AMD Ryzen 9 9950X 16-Core Processor", 32, 124, ("avx512_bf16",)),
    ),
    "2x-rtx-4090": (
        Gpu("NVIDIA GeForce RTX 4090", 8.9, 23.64, 384, 10501, count=2),
        Host("AMD Ryzen Threadripper PRO 5975WX 32-Cores", 64, 251),
    ),
    "a100-40gb-shared": (
        Gpu("NVIDIA A100-SXM4-40GB", 8.0, 39.49, 5120, 1215, free=12.0),
        Host("AMD EPYC 7742 64-Core Processor", 16, 120, others={"flash_attn.installed": True}),
    ),
    "h100-flash-attention-3": (
        Gpu("NVIDIA H100 80GB HBM3", 9.0, 79.11, 5120, 2619),
        Host(
            SERVER.cpu,
            SERVER.cores,
            SERVER.ram,
            SERVER.units,
            others={"flash_attn_3.installed": True, "flash_attn.installed": True, "vllm.installed": True},
        ),
    ),
    "8x-h100": (Gpu("NVIDIA H100 80GB HBM3", 9.0, 79.11, 5120, 2619, count=8), SERVER),
    "h200": (Gpu("NVIDIA H200", 9.0, 139.81, 6144, 3201), SERVER),
    "b200": (Gpu("NVIDIA B200", 10.0, 178.35, 8192, 3996), SERVER),
}

VERSIONS = {"flash_attn": "2.8.3", "flash_attn_3": "3.0.0b1", "vllm": "0.20.0"}
PER_DEVICE = (
    *("bandwidth_bytes_per_second", "bus_width_bits", "capability", "driver", "driver_cuda", "index"),
    *("memory_clock_mhz", "memory_free_bytes", "memory_others_bytes", "memory_total_bytes", "mig", "name"),
    *("utilization_percent", "vendor"),
)


def template() -> dict[str, Any]:
    """The environment: every fact of the template that is about neither the GPU nor the host."""
    facts = json.loads((HERE / f"{TEMPLATE}.json").read_text(encoding="utf-8"))["facts"]
    return {name: entry for name, entry in facts.items() if not name.startswith(("gpu.", "host."))}


def known(value: Any) -> dict[str, Any]:
    return {"value": value, "source": "datasheet"}


def unknown(reason: str) -> dict[str, str]:
    return {"unknown": reason}


def host(found: Host) -> dict[str, Any]:
    ram = round(found.ram * GIB)
    units = {f"host.{unit}": known(unit in found.units) for unit in ("avx512_bf16", "amx_bf16", "arm_bf16")}
    facts = {
        "host.cpu": known(found.cpu),
        "host.os": known(found.os),
        "host.cores_total": known(found.cores),
        "host.cores_usable": known(found.cores),
        "host.ram_total_bytes": known(ram),
        "host.ram_available_bytes": known(round(0.88 * ram)),
        "host.fp16_units": known("fp16_units" in found.units),
        "host.disk_free_bytes": known(200 * GIB),
        "host.container": known(False),
        "host.wsl": known(False),
        "torch.threads": known(max(1, found.cores // 2)),
    }
    return facts | units | environment(found.others)


def environment(others: dict[str, Any]) -> dict[str, Any]:
    """Packages that this machine has and the template lacks, or the other way round."""
    facts: dict[str, Any] = {name: known(value) for name, value in others.items()}
    for name, value in others.items():
        package, _, what = name.partition(".")
        if what == "installed":
            version = known(VERSIONS[package]) if value else unknown("not installed")
            facts[f"{package}.version"] = version
    if others.get("kernels.installed") is False:
        facts["kernels.accepted"] = unknown("kernels is not installed")
    return facts


def nvidia(gpu: Gpu) -> dict[str, Any]:
    total = round(gpu.memory * GIB)
    free = total if gpu.free is None else round(gpu.free * GIB)
    values: dict[str, Any] = {
        "name": gpu.name,
        "vendor": "nvidia",
        "capability": gpu.capability,
        "memory_total_bytes": total,
        "memory_free_bytes": free,
        "memory_others_bytes": total - free,
        "bus_width_bits": gpu.bus,
        "memory_clock_mhz": gpu.clock,
        "bandwidth_bytes_per_second": gpu.bus / 8 * gpu.clock * 1e6 * 2,
        "driver": "570.172.08",
        "driver_cuda": "12.8",
        "utilization_percent": 0,
        "mig": False,
        "index": 0,
    }
    each = {
        f"gpu.{number}.{name}": known(number if name == "index" else value)
        for number in range(gpu.count)
        for name, value in values.items()
    }
    first = {f"gpu.{name}": known(value) for name, value in values.items()}
    return each | first | {"gpu.count": known(gpu.count), "torch.bf16": known(gpu.capability >= 8.0)}


def other_gpu(name: str, vendor: str, total: float, free: float | None, build: str) -> dict[str, Any]:
    """A device of another maker: torch and the driver tell its name and memory and little else."""
    told: dict[str, Any] = dict.fromkeys(PER_DEVICE, unknown("only torch knows this device, and it does not say"))
    told |= {"name": known(name), "vendor": known(vendor), "index": known(0)}
    told["memory_total_bytes"] = known(round(total * GIB))
    if free is not None:
        told["memory_free_bytes"] = known(round(free * GIB))
    facts = {f"gpu.{what}": entry for what, entry in told.items()}
    facts |= {f"gpu.0.{what}": entry for what, entry in told.items()}
    suffix = {"rocm": "+rocm6.4", "xpu": "+xpu"}.get(build, "")
    cuda = {"torch.cuda": unknown(f"torch is built for {build}"), "torch.build": known(build)}
    cuda["torch.version"] = known(f"2.9.1{suffix}")
    return facts | {"gpu.count": known(1), "torch.bf16": known(True), "torch.sees_gpu": known(True)} | cuda


def no_gpu() -> dict[str, Any]:
    facts = {f"gpu.{name}": unknown("no GPU found") for name in PER_DEVICE}
    none = unknown("torch finds no accelerator")
    cpu_build = {
        "torch.version": known("2.9.1+cpu"),
        "torch.build": known("cpu"),
        "torch.cuda": unknown("a cpu build of torch"),
        "torch.bf16": none,
    }
    lacking = {"triton.installed": known(False), "triton.version": unknown("not installed")}
    return facts | cpu_build | lacking | {"gpu.count": known(0), "torch.sees_gpu": known(False)}


def others() -> dict[str, dict[str, Any]]:
    """Machines without an NVIDIA GPU."""
    apple = Host("Apple M2 Max", 12, 64, ("arm_bf16", "fp16_units"), os="darwin")
    mac = {"triton.installed": known(False), "triton.version": unknown("not installed")}
    mac |= environment({"bitsandbytes.installed": False, "kernels.installed": False})
    amx = Host("Intel(R) Xeon(R) Platinum 8488C", 32, 247, ("avx512_bf16", "amx_bf16", "fp16_units"))
    arm = Host("Neoverse-V1", 16, 62, ("arm_bf16", "fp16_units"))
    return {
        "m2-max-64gb": other_gpu("Apple M2 Max", "apple", 48, 46, "mps") | host(apple) | mac,
        "mi300x": other_gpu("AMD Instinct MI300X", "amd", 191.98, 191.5, "rocm")
        | host(Host("AMD EPYC 9554 64-Core Processor", 128, 1511, ("avx512_bf16",))),
        "rx-7900-xtx": other_gpu("AMD Radeon RX 7900 XTX", "amd", 23.98, 23.2, "rocm") | host(RYZEN),
        "arc-b580": other_gpu("Intel(R) Arc(TM) B580 Graphics", "intel", 11.6, None, "xpu") | host(RYZEN),
        "xeon-amx": no_gpu() | host(amx),
        "graviton3": no_gpu() | host(arm),
    }


def machines() -> dict[str, dict[str, Any]]:
    """Every machine of this file by name, as the facts of its JSON."""
    found = {name: nvidia(gpu) | host(where) for name, (gpu, where) in NVIDIA.items()} | others()
    return {name: dict(sorted((template() | facts).items())) for name, facts in found.items()}


def text(facts: dict[str, Any]) -> str:
    return json.dumps({"schema": 1, "facts": facts}, indent=2) + "\n"


if __name__ == "__main__":
    for name, facts in machines().items():
        (HERE / f"{name}.json").write_text(text(facts), encoding="utf-8")
