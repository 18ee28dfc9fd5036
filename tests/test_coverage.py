"""docs/coverage.md names a rule for every line, every rule it names exists, and it is what its program writes."""

import importlib.util
from pathlib import Path
from types import ModuleType

from advisor import errorbook, rulebook

DOCS = Path(__file__).parents[1] / "docs"


def make_coverage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_coverage", DOCS / "make_coverage.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_its_program_writes() -> None:
    assert (DOCS / "coverage.md").read_text(encoding="utf-8") == make_coverage().page()


def test_every_line_names_a_rule_and_every_rule_exists() -> None:
    advice = {rule.id for rule in rulebook.load(rulebook.shipped())}
    errors = {f"errors/{rule.id}" for rule in errorbook.load(rulebook.shipped() / "errors")}
    for document in make_coverage().documents():
        for line in document["lines"]:
            rules = [name for name in line["by"] if not name.startswith("`")]
            assert rules, f"{document['title']}, line {line['at']}: no rule"
            assert set(rules) <= advice | errors, f"{document['title']}, line {line['at']}: {rules}"


def test_lines_stand_in_the_documents_order() -> None:
    for document in make_coverage().documents():
        places = [line["at"] for line in document["lines"]]
        assert places == sorted(set(places))


def test_every_rule_is_asked_for_by_some_line_or_goes_beyond_the_documents() -> None:
    """A rule that no document asks for is welcome; most must be asked for, or the table has gaps."""
    named = {name for document in make_coverage().documents() for line in document["lines"] for name in line["by"]}
    advice = {rule.id for rule in rulebook.load(rulebook.shipped())}
    assert len(advice & named) >= len(advice) / 2
