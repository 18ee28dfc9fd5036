"""The schema for editors: it is the one in docs/, every shipped rule fits it, and mistakes are seen."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from advisor import rulebook, ruleschema

DOCS = Path(__file__).parents[1] / "docs"
RULES = sorted(path for path in rulebook.shipped().rglob("*.yaml") if path.parent.name != "errors")


VALIDATOR = jsonschema.Draft202012Validator(ruleschema.schema())


def problems(rule: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(rule)]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(ruleschema.schema())


def test_the_schema_in_docs_is_the_one_that_the_program_prints() -> None:
    written = json.loads((DOCS / "rule.schema.json").read_text(encoding="utf-8"))
    assert written == ruleschema.schema(), "write it anew: perf-advisor rule --schema > docs/rule.schema.json"


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_shipped_rules_fit_the_schema(path: Path) -> None:
    assert not problems(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"sumary": "s"}, "'sumary' was unexpected"),
        ({"when": ["gpu.capabilty >= 8"]}, "'gpu.capabilty >= 8' is not valid"),
        ({"change": {"dtyp": "float16"}}, "'dtyp' was unexpected"),
        ({"change": {"dtype": "fp16"}}, "'fp16' is not valid"),
        ({"evidence": "guessed"}, "'guessed' is not one of"),
        ({"cases": {"silent": {}}}, "'base' is a required property"),
    ],
)
def test_mistakes_are_seen(broken: dict[str, Any], expected: str) -> None:
    path = rulebook.shipped() / "2-precision" / "fp32-weights-on-bf16-device.yaml"
    rule = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert expected in " ".join(problems({**rule, **broken}))
