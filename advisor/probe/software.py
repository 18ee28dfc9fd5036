"""The target environment: which packages it has, what torch was built for, and what torch finds on this machine.

A child process in the target interpreter looks (`inside_software.py`); here its answer becomes facts. What it reads
from files comes first, so a torch that hangs, crashes or is broken costs only torch's own word.
"""

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

CHILD = Path(__file__).with_name("inside_software.py")
FILES, TORCH = "installed files", "torch"
SETTINGS = tuple(
    f"transformers.{name}"
    for name in (
        *("cache_implementations", "cache_implementations_deprecated", "quantizers", "loading_arguments"),
        *("generation_settings", "continuous_settings", "compile_settings", "training_settings", "serve"),
    )
)


@dataclass(frozen=True)
class TorchDevice:
    """A device as torch numbers it; None for what this version of torch does not tell. Memory in bytes."""

    name: str | None = None
    uuid: str | None = None
    pci: str | None = None
    memory_bytes: int | None = None
    capability: float | None = None
    integrated: bool | None = None


@dataclass(frozen=True)
class Software:
    """The facts, and torch's devices in its own order; None where torch could not be asked."""

    facts: Facts
    devices: tuple[TorchDevice, ...] | None


def look(python: str, limit_seconds: float) -> Software:
    """Ask the interpreter `python`; whatever it does not answer in time is unknown."""
    return told(*ask(python, limit_seconds))


def ask(python: str, limit_seconds: float) -> tuple[child.Outcome, list[dict[str, Any]]]:
    """How the child ended, and the lines of JSON that it printed before."""
    heard: list[dict[str, Any]] = []
    return child.run(python, CHILD, {}, limit_seconds, heard=heard.append), heard


def told(outcome: child.Outcome, heard: list[dict[str, Any]]) -> Software:
    """The facts of an answer; of a child that died, those that it had printed."""
    match outcome:
        case child.Answered(answer):
            return Software(read(answer), torch_devices(answer))
        case child.Died(why):
            reason = without_places(why)
            # Libraries may print lines of their own, and JSON among them.
            first = next((line for line in heard if "packages" in line), None)
            if first is None:
                return Software(nothing(f"the target interpreter gave no answer: {reason}"), None)
            return Software(read(first, f"importing torch failed: {reason}"), None)


def nothing(reason: str) -> Facts:
    """Every fact of the software unknown for one reason."""
    return Facts(dict.fromkeys((declaration.name for declaration in SOFTWARE), Unknown(reason)))


def read(answer: Mapping[str, Any], failure: str = "torch was not asked") -> Facts:
    """The facts of one answer; `failure` says why torch itself gave none."""
    found: dict[str, Fact] = {
        "python.version": version(answer["python"], "python"),
        "compiler.found": Known(answer["compiler"], "search path"),
        "environment.inductor_cache": Known(answer["inductor_cache"], "environment"),
    }
    for name, package in answer["packages"].items():
        found[f"{name}.installed"] = Known(package["found"], FILES)
        found[f"{name}.version"] = version(package["version"], FILES) if package["found"] else Unknown("not installed")
    return Facts(found | transformers(answer) | settings(answer) | build(answer) | torch(answer, failure))


def version(text: str | None, source: str) -> Fact:
    """A version that can be compared, or why there is none."""
    if text is None:
        return Unknown("installed without a version")
    try:
        Version(text)
    except InvalidVersion:
        return Unknown("installed with a version that cannot be compared")
    return Known(text, source)


def transformers(answer: Mapping[str, Any]) -> dict[str, Fact]:
    """Attention backends, and the range of `kernels` that the installed version accepts."""
    names = ("transformers.attention", "transformers.kernels_range", "kernels.accepted")
    if not answer["packages"]["transformers"]["found"]:
        return dict.fromkeys(names, Unknown("transformers is not installed"))
    text = answer["transformers_text"]
    accepted = accepted_range(text.get("kernels_bounds"), text.get("kernels_declared"))
    # The registry leaves out eager: each model brings its own.
    attention = ("eager", *text["attention"]) if text.get("attention") else None
    return {
        names[0]: Known(attention, FILES) if attention else Unknown("this version of transformers keeps no list"),
        names[1]: Known(accepted, FILES) if accepted else Unknown("this version of transformers states no range"),
        names[2]: is_accepted(answer["packages"]["kernels"], accepted),
    }


def settings(answer: Mapping[str, Any]) -> dict[str, Fact]:
    """The settings that the installed transformers takes, as `inside_library.py` has read them."""
    if not answer["packages"]["transformers"]["found"]:
        return dict.fromkeys(SETTINGS, Unknown("transformers is not installed"))
    read = answer["transformers_text"]["settings"]
    unread = Unknown("the source of this version of transformers cannot be read for it")
    found = {name: read[name.rpartition(".")[2]] for name in SETTINGS}
    return {name: unread if value is None else Known(_frozen(value), FILES) for name, value in found.items()}


def _frozen(value: bool | list[str]) -> bool | tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else value


def accepted_range(bounds: tuple[str | None, str | None] | None, declared: str | None) -> str | None:
    """The range as a version specifier: what transformers checks when it runs, else what it declares.

    Before 5.4 the check has no upper end or is not there at all; the declared requirement has both ends.
    """
    least, below = bounds or (None, None)
    return f">={least},<{below}" if least and below else declared


def is_accepted(kernels: Mapping[str, Any], accepted: str | None) -> Fact:
    """Whether a version lies in the range, pre-releases too: transformers compares versions and nothing else.

    A specifier alone would refuse 0.18.0.dev1 for `<0.18.0`, where the comparison lets it pass.
    """
    if not kernels["found"]:
        return Unknown("kernels is not installed")
    if accepted is None:
        return Unknown("this version of transformers states no range")
    try:
        found = Version(str(kernels["version"]))
        lies_in = all(_holds(found, one.operator, one.version) for one in SpecifierSet(accepted))
    except (InvalidSpecifier, InvalidVersion):
        return Unknown("the version of kernels cannot be compared with the range")
    return Known(lies_in, "version in range")


def _holds(found: Version, operator: str, bound: str) -> bool:
    compare = {">=": found.__ge__, "<": found.__lt__, "<=": found.__le__, ">": found.__gt__}.get(operator)
    if compare is None:
        return SpecifierSet(f"{operator}{bound}").contains(found, prereleases=True)
    return bool(compare(Version(bound)))


def build(answer: Mapping[str, Any]) -> dict[str, Fact]:
    """What torch was built for, by the text of its version file."""
    names = ("torch.build", "torch.cuda")
    if not answer["packages"]["torch"]["found"]:
        return dict.fromkeys(names, Unknown("torch is not installed"))
    text = answer["torch_text"]
    if not text:
        return dict.fromkeys(names, Unknown("torch's version file cannot be read"))
    # Builds for xpu before torch 2.5 say so in the version alone.
    xpu = text.get("xpu") or str(text.get("__version__")).endswith("+xpu")
    stated = {"rocm": text.get("hip"), "cuda": text.get("cuda"), "xpu": xpu}
    # Every build for Apple silicon has MPS and says nothing of it.
    plain = "mps" if answer["system"] == "darwin arm64" else "cpu"
    kind = next((kind for kind, value in stated.items() if value), plain)
    cuda = version(text["cuda"], FILES) if kind == "cuda" else Unknown(f"torch is built for {kind}")
    return {"torch.build": Known(kind, FILES), "torch.cuda": cuda}


def torch(answer: Mapping[str, Any], failure: str) -> dict[str, Fact]:
    """What torch finds: known only when it could be imported."""
    names = ("torch.sees_gpu", "torch.bf16", "torch.threads")
    if not answer["packages"]["torch"]["found"]:
        return dict.fromkeys(names, Unknown("torch is not installed"))
    said = answer.get("torch")
    if said is None:
        return dict.fromkeys((*names, "torch.installed"), Unknown(failure))
    unsaid = "this version of torch does not say" if said["accelerator"] else why_none(said)
    return {
        "torch.installed": Known(True, TORCH),
        "torch.version": version(said["version"], TORCH),
        "torch.sees_gpu": Known(said["accelerator"] is not None, TORCH),
        "torch.bf16": Known(said["bf16"], TORCH) if said["bf16"] is not None else Unknown(unsaid),
        "torch.threads": Known(said["threads"], TORCH),
    }


def why_none(said: Mapping[str, Any]) -> str:
    """Why torch has no accelerator, in its own words where it has warned: a driver too old, a device that is lost."""
    warned = [without_places(text)[:200] for text in said["warnings"][:1]]
    return ": ".join(["torch finds no accelerator", *warned])


def torch_devices(answer: Mapping[str, Any]) -> tuple[TorchDevice, ...] | None:
    """torch's devices in its order; () where it finds none."""
    said = answer.get("torch")
    if said is None:
        return None
    fields = TorchDevice.__dataclass_fields__
    return tuple(TorchDevice(**{name: row.get(name) for name in fields}) for row in said["devices"])
