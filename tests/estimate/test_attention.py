"""Where SDPA finds no fused kernel, attention counts as eager attention does."""

from dataclasses import replace

import pytest

from advisor.estimate.attention import as_it_runs
from advisor.facts import Facts, Known, Value
from advisor.setup import Setup
from advisor.workload import Workload

SETUP = Setup(
    device="cuda", dtype="float16", attn_implementation="sdpa", cache_implementation="dynamic", quantization="none"
)
LOAD = Workload(prompt_tokens=8192)


def facts(**values: Value) -> Facts:
    return Facts({name.replace("__", "."): Known(value, "test") for name, value in values.items()})


GROUPED = facts(model__heads=12, model__kv_heads=2)


def machine(capability: float = 7.5, version: str = "5.22.2") -> Facts:
    return facts(gpu__capability=capability, transformers__version=version)


def test_grouped_heads_on_turing_run_plain() -> None:
    assert as_it_runs(GROUPED, machine(), LOAD, SETUP).attn_implementation == "eager"


@pytest.mark.parametrize(
    ("model", "where", "load", "setup"),
    [
        (GROUPED, machine(8.0), LOAD, SETUP),
        (GROUPED, machine(version="4.53.0"), LOAD, SETUP),
        (facts(model__heads=12, model__kv_heads=12), machine(), LOAD, SETUP),
        (GROUPED, machine(), replace(LOAD, mixed_lengths=True), SETUP),
        (GROUPED, machine(), LOAD, replace(SETUP, cache_implementation="static")),
        (GROUPED, machine(), LOAD, replace(SETUP, batching="continuous")),
        (GROUPED, machine(), LOAD, replace(SETUP, attn_implementation="flash_attention_2")),
        (GROUPED, machine(), LOAD, replace(SETUP, device="cpu")),
        (GROUPED, Facts(), LOAD, SETUP),
    ],
)
def test_elsewhere_it_runs_as_it_is_set(model: Facts, where: Facts, load: Workload, setup: Setup) -> None:
    assert as_it_runs(model, where, load, setup) == setup


def test_in_float32_the_flash_kernel_is_not_taken_either() -> None:
    wide = replace(SETUP, dtype="float32")
    assert as_it_runs(GROUPED, machine(8.0), LOAD, wide).attn_implementation == "eager"
