"""The libraries of the target environment, asked in a child process of its interpreter.

Versions and presence are read from files; torch alone is imported, with a time limit. What was read before torch
failed or hung is kept.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from advisor import child
from advisor.facts import Fact, Facts, Known, Unknown
from advisor.probe.privacy import without_places
from advisor.vocabulary import SOFTWARE

PROGRAM = Path(__file__).with_name("inside_software.py")
FILES, METADATA = "installed files", "package metadata"


@dataclass(frozen=True)
class TorchDevice:
    """A device in torch's order; None for what this version of torch does not tell. Sizes in bytes."""

    name: str | None = None
    total: int | None = None
    free: int | None = None
    uuid: str | None = None
    capability: tuple[int, int] | None = None
    integrated: bool = False


@dataclass(frozen=True)
class Torch:
    """What torch said when it was imported: the kind of accelerator, its devices, and the processor's units."""

    build: str | None
    kind: str | None
    devices: tuple[TorchDevice, ...]
    units: Facts


@dataclass(frozen=True)
class Software:
    """The facts, and torch's own words, which settle what the drivers leave open; None where torch was not heard."""

    facts: Facts
    torch: Torch | None


def look(python: str, limit_seconds: float) -> Software:
    """Ask the environment of the interpreter `python`."""
    lines: list[dict[str, Any]] = []
    outcome = child.run(python, PROGRAM, {}, limit_seconds, heard=lines.append)
    read = next((line["read"] for line in lines if isinstance(line.get("read"), dict)), None)
    match outcome:
        case child.Answered(answer):
            return from_answers(read, answer.get("torch"), "torch is not installed")
        case child.Died(told):
            reason = without_places(told)
            return from_answers(read, None, f"importing torch failed: {reason}" if read else reason)


def from_answers(read: Mapping[str, Any] | None, said: Mapping[str, Any] | None, silence: str) -> Software:
    """The facts from what was read and what torch said; `silence` is why torch said nothing."""
    compiler_found = Facts({"compiler.found": compiler(os.environ, sys.platform)})
    if read is None:
        unknown = Facts({d.name: Unknown(f"the target interpreter gave no answer: {silence}") for d in SOFTWARE})
        return Software(unknown | compiler_found, None)
    packages = read["packages"]
    facts = Facts({"python.version": _version(read["python"], "python", "python")})
    for name, package in packages.items():
        facts |= _package(name, package)
    facts |= _torch_file(packages["torch"], read["torch_file"], bool(said))
    facts |= _transformers(packages, read["transformers_files"])
    return Software(facts | compiler_found | _torch(said, silence), _heard(said, facts))


def _package(name: str, package: Mapping[str, Any]) -> Facts:
    """A package whose module is gone is not installed, whatever its metadata says."""
    found = bool(package["found"])
    version = _version(package["version"], name, METADATA) if found else Unknown("not installed")
    facts: dict[str, Fact] = {f"{name}.installed": Known(found, FILES), f"{name}.version": version}
    return Facts(facts)


def _version(text: object, name: str, source: str) -> Fact:
    if not isinstance(text, str):
        return Unknown(f"{name} is there without a version")
    try:
        Version(text)
    except InvalidVersion:
        return Unknown(f"{name} has a version that is none")
    return Known(text, source)


def _torch_file(package: Mapping[str, Any], fields: Mapping[str, str | None] | None, imported: bool) -> Facts:
    """Version and build as torch's own version file has them. Installed counts only where importing it works."""
    if not package["found"]:
        absent = Unknown("torch is not installed")
        return Facts({"torch.installed": Known(False, FILES), "torch.build": absent, "torch.cuda": absent})
    facts: dict[str, Fact] = {"torch.installed": Known(imported, "torch")}
    if fields is None:
        missing = Unknown("torch has no version file")
        return Facts(facts | {"torch.build": missing, "torch.cuda": missing})
    build = _build(fields, sys.platform, os.uname().machine if hasattr(os, "uname") else "")
    cuda = _version(fields["cuda"], "CUDA", "torch") if fields["cuda"] else Unknown(f"torch is built for {build}")
    if fields["__version__"]:
        facts["torch.version"] = _version(fields["__version__"], "torch", "torch")
    return Facts(facts | {"torch.build": Known(build, "torch"), "torch.cuda": cuda})


def _build(fields: Mapping[str, str | None], system: str, machine: str) -> str:
    """Which accelerator this build of torch is for. All builds for Apple silicon have MPS."""
    version = fields["__version__"] or ""
    if fields["hip"]:
        return "rocm"
    if fields["cuda"]:
        return "cuda"
    if fields["xpu"] or version.endswith("+xpu"):
        return "xpu"
    return "mps" if system == "darwin" and machine == "arm64" else "cpu"


def _transformers(packages: Mapping[str, Any], files: Mapping[str, Any] | None) -> Facts:
    """Attention backends and the range of kernels, as the installed files state them."""
    if files is None:
        absent = Unknown("transformers is not installed")
        names = ("transformers.attention", "transformers.kernels_range", "kernels.accepted")
        return Facts(dict.fromkeys(names, absent))
    accepted = _range(files)
    attention: Fact = Unknown("this version of transformers keeps no list of attention backends")
    if files["attention"]:
        attention = Known(("eager", *files["attention"]), FILES)
    kernels_range: Fact = Known(accepted, FILES) if accepted else Unknown("transformers names no range of kernels")
    return Facts(
        {
            "transformers.attention": attention,
            "transformers.kernels_range": kernels_range,
            "kernels.accepted": _accepted(packages["kernels"], accepted),
        }
    )


def _range(files: Mapping[str, Any]) -> str | None:
    """The range that transformers checks when it runs; before 5.4 it states its upper end among its dependencies only."""
    if files["kernels_min"] and files["kernels_max"]:
        return f">={files['kernels_min']},<{files['kernels_max']}"
    return files["kernels_declared"] or None


def _accepted(kernels: Mapping[str, Any], accepted: str | None) -> Fact:
    if not kernels["found"]:
        return Unknown("kernels is not installed")
    if not accepted:
        return Unknown("transformers names no range of kernels")
    try:
        return Known(SpecifierSet(accepted).contains(str(kernels["version"]), prereleases=True), "transformers")
    except (InvalidSpecifier, InvalidVersion):
        return Unknown("the versions of kernels and transformers cannot be compared")


def _torch(said: Mapping[str, Any] | None, silence: str) -> Facts:
    """What only the imported torch knows."""
    if not said:
        return Facts(dict.fromkeys(("torch.sees_gpu", "torch.bf16", "torch.threads"), Unknown(silence)))
    bf16: Fact = Unknown("this version of torch does not say")
    if not said["sees_gpu"]:
        bf16 = Unknown("; ".join(["torch finds no accelerator", *said["warned"][:1]]))
    elif said["bf16"] is not None:
        bf16 = Known(bool(said["bf16"]), "torch")
    facts = {"torch.sees_gpu": Known(said["sees_gpu"], "torch"), "torch.threads": Known(said["threads"], "torch")}
    return Facts({**facts, "torch.bf16": bf16})


def _heard(said: Mapping[str, Any] | None, facts: Facts) -> Torch | None:
    if not said:
        return None
    units = Facts({name: Known(bool(there), "torch") for name, there in said["units"].items()})
    return Torch(facts.text("torch.build"), said["kind"], tuple(_device(row) for row in said["devices"]), units)


def _device(row: Mapping[str, Any]) -> TorchDevice:
    capability = row.get("capability")
    return TorchDevice(
        row.get("name"),
        row.get("total"),
        row.get("free"),
        row.get("uuid"),
        (capability[0], capability[1]) if capability else None,
        bool(row.get("integrated")),
    )


def compiler(environment: Mapping[str, str], system: str) -> Fact:
    """Whether the C++ compiler that Inductor calls is on the path: `CXX`, else the system's usual one.

    Source: torch/_inductor/config.py (`cpp.cxx`) and cpp_builder.py. Presence is checked, not a build.
    """
    usual = {"win32": "cl", "darwin": "clang++"}.get(system, "g++")
    try:
        words = shlex.split(environment.get("CXX", "")) or [usual]
    except ValueError:
        return Unknown("CXX is no command")
    found = shutil.which(words[0], path=environment.get("PATH")) is not None
    return Known(found, "CXX" if environment.get("CXX") else f"{usual} on the path")
