"""The shipped shapes: complete, right by their publishers' own counts, and made by the library."""

import importlib.util
import json
import math
from pathlib import Path

import pytest

from advisor import vocabulary
from advisor.facts import Vocabulary, fits
from advisor.probe import anatomy, shapes

ROOT = Path(__file__).parents[2]
KINDS = {
    "llama-3.1-8b": "GQA",
    "llama-2-7b": "MHA",
    "falcon-7b": "MQA",
    "deepseek-v3": "MLA",
    "mistral-7b-v0.1": "sliding",
    "gemma-3-4b": "hybrid",
    "gpt-oss-20b": "hybrid",
    "qwen3-next-80b-a3b": "hybrid",
}
MAY_BE_UNKNOWN = {"model.kv_latent_values", "model.sliding_window_tokens", "model.config_dtype", "model.context_tokens"}


def test_there_are_enough_and_their_names_are_sorted() -> None:
    assert len(shapes.names()) >= 40
    assert shapes.names() == sorted(shapes.names())


@pytest.mark.parametrize("name", shapes.names())
def test_a_shape_says_everything(name: str) -> None:
    shape = shapes.load(name)
    facts = anatomy.facts(shape.anatomy)
    declared = Vocabulary(vocabulary.DECLARATIONS)
    assert {fact for fact in facts if facts.value(fact) is None} <= MAY_BE_UNKNOWN
    assert all(fits(facts.value(fact), declared[fact]) for fact in facts if facts.value(fact) is not None)
    assert shape.config["architectures"] == [shape.anatomy.architecture]
    groups = shape.anatomy.groups
    assert groups["total"] == sum(groups[part] for part in ("embedding", "head", "linear", "other", "rest"))
    assert groups["experts"] <= groups["linear"]


@pytest.mark.parametrize("name", shapes.names())
def test_the_count_is_the_published_one(name: str) -> None:
    shape = shapes.load(name)
    digits = len(shape.published_parameters.partition(".")[2])
    billions = shape.anatomy.groups["total"] / 1e9
    assert math.isclose(billions, float(shape.published_parameters), abs_tol=10.0**-digits)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_attention_kinds(name: str, kind: str) -> None:
    assert anatomy.facts(shapes.load(name).anatomy).value("model.attention_kind") == kind


def test_layers_of_a_hybrid() -> None:
    facts = anatomy.facts(shapes.load("gemma-3-27b").anatomy)
    assert (facts.value("model.full_layers"), facts.value("model.sliding_layers")) == (10, 52)
    assert facts.value("model.sliding_window_tokens") == 1024
    facts = anatomy.facts(shapes.load("qwen3-next-80b-a3b").anatomy)
    assert (facts.value("model.full_layers"), facts.value("model.linear_layers")) == (12, 36)


def test_experts_and_active_parameters() -> None:
    facts = anatomy.facts(shapes.load("qwen3-30b-a3b").anatomy)
    assert (facts.value("model.experts"), facts.value("model.experts_active")) == (128, 8)
    assert facts.value("model.parameters_active") == 3_353_032_704
    assert facts.value("model.intermediate_size") == 8 * 768


@pytest.mark.parametrize(
    ("typed", "shape"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("unsloth/Meta-Llama-3.1-8B-bnb-4bit", "llama-3.1-8b"),
        ("Qwen/Qwen2.5-7B", "qwen2.5-7b"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3"),
        ("qwen3-8", "qwen3-8b"),
        ("llama3", "llama-3.1-8b"),
        ("mistral", "mistral-7b-v0.1"),
        ("zzz/nothing-like-it", None),
        ("///", None),
    ],
)
def test_the_closest_shape(typed: str, shape: str | None) -> None:
    assert shapes.closest(typed) == shape


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        shapes.load("../../pyproject")


@pytest.mark.models
@pytest.mark.parametrize("name", ["qwen3-0.6b", "gemma-3-4b", "deepseek-v3", "gpt-oss-20b", "falcon-7b", "gpt-2"])
def test_the_maker_makes_the_same(name: str) -> None:
    import transformers

    spec = importlib.util.spec_from_file_location("make_shapes", ROOT / "bench" / "make_shapes.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    stored = json.loads((ROOT / "advisor" / "shapes" / f"{name}.json").read_text(encoding="utf-8"))
    made = maker.made(stored["hub_id"], stored["config"], stored["published_parameters"], stored["checkpoint_dtype"])
    if stored["made_with"] != f"transformers {transformers.__version__}":
        made = {part: made[part] for part in ("architecture", "cache_layers")}
    assert {part: stored[part] for part in made} == made
    with pytest.raises(SystemExit):
        maker.made(stored["hub_id"], stored["config"], "1.00", "bfloat16")
