"""No setup that `conflict` allows becomes a program that the installed library refuses."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from advisor.conflicts import conflict
from advisor.plan import ModelReference
from advisor.run.recipe import recipe
from advisor.run.refusals import TRAINING
from advisor.run.subject import Subject
from advisor.setup import Setup, knobs
from advisor.workload import Workload

pytestmark = pytest.mark.models
transformers = pytest.importorskip("transformers")

Refused = Callable[[Sequence[str]], dict[str, str]]
SUBJECT = Subject(
    ModelReference("folder", "model", None, False),
    Workload(batch=8, prompt_tokens=128, new_tokens=16),
    False,
    transformers=Version(transformers.__version__),
)
MANY = 250


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Values that a plan may give a knob, and none."""
    declaration = knobs()[name]
    if name == "max_memory":
        return st.none() | st.just(("0=10GiB", "cpu=1.5GiB"))
    if name == "assistant_model":
        return st.just("org/small")
    if declaration.values:
        return st.none() | st.sampled_from(declaration.values)
    return st.none() | (st.booleans() if declaration.kind.value == "flag" else st.integers(1, 64))


setups = st.fixed_dictionaries({name: values_of(name) for name in knobs() if name not in TRAINING}).map(
    lambda values: Setup(**values)
)


def drafting_alone(setup: Setup) -> Setup:
    return replace(setup, batching="loop") if setup.speculation in ("prompt_lookup", "assistant") else setup


def some_setups(count: int) -> Sequence[Setup]:
    """Setups that `conflict` allows, the same in every run."""
    found: list[Setup] = []

    @settings(max_examples=count, database=None, derandomize=True, phases=[Phase.generate], deadline=None)
    @given(setups.map(drafting_alone).filter(lambda setup: conflict(setup) is None))
    def collect(setup: Setup) -> None:
        found.append(setup)

    collect()
    return found


def each_value() -> Sequence[Setup]:
    """Every value of every knob at least once, with what it cannot do without."""
    needs = {
        ("compile", "generate"): {"cache_implementation": "static"},
        ("speculation", "prompt_lookup"): {"batching": "loop"},
        ("speculation", "assistant"): {"batching": "loop", "assistant_model": "org/small"},
    }
    asked = [(name, value) for name in knobs() if name not in TRAINING for value in knobs()[name].values]
    return [Setup(**{name: value, **needs.get((name, value), {})}) for name, value in asked if name != "max_memory"]


def about(setup: Setup, random: bool) -> Subject:
    """A server is given texts and serves what lies in a folder, so that it needs a tokenizer and weights there."""
    served = setup.engine == "serve"
    return replace(SUBJECT, random_weights=random and not served, tokenizer=served)


def test_setups_without_conflict_are_accepted(refused: Refused) -> None:
    setups = [*each_value(), *some_setups(MANY)]
    assert [conflict(setup) for setup in setups] == [None] * len(setups)
    texts = [recipe(about(setup, random=number % 2 == 0), setup) for number, setup in enumerate(setups)]
    assert refused(texts) == {}


WRONG = (
    ("dtype=torch.bfloat16", "torch_type=torch.bfloat16"),
    ('attn_implementation="sdpa"', 'attn_implementation="sdpa_paged"'),
    ('cache_implementation="static"', 'cache_implementation="frozen"'),
    ('cache_implementation="static"', 'cache_implementation="quantized", cache_config={"backend": "none"}'),
    ('cache_implementation="static"', 'cache_implementation="static", prompt_lookup_num_tokens=4'),
    ("min_new_tokens=NEW_TOKENS", "least_new_tokens=NEW_TOKENS"),
    ("bnb_4bit_quant_type", "bnb_4bit_type"),
    ("BitsAndBytesConfig", "BitsAndBytesSettings"),
)


def test_what_the_library_does_not_know_is_found(refused: Refused) -> None:
    """The judge itself is judged: each of these is refused, and the text that they were made from is not."""
    setup = Setup(dtype="bfloat16", attn_implementation="sdpa", cache_implementation="static", quantization="bnb_nf4")
    text = recipe(SUBJECT, setup)
    assert all(old in text for old, _ in WRONG)
    wrong = [text.replace(old, new) for old, new in WRONG]
    assert list(refused([text, *wrong])) == wrong
