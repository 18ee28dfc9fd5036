"""How much longer the host needs for a layer of some model type than for one of Llama, by what the layer launches.

    cost of a layer ~ 30 + operators that compute + views / 3

The unit is the launch of one operator; 30 of them stand for the Python around the operators (calls of modules, the
cache). Fitted to steps of 30 types of tiny models on one core, whose times lie within 26 % of it, half of them within
5 % (bench/operators.py --times; transformers 5.22, torch 2.13). The counts are in operators.json, by the same program.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("operators.json")
AROUND, VIEW = 30.0, 1 / 3
REFERENCE = "llama"
"""The type whose layers are timed on the machine."""
USUAL_MATRICES = 7
"""Of a layer: queries, keys, values and output; gate, up and down."""
SAME_LAYERS = {"gemma3": "gemma3_text", "mistral3": "mistral", "gemma3n": "gemma3_text"}
"""Models that hold a language model of another type."""


def host_factor(model_type: str | None, dtype: str) -> float:
    """Host time of a layer of this type against one of Llama; 1 for a type that was not counted."""
    row = _row(model_type)
    return 1.0 if row is None else units(row, dtype) / units(_table()[REFERENCE], dtype)


def matrices_of_layer(model_type: str | None) -> float:
    """Products with weights in one layer of this type; seven for a type that was not counted."""
    row = _row(model_type)
    return USUAL_MATRICES if row is None else row["products"]


def units(row: Mapping[str, float], dtype: str) -> float:
    """The cost of one layer in launches of an operator; 16-bit types launch conversions besides."""
    launched = row["float32" if dtype == "float32" else "bfloat16"]
    return AROUND + launched + VIEW * row["views"]


def _row(model_type: str | None) -> Mapping[str, float] | None:
    return _table().get(SAME_LAYERS.get(model_type or "", model_type or ""))


@cache
def _table() -> Mapping[str, Mapping[str, float]]:
    layers: Mapping[str, Mapping[str, float]] = json.loads(FILE.read_text(encoding="utf-8"))["layers"]
    return layers
