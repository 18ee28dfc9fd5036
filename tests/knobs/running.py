"""Runs knob cases on a device: one child process for most of them, and one for each that holds for a whole process."""

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.version import Version

from advisor.plan import ModelReference
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.setup import Setup
from advisor.workload import Workload

HERE = Path(__file__).parent
LONGEST_SECONDS = 600


def beside(name: str) -> ModuleType:
    """A program of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"knobs_{name}", HERE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


cases = sys.modules.get("knobs_cases") or beside("cases")


def installed(package: str) -> bool:
    """Whether a module can be imported, by its dotted name."""
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def torch_version() -> Version:
    """The version that the recipes are written for."""
    return Version(importlib.metadata.version("torch"))


def plain_setup(case: Any, device: str) -> dict[str, Any]:
    """The setup whose tokens a case is held against. Random weights that are spread are drawn on the CPU, those of a
    single GPU on that GPU, and the same seed gives other weights there."""
    spreads = device != cases.CPU and {**case.beside, **case.shows}.get("device_map")
    return {"device": device, "dtype": "float32", **({"device_map": "auto"} if spreads else {})}


def plain_name(case: Any, device: str) -> str:
    """The name of the run with that setup."""
    return f"plain {case.model} {case.load} {shown_setup(plain_setup(case, device))}"


def shown_setup(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def text_of(case: Any, device: str, folder: Path, plain: bool = False) -> str:
    """The recipe of a case, or of its model and workload with no knob set."""
    import transformers

    workload = Workload(**cases.LOADS[case.load])
    version = Version(transformers.__version__)
    common = {"device": device, "dtype": "float32"}
    shows = dict(case.shows)
    if "assistant_model" in shows:
        shows["assistant_model"] = str(folder / shows["assistant_model"])
    elif case.checkpoint and not plain:
        reference = ModelReference("folder", str(folder / case.checkpoint), None, False)
        found = Subject(reference, workload, False, transformers=version, quantized=True)
        return recipe(found, Setup(**{**common, **case.beside, **shows}))
    config = cases.MODELS[case.model]
    subject = Subject(ModelReference("shape", "x", None, True), workload, True, config, version, torch=torch_version())
    return recipe(subject, Setup(**(plain_setup(case, device) if plain else {**common, **case.beside, **shows})))


def requests(chosen: Iterable[Any], device: str, folder: Path) -> list[dict[str, Any]]:
    """What the child is asked: the plain runs first, then the cases."""
    plain: dict[str, Any] = {}
    found = []
    for case in chosen:
        if case.same_tokens:
            text = text_of(case, device, folder, plain=True)
            name = plain_name(case, device)
            plain[name] = {"name": name, "text": text, "looks": (), "checkpoint": None}
        place = [case.checkpoint, str(folder / case.checkpoint)] if case.checkpoint else None
        text = text_of(case, device, folder)
        found.append({"name": case.name, "text": text, "looks": case.looks, "checkpoint": place})
    return [*plain.values(), *found]


def ask(asked: list[dict[str, Any]]) -> dict[str, Any]:
    """The answers by name of one child process."""
    child = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "inside_knobs.py")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    answers: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return answers


def not_run(case: Any, device: str) -> str | None:
    """Why a case is skipped on this device, or None."""
    if case.without and installed(case.without):
        return f"{case.without} is installed"
    absent = [package for package in case.packages if not installed(package)]
    return case.skipped_on(device) or (f"{absent[0]} is not installed" if absent else None)


def asked_for(request: pytest.FixtureRequest) -> list[str]:
    """The names of the cases that this run of pytest has chosen from the file of a fixture."""
    items = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    return [item.callspec.params["name"] for item in items]


def observed(chosen: Iterable[Any], device: str, folder: Path) -> dict[str, Any]:
    """The answers to all cases that can be run here."""
    able = [case for case in chosen if not not_run(case, device)]
    together = requests([case for case in able if not case.alone], device, folder)
    answers = ask(together) if together else {}
    for case in able:
        if case.alone:
            answers |= ask(requests([case], device, folder))
    return answers


def wrong(case: Any, answers: Mapping[str, Any], device: str) -> list[str]:
    """What does not hold of a case; empty where all is well."""
    found = answers[case.name]
    if case.fails:
        return [] if re.search(case.fails, found.get("error", "")) else [f"did not fail as it must: {found}"]
    if "error" in found:
        return [found["error"]]
    prompts = cases.LOADS[case.load]["batch"]
    faults = [f"not so: {look}; {found['seen']}" for look, holds in found["looks"].items() if not holds]
    if [len(row) for row in found["tokens"]] != [cases.NEW_TOKENS] * prompts:
        faults.append(f"prompts did not get their tokens: {found['tokens']}")
    if case.same_tokens:
        plain = answers[plain_name(case, device)]
        if plain.get("tokens") != found["tokens"]:
            faults.append(f"other tokens than without: {found['tokens']} for {plain}")
    return faults
