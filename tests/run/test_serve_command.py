"""The commands that serve a plan's model: quoted, with flags that there are, and figures that follow from the plan."""

import ast
import importlib.util
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from advisor.errors import PlanError
from advisor.facts import Facts, Known
from advisor.plan import Estimate, Memory, ModelReference, Plan, Speed
from advisor.run.serve_command import serve_script
from advisor.setup import Setup
from advisor.workload import Workload

GIB = 2**30
SETUP = Setup(device="cuda", dtype="bfloat16", attn_implementation="sdpa", batching="continuous", batch_size=16)
MEMORY = Memory(14 * GIB, 4 * GIB, 4 * GIB, GIB, GIB, 20 * GIB, 23 * GIB, True)
GPU = Facts({"gpu.memory_total_bytes": Known(40 * GIB, "nvml"), "gpu.memory_free_bytes": Known(36 * GIB, "nvml")})
LOAD = Workload(prompt_tokens=900, new_tokens=100, concurrency=16)


def plan(name: str = "org/model", kind: str = "hub", memory: Memory = MEMORY, **knobs: Any) -> Plan:
    setup = replace(SETUP, **knobs)
    estimate = Estimate(memory, Speed(None, None, None), "formula", None, None)
    return Plan(
        model=ModelReference(kind, name, None, False), model_facts=Facts(), workload=LOAD, machine=GPU, baseline=setup,
        baseline_sources={}, baseline_estimate=estimate, setup=setup, estimate=estimate, steps=(), notes=(),
        decisions=(), questions=(), limits={}, passed_over=(),
    )  # fmt: skip


def script(**more: Any) -> str:
    found = plan(**more)
    return serve_script(found, found.setup)


def words(text: str, command: str) -> list[str]:
    """The words of one command, commented or not, as the shell takes them."""
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    first = next(number for number, line in enumerate(lines) if line.startswith(command + " "))
    taken = []
    for line in lines[first:]:
        taken.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            break
    return shlex.split(" ".join(taken))


def value(found: list[str], flag: str) -> str:
    return found[found.index(flag) + 1]


def test_the_memory_is_that_of_the_plan() -> None:
    text = script()
    found = words(text, "vllm serve")
    # 20 of 40 GiB, and 0.05 more
    assert value(found, "--gpu-memory-utilization") == "0.55"
    assert "14.00 GiB weights + 4.00 GiB cache + 1.00 GiB activations + 1.00 GiB overhead" in text
    assert "= 20.00 GiB; of 40.00 GiB a GPU that is 0.50" in text
    assert (value(found, "--max-model-len"), value(found, "--max-num-seqs")) == ("1000", "16")


def test_it_never_takes_more_than_is_free() -> None:
    text = script(memory=replace(MEMORY, weights_bytes=32 * GIB))
    assert value(words(text, "vllm serve"), "--gpu-memory-utilization") == "0.90"
    assert "predicted not to fit" in text


def test_ranks_share_the_memory() -> None:
    found = words(script(tensor_parallel=2, batching="padded"), "vllm serve")
    assert (value(found, "--tensor-parallel-size"), value(found, "--gpu-memory-utilization")) == ("2", "0.30")


def test_unknown_memory_is_left_out_and_said() -> None:
    text = script(memory=Memory(*[None] * 8))
    assert "--gpu-memory-utilization" not in words(text, "vllm serve") and "left out" in text


def test_a_setup_that_the_plan_did_not_foresee_has_no_figures() -> None:
    assert "left out" in serve_script(plan(), replace(SETUP, dtype="float16"))


def test_the_blocks_hold_all_requests() -> None:
    found = words(script(), "transformers serve")
    assert value(found, "--cb-block-size") == "256"
    assert value(found, "--cb-num-blocks") == str(16 * 5)
    assert value(found, "--dtype") == "bfloat16"
    alone = words(script(batching="loop"), "transformers serve")
    assert "--continuous-batching" not in alone


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"quantization": "torchao_int8"}, "does not load weights as torchao_int8"),
        ({"cache_implementation": "quantized", "cache_backend": "hqq"}, "quantized to fp8 alone"),
    ],
)
def test_what_it_cannot_carry_out_is_said(knobs: dict[str, Any], told: str) -> None:
    text = script(**knobs)
    assert told in text
    assert text.count("It cannot carry this plan out") == 2, "neither server can"


def test_on_a_cpu_the_cache_is_told() -> None:
    text = script(device="cpu")
    assert "VLLM_CPU_KVCACHE_SPACE=4" in text and "--gpu-memory-utilization" not in text


@pytest.mark.parametrize("name", ["org/it's; touch x", "a b/$(id)", "`id`", "x\\y", 'q"q'])
def test_names_are_quoted(name: str, tmp_path: Path) -> None:
    text = script(name=name, kind="folder")
    assert words(text, "transformers serve")[2] == name and words(text, "vllm serve")[2] == name
    place = tmp_path / "serve.sh"
    place.write_text(f"transformers() {{ printf '%s' \"$2\"; }}\n{text}", encoding="utf-8")
    ran = subprocess.run(["sh", str(place)], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout == name and [entry.name for entry in tmp_path.iterdir()] == ["serve.sh"]


@pytest.mark.parametrize("name", ["--config=x", "a\nb", "a\x1bb", "a\0b"])
def test_names_that_cannot_stand_in_a_command_are_refused(name: str) -> None:
    with pytest.raises(PlanError, match="cannot stand in a command"):
        script(name=name)


def test_a_configuration_alone_cannot_be_served() -> None:
    with pytest.raises(PlanError, match="no weights to serve"):
        script(kind="config")


def test_the_installed_server_knows_the_flags() -> None:
    spec = importlib.util.find_spec("transformers")
    place = Path(next(iter(spec.submodule_search_locations or ()))) / "cli/serve.py" if spec else None
    if place is None or not place.exists():
        pytest.skip("no transformers with this command")
    tree = ast.parse(place.read_text(encoding="utf-8"))
    known = {
        argument.arg for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for argument in node.args.args
    }
    found = [*words(script(quantization="none"), "transformers serve"), "--quantization", "--compile"]
    flags = {word.removeprefix("--").replace("-", "_") for word in found if word.startswith("--")}
    assert flags <= known
