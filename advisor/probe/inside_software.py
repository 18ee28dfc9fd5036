"""Runs in the target interpreter: what is installed there, and what torch says of the devices.

Two paths on the command line: the request (empty) and the answer, both JSON. Only torch is imported; everything else is
read from package metadata and, for transformers, from its source text: importing it costs seconds. What was read is
printed as a line of JSON before torch is imported, so that a torch that hangs or crashes does not take it along.

Answer: {"python", "system", "packages": {name: {"found", "version"}}, "torch_text", "transformers_text", "compiler",
"inductor_cache", "watched": {path: nanoseconds}} and, where torch is there, "torch": {...}. A torch that cannot be
imported ends the program.
"""

from __future__ import annotations  # The target may run an older Python than this program does.

import ast
import importlib.util
import json
import os
import platform
import shutil
import sys
import warnings
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = {
    "torch": ("torch", ()),
    "transformers": ("transformers", ()),
    "accelerate": ("accelerate", ()),
    "bitsandbytes": ("bitsandbytes", ()),
    "kernels": ("kernels", ()),
    "flash_attn": ("flash_attn", ("flash-attn",)),
    "flash_attn_3": ("flash_attn_interface", ("flash-attn-3",)),
    "gptqmodel": ("gptqmodel", ()),
    "torchao": ("torchao", ()),
    "quanto": ("optimum", ("optimum-quanto",)),
    "flash_attn_4": ("flash_attn", ("flash-attn-4",)),
    "hqq": ("hqq", ()),
    "compressed_tensors": ("compressed_tensors", ("compressed-tensors",)),
    "gguf": ("gguf", ()),
    "optimum": ("optimum", ()),
    "peft": ("peft", ()),
    "trl": ("trl", ()),
    "deepspeed": ("deepspeed", ()),
    "vllm": ("vllm", ()),
    "sglang": ("sglang", ()),
    "triton": ("triton", ("triton", "pytorch-triton", "pytorch-triton-rocm", "pytorch-triton-xpu", "triton-windows")),
}
"""For each package its module and the distributions it comes from, where they are named otherwise. Version 4 of flash
attention has the module of version 2 (transformers/utils/import_utils.py tells them apart by distribution, too)."""
LARGEST_SOURCE_BYTES = 4_000_000


def packages() -> dict[str, dict[str, Any]]:
    """{"found": both module and metadata are there, "version"}; torch counts without metadata (a source checkout)."""
    answer = {}
    for name, (module, distributions) in PACKAGES.items():
        stated = next(filter(None, map(version, distributions or (module,))), None)
        there = folder(module) is not None and (stated is not None or name == "torch")
        answer[name] = {"found": there, "version": stated if there else None}
    return answer


def version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def folder(package: str) -> Path | None:
    """Where a package's modules are, found without importing it."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    # A namespace package (optimum may be one) has folders and no file of its own.
    places = [found.origin] if found.origin else list(found.submodule_search_locations or ())
    return Path(places[0]).parent if places else None


def tree(path: Path) -> ast.Module | None:
    """The syntax of a source file; None where it cannot be read."""
    try:
        if path.stat().st_size > LARGEST_SOURCE_BYTES:
            return None
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None


def constants(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Literals that a module assigns to `names` at its top level."""
    parsed = tree(path)
    found: dict[str, Any] = {}
    for node in parsed.body if parsed else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            target, value = node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            target, value = node.target.id, node.value
        else:
            continue
        if target in names:
            try:
                found[target] = ast.literal_eval(value)
            except ValueError:
                continue
    return found


def torch_text() -> dict[str, Any]:
    """What torch/version.py states of the build."""
    place = folder("torch")
    return constants(place / "version.py", ("__version__", "cuda", "hip", "xpu")) if place else {}


def transformers_text() -> dict[str, Any]:
    """What the installed source states: attention backends, the versions of `kernels` it accepts, its settings."""
    place = folder("transformers")
    if place is None:
        return {}
    names = ("KERNELS_MIN_VERSION", "KERNELS_MAX_VERSION")
    bounds = constants(place / "utils" / "import_utils.py", names)
    declared = constants(place / "dependency_versions_table.py", ("deps",)).get("deps", {}).get("kernels")
    return {
        "attention": attention(place / "modeling_utils.py"),
        "kernels_bounds": [bounds.get(name) for name in names],
        "kernels_declared": declared[len("kernels") :] if declared else None,
        "settings": beside("inside_library.py").settings(place),
    }


def beside(name: str) -> ModuleType:
    """The program `name` from this folder as a module, whatever the import path holds."""
    path = Path(__file__).resolve().with_name(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def attention(path: Path) -> list[str] | None:
    """Backends in the registry: `AttentionInterface._global_mapping`, in 4.48 to 4.50 `ALL_ATTENTION_FUNCTIONS`."""
    parsed = tree(path)
    for node in ast.walk(parsed) if parsed else ():
        if isinstance(node, ast.Assign) and is_name(node.targets[0], "_global_mapping"):
            found = node.value
        elif isinstance(node, ast.Call) and is_update(node.func, "ALL_ATTENTION_FUNCTIONS") and node.args:
            found = node.args[0]
        else:
            continue
        if isinstance(found, ast.Dict):
            return texts(found.keys)
    return None


def is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def is_update(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "update" and is_name(node.value, name)


def texts(nodes: list[Any]) -> list[str]:
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def watched() -> dict[str, int]:
    """Age in nanoseconds of every file and folder that the answer was read from, by path.

    A folder of packages changes with each one that comes or goes; a source checkout with its own version file.
    """
    places = {Path(sys.executable), Path(sys.prefix) / "pyvenv.cfg", *(Path(entry) for entry in sys.path if entry)}
    for module, _ in PACKAGES.values():
        found = folder(module)
        places |= {found, found / "__init__.py", found / "version.py"} if found else set()
    return {str(place): place.stat().st_mtime_ns for place in sorted(places) if place.exists()}


def compiler() -> bool:
    """Whether Inductor would find a C++ compiler: torch/_inductor/config.py (`cpp.cxx`) and cpp_builder.py."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX", usual)) is not None


def torch_says() -> dict[str, Any]:
    """What torch finds; importing it takes a second or two, more when its files are not in the page cache."""
    import torch

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        kind = accelerator(torch)
    return {
        "version": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "accelerator": kind,
        "warnings": [str(warning.message) for warning in warned],
        "bf16": bf16(torch, kind) if kind else None,
        "devices": devices(torch, kind) if kind else [],
    }


def accelerator(torch: Any) -> str | None:
    """cuda (also for ROCm), xpu or mps: the first that torch can use."""
    if torch.cuda.is_available():
        return "cuda"
    if getattr(torch, "xpu", None) is not None and torch.xpu.is_available():
        return "xpu"
    mps = getattr(torch.backends, "mps", None)
    return "mps" if mps is not None and mps.is_available() else None


def bf16(torch: Any, kind: str) -> bool | None:
    """Whether the first device computes in bf16 itself; newer torch answers yes for emulation too unless asked."""
    if kind == "mps":
        newer = getattr(torch.backends.mps, "is_macos_or_newer", None)
        return bool(newer(14, 0)) if newer else None
    if kind == "xpu":
        return bool(torch.xpu.is_bf16_supported()) if hasattr(torch.xpu, "is_bf16_supported") else None
    return bool(torch.version.hip) or torch.cuda.get_device_capability(0)[0] >= 8


def devices(torch: Any, kind: str) -> list[dict[str, Any]]:
    """The devices in torch's order; what this version of torch does not tell is null."""
    if kind == "mps":
        ask = getattr(torch.mps, "recommended_max_memory", None)
        return [{"memory_bytes": int(ask()) if ask else None, "integrated": True}]
    side = getattr(torch, kind)
    is_cuda = kind == "cuda" and not torch.version.hip
    return [device(side.get_device_properties(index), is_cuda) for index in range(side.device_count())]


def device(found: Any, is_cuda: bool) -> dict[str, Any]:
    """One device; the memory is what programs can have."""
    uuid = getattr(found, "uuid", None)
    domain, bus, slot = (getattr(found, f"pci_{part}_id", None) for part in ("domain", "bus", "device"))
    return {
        "uuid": str(uuid) if uuid is not None else None,
        "pci": None if domain is None or bus is None or slot is None else f"{domain:04x}:{bus:02x}:{slot:02x}",
        "name": str(found.name),
        "memory_bytes": int(found.total_memory),
        "capability": float(f"{found.major}.{found.minor}") if is_cuda else None,
        "integrated": bool(found.is_integrated) if hasattr(found, "is_integrated") else None,
    }


def main(path: str) -> None:
    answer: dict[str, Any] = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "system": f"{sys.platform} {platform.machine()}",
        "packages": packages(),
        "torch_text": torch_text(),
        "transformers_text": transformers_text(),
        "compiler": compiler(),
        "inductor_cache": bool(os.environ.get("TORCHINDUCTOR_CACHE_DIR")),
    }
    print(json.dumps(answer), flush=True)
    if answer["packages"]["torch"]["found"]:
        answer["torch"] = torch_says()
    answer["watched"] = watched()
    whole = Path(path + ".part")
    whole.write_text(json.dumps(answer), encoding="utf-8")
    whole.replace(path)


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if str(Path(entry or ".").resolve()) != here]
    main(sys.argv[2])
