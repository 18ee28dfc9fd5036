"""Writes docs/knobs.md from the cases in tests/knobs: `python docs/make_knobs.py`."""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from advisor.facts import Kind
from advisor.plan import ModelReference
from advisor.run.recipe import recipe
from advisor.run.refusals import TRAINING
from advisor.run.subject import Subject
from advisor.setup import Setup, knobs
from advisor.workload import Workload

HERE = Path(__file__).parent
HEAD = """# Every knob, and how it is tested

Written by `docs/make_knobs.py` from the cases in `tests/knobs`; a test holds the page against them. For each value the
program that `apply` would run is run as it is written, on a tiny random model: every prompt must get its tokens, and
what stands under "looked at" must hold in that process (`seen` is what happened: calls of generate, caches, widths of
forward passes, compiled graphs, operators; `linear` is a matrix of the model). "Same tokens" are those of the program
in which the knob is not set, in float32.

CPU tests are part of `pytest`; those of a package run where it is installed. GPU tests have the same body and run with
`pytest -m gpu` on a machine with a CUDA device; the page says what they cover, not that they were run.

| knob | value | CPU test | GPU test | looked at | why not |
|---|---|---|---|---|---|
"""
FOUND = """
## Checkpoints that are quantized already

No knob is set: they are loaded as they are found.

| checkpoint | CPU test | GPU test | looked at | why not |
|---|---|---|---|---|
"""
SUBJECT = Subject(ModelReference("folder", "model", None, False), Workload(), False)
SAME = "the program is the same as where it is not set"
TRAINED = "is about training, and only generation is run"


def cases_module() -> ModuleType:
    """tests/knobs/cases.py, which belongs to no package."""
    name = "knobs_cases"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE.parent / "tests" / "knobs" / "cases.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    return sys.modules[name]


cases = cases_module()


def values(name: str) -> list[Any]:
    """What must have a case: the listed values, yes and no, and for what has no list the values that are tried."""
    knob = knobs()[name]
    tried = [case.shows[name] for case in cases.CASES if name in case.shows]
    listed: list[Any] = [True, False] if knob.kind is Kind.FLAG else list(knob.values)
    return [*listed, *(value for value in dict.fromkeys(tried) if value not in listed)]


def reason(name: str, value: Any) -> str | None:
    """Why a value has no case; None where it should have one."""
    given = cases.NOT_RUN.get((name, value)) or cases.NOT_RUN.get((name, None))
    if given or name in TRAINING:
        return given or TRAINED
    plain = recipe(SUBJECT, Setup())
    return SAME if value in (False, "none", "highest") and recipe(SUBJECT, Setup(**{name: value})) == plain else None


def cases_of(name: str, value: Any) -> list[Any]:
    """The cases that show this value."""
    return [case for case in cases.CASES if name in case.shows and case.shows[name] == value]


def gaps() -> list[str]:
    """Knobs and values with neither case nor reason."""
    found = []
    for name in knobs():
        if not values(name) and reason(name, None) is None:
            found.append(name)
        bare = [value for value in values(name) if not cases_of(name, value) and reason(name, value) is None]
        found += [f"{name}={cases.shown(value)}" for value in bare]
    return found


def page() -> str:
    """The whole of knobs.md."""
    rows = [row for name in knobs() for row in _rows(name)]
    found = [(case.title, *_cells(case)) for case in cases.CASES if case.title]
    return HEAD + _table(rows) + FOUND + _table(found)


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _rows(name: str) -> list[tuple[str, ...]]:
    rows = []
    for value in values(name) or [None]:
        found = cases_of(name, value)
        shown = "" if value is None else f"`{cases.shown(value)}`"
        if not found:
            rows.append((f"`{name}`", shown, "no", "no", "", reason(name, value) or ""))
        rows += [(f"`{name}`", shown, *_cells(case)) for case in found]
    return rows


def _cells(case: Any) -> tuple[str, ...]:
    runs = [_where(case, cases.CPU), _where(case, cases.GPU)]
    looks = [f"`{look}`" for look in case.looks]
    looks += ["same tokens"] if case.same_tokens else []
    looks += ["fails with one clear reason"] if case.fails else []
    why = [f"{device}: {told}" for device, told in (("CPU", case.cpu), ("GPU", case.gpu)) if told]
    return *runs, ", ".join(looks).replace("|", "\\|"), "; ".join(why)


def _where(case: Any, device: str) -> str:
    if case.skipped_on(device):
        return "no"
    return f"with `{'`, `'.join(case.packages)}`" if case.packages else "yes"


if __name__ == "__main__":
    (HERE / "knobs.md").write_text(page(), encoding="utf-8")
