"""Recipes run as they are written, with a tiny model on the CPU: every prompt gets its tokens."""

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest
from packaging.version import Version

from advisor.plan import ModelReference
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.setup import Setup
from advisor.workload import Workload

pytestmark = pytest.mark.models
transformers = pytest.importorskip("transformers")

SIZES = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512}
DENSE = {"model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "head_dim": 64, **SIZES}
EXPERTS = {
    "model_type": "qwen3_moe", "hidden_size": 128, "intermediate_size": 256, "moe_intermediate_size": 64,
    "num_experts": 8, "num_experts_per_tok": 2, "head_dim": 32, **SIZES,
}  # fmt: skip
LOAD = Workload(batch=2, prompt_tokens=48, new_tokens=4)
CHILD = """
import contextlib, json, sys
made = {}
for name, text in json.load(sys.stdin).items():
    space = {"__name__": "recipe"}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(text, name, "exec"), space)
            model = space["load"]()
            made[name] = [len(ids) for ids in space["generate"](model, None, space["make_prompts"](model))]
    except Exception as error:
        made[name] = f"{type(error).__name__}: {error}"
print(json.dumps(made))
"""


def lengths(setups: dict[str, dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """New tokens of each prompt, or the error, for each setup; all in one child process."""
    version = Version(transformers.__version__)
    subject = Subject(ModelReference("shape", "x", None, True), LOAD, True, config=config, transformers=version)
    texts = {
        name: recipe(subject, Setup(**{"device": "cpu", "dtype": "bfloat16", **values}))
        for name, values in setups.items()
    }
    asked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert asked.returncode == 0, asked.stderr[-2000:]
    found: dict[str, Any] = json.loads(asked.stdout.splitlines()[-1])
    return found


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def test_knobs_of_generation() -> None:
    setups: dict[str, dict[str, Any]] = {
        "chunks": {"prefill_chunk_size": 16},
        "chunks into a static cache": {"prefill_chunk_size": 16, "cache_implementation": "static", "compile": "none"},
        "prompt lookup": {"speculation": "prompt_lookup", "batching": "loop"},
        "matrix precision": {"matmul_precision": "high", "dtype": "float32"},
        "pages": {"batching": "continuous", "page_size": 32, "max_batch_tokens": 128},
    }
    assert lengths(setups, DENSE) == {name: [4, 4] for name in setups}


def test_ways_to_compute_experts() -> None:
    setups = {name: {"experts_implementation": name} for name in ("eager", "batched_mm", "grouped_mm")}
    assert lengths(setups, EXPERTS) == {name: [4, 4] for name in setups}


@pytest.mark.parametrize(
    ("package", "setups"),
    [
        ("torchao", {"torchao_int8": {"quantization": "torchao_int8"}}),
        (
            "optimum.quanto",
            {
                "weights in 8 bits": {"quantization": "quanto_int8"},
                "weights in 4 bits": {"quantization": "quanto_int4"},
                "cache": {"cache_implementation": "quantized", "cache_backend": "quanto", "cache_bits": 4},
            },
        ),
        ("hqq", {"cache": {"cache_implementation": "quantized", "cache_backend": "hqq", "cache_bits": 8}}),
    ],
)
def test_packages_that_quantize(package: str, setups: dict[str, dict[str, Any]]) -> None:
    if not (installed(package.partition(".")[0]) and installed(package)):
        pytest.skip(f"{package} is not installed")
    assert lengths(setups, DENSE) == {name: [4, 4] for name in setups}
