"""One step down at a time, in the order that is promised, and an end to every ladder."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.conflicts import conflict
from advisor.run.ladders import FLASH_KERNEL, Means, plainer, smaller
from advisor.setup import Setup

ALL = Means(frozenset({"kernels", "bitsandbytes", "accelerate"}), True, 8)
FLASH = Setup(device="cuda", dtype="bfloat16", attn_implementation="flash_attention_2")


def down(setup: Setup, knob: str, means: Means) -> list[Any]:
    """The values of a knob on the way down."""
    seen = []
    while change := plainer(setup, knob, means):
        setup = setup.changed(change)
        seen.append(getattr(setup, knob))
        assert len(seen) < 10
    return seen


def test_attention_goes_by_the_kernel_to_sdpa_and_eager() -> None:
    assert down(FLASH, "attn_implementation", ALL) == [FLASH_KERNEL, "sdpa", "eager"]
    assert down(FLASH, "attn_implementation", Means()) == ["sdpa", "eager"]
    other = FLASH.changed({"attn_implementation": "flash_attention_3"})
    assert down(other, "attn_implementation", ALL) == ["sdpa", "eager"]


def test_compilation_goes_from_the_whole_graph_to_none() -> None:
    whole = Setup(compile="generate", compile_fullgraph=True, cache_implementation="static")
    parts = whole.changed(plainer(whole, "compile", ALL) or {})
    assert (parts.compile, parts.compile_fullgraph) == ("generate", False)
    none = parts.changed(plainer(parts, "compile", ALL) or {})
    assert (none.compile, none.cache_implementation) == ("none", "dynamic")
    assert plainer(none, "compile", ALL) is None


@pytest.mark.parametrize("knob", ["compile", "cache_implementation", "keep_cache"])
def test_no_cache_is_kept_that_is_not_static(knob: str) -> None:
    kept = Setup(compile="generate", cache_implementation="static", keep_cache=True)
    if knob == "cache_implementation":
        kept = kept.changed({"compile": "none"})
    below = kept.changed(plainer(kept, knob, ALL) or {})
    assert below != kept and conflict(below) is None


def shrunk(setup: Setup, stage: str, means: Means) -> list[dict[str, Any]]:
    """Each first change that `smaller` offers, until it offers none."""
    seen: list[dict[str, Any]] = []
    while change := next(smaller(setup, stage, means), None):
        setup = setup.changed(change)
        assert conflict(setup) is None
        seen.append(dict(change))
        assert len(seen) < 40
    return seen


def test_a_batch_is_halved_before_weights_shrink() -> None:
    start = Setup(device="cuda", dtype="float32", batching="padded", batch_size=5)
    assert shrunk(start, "warm-up", ALL) == [
        {"batch_size": 2}, {"batch_size": 1}, {"dtype": "bfloat16"}, {"quantization": "bnb_int8"},
        {"quantization": "bnb_nf4"}, {"device_map": "auto"},
    ]  # fmt: skip


def test_a_batch_is_left_alone_where_weights_did_not_load() -> None:
    assert shrunk(FLASH, "load", ALL)[0] == {"quantization": "bnb_int8"}


def test_nothing_is_quantized_that_may_not_be_or_cannot() -> None:
    for means in (Means(frozenset({"bitsandbytes", "accelerate"})), Means(frozenset({"accelerate"}), True)):
        assert shrunk(FLASH, "load", means) == [{"device_map": "auto"}]
    assert shrunk(FLASH, "load", Means()) == []


def test_quantizing_takes_compilation_back() -> None:
    compiled = FLASH.changed({"compile": "generate", "cache_implementation": "static", "compile_fullgraph": True})
    first = next(smaller(compiled, "load", ALL))
    assert first == {"quantization": "bnb_int8", "compile": "none", "cache_implementation": "dynamic"}


def test_the_batch_of_the_workload_counts_where_the_setup_names_none() -> None:
    assert next(smaller(Setup(batching="padded"), "warm-up", Means(batch=16))) == {"batch_size": 8}
    assert next(smaller(Setup(batching="loop"), "warm-up", Means(batch=16)), None) is None


@pytest.mark.parametrize(
    ("knob", "value"), [("dtype", "float16"), ("use_kernels", True), ("cache_implementation", "quantized")]
)
def test_other_knobs_have_one_plain_value(knob: str, value: Any) -> None:
    assert len(down(Setup().changed({knob: value}), knob, ALL)) == 1
    assert plainer(Setup(), knob, ALL) is None


@given(
    st.sampled_from([None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention", FLASH_KERNEL]),
    st.sampled_from([None, "none", "generate", "forward"]),
    st.sampled_from([None, True, False]),
    st.frozensets(st.sampled_from(["kernels", "bitsandbytes", "accelerate"])),
)
def test_every_ladder_ends(attention: Any, compiled: Any, whole: Any, packages: frozenset[str]) -> None:
    setup = Setup(attn_implementation=attention, compile=compiled, compile_fullgraph=whole)
    for knob in ("attn_implementation", "compile"):
        down(setup, knob, Means(packages))
