"""docs/knobs.md is what its program writes, and no knob and no value is left without a case or a reason."""

import importlib.util
from pathlib import Path
from types import ModuleType

from advisor.setup import knobs, unusable

DOCS = Path(__file__).parents[2] / "docs"


def make_knobs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_knobs", DOCS / "make_knobs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_its_program_writes() -> None:
    assert (DOCS / "knobs.md").read_text(encoding="utf-8") == make_knobs().page(), "run python docs/make_knobs.py"


def test_every_value_of_every_knob_has_a_case_or_a_reason() -> None:
    assert make_knobs().gaps() == []


def test_cases_are_about_knobs_that_there_are() -> None:
    cases = make_knobs().cases
    for case in cases.CASES:
        for name, value in {**case.beside, **case.shows}.items():
            assert value is None or unusable(name, value) is None, case.name
    assert all(name in knobs() for name, _ in cases.NOT_RUN)


def test_a_case_that_is_run_nowhere_says_so_elsewhere() -> None:
    cases = make_knobs().cases
    assert [case.name for case in cases.CASES if case.cpu and case.gpu] == []


def test_every_case_looks_at_something() -> None:
    cases = make_knobs().cases
    assert [case.name for case in cases.CASES if not case.looks and not case.fails] == []
    assert len({case.name for case in cases.CASES}) == len(cases.CASES)
