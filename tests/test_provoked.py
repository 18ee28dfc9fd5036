"""Errors that the installed libraries really raise: explain names each. `errors/provoke.py` raised them."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from advisor import errorbook, rulebook
from advisor.explaining import explain

HERE = Path(__file__).parent / "errors"
RULES = errorbook.load(rulebook.shipped() / "errors", kept=False)
KEPT: list[dict[str, Any]] = [json.loads(line) for line in (HERE / "provoked.jsonl").read_text().splitlines()]
QUICK = ("wrong-attention", "mat-dtypes", "kbit-argument", "recompiles", "safetensors-mmap")
"""Raised anew in the tests: one of each family, a few seconds together."""


def raiser() -> ModuleType:
    spec = importlib.util.spec_from_file_location("provoke", HERE / "provoke.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def named(text: str) -> str:
    return explain(text, "provoked", None, RULES).cause or ""


@pytest.mark.parametrize("kept", KEPT, ids=[kept["name"] for kept in KEPT])
def test_a_real_error_is_named(kept: dict[str, Any]) -> None:
    assert named(kept["text"]) in kept["cause"].split("|")


def test_every_program_s_cause_is_a_rule() -> None:
    known = {rule.id for rule in RULES} | {""}
    wanted = {cause for causes, _ in raiser().PROGRAMS.values() for cause in causes.split("|")}
    assert wanted <= known


def test_the_kept_texts_hold_nobody_s_folders() -> None:
    assert not [kept["name"] for kept in KEPT if "/home/" in kept["text"] or "/root/" in kept["text"]]


@pytest.mark.models
@pytest.mark.parametrize("name", QUICK)
def test_it_is_still_what_the_installed_version_says(name: str) -> None:
    found = list(raiser().provoke([name]))
    assert found, "the program raised nothing"
    assert named(found[0]["text"]) in found[0]["cause"].split("|")
