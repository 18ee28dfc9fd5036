"""Host time by what a layer launches: Llama is the measure, and a type that nobody counted is taken as Llama."""

import json

import pytest

from advisor.estimate import operators


def test_llama_is_the_measure() -> None:
    for dtype in ("float32", "bfloat16", "float16"):
        assert operators.host_factor("llama", dtype) == 1.0


@pytest.mark.parametrize("name", [None, "nobody-counted-this"])
def test_an_unknown_type_is_taken_as_llama(name: str | None) -> None:
    assert operators.host_factor(name, "bfloat16") == 1.0
    assert operators.matrices_of_layer(name) == operators.matrices_of_layer("llama") == operators.USUAL_MATRICES


def test_the_rule_by_hand() -> None:
    assert operators.units({"float32": 36, "bfloat16": 40, "views": 35}, "float32") == pytest.approx(30 + 36 + 35 / 3)


def test_fewer_operators_take_less() -> None:
    assert operators.host_factor("gpt2", "float32") < 0.8
    assert operators.host_factor("gemma3_text", "float32") > 1.2
    assert operators.host_factor("gemma3", "float32") == operators.host_factor("gemma3_text", "float32")


def test_every_row_is_whole() -> None:
    layers = json.loads(operators.FILE.read_text(encoding="utf-8"))["layers"]
    assert len(layers) >= 25
    for row in layers.values():
        assert set(row) == {"float32", "bfloat16", "views", "products"}
        assert row["bfloat16"] >= row["float32"] > row["products"] > 0
