"""The Python side: the same objects as --json, the same refusals, and a model loaded as its plan says."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import advisor
from advisor import planfile
from advisor.applying import Budget
from advisor.errors import AdvisorError
from advisor.facts import Value
from advisor.plan import Plan
from advisor.run.figures import Measured

MACHINES = Path(__file__).parent / "machines"
CONFIG = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 128,
    "num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
    "max_position_embeddings": 512,
}  # fmt: skip


def test_functions_outlive_the_modules_they_come_from() -> None:
    """Importing a submodule sets an attribute of the package; none may be called as a function is."""
    code = (
        "import advisor\n"
        "for name in advisor.__all__:\n"
        "    first = getattr(advisor, name)\n"
        "import advisor.cli, advisor.commands.diagnose, advisor.commands.apply, advisor.commands.explain\n"
        "assert all(callable(getattr(advisor, name)) for name in advisor.__all__)\n"
        "import sys; assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, advisor; print(sorted(set(sys.modules) & {'rich', 'torch', 'yaml', 'psutil'}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'diagnoze'"):
        advisor.diagnoze  # noqa: B018


def planned(**more: Value) -> Plan:
    return advisor.diagnose("llama-3.1-8b", machine=MACHINES / "t4.json", **more)  # type: ignore[arg-type]


def test_a_plan_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    from advisor import cli

    words = ["--machine", str(MACHINES / "t4.json"), "--batch", "4", "--turns", "yes", "--set", "dtype=float32"]
    cli.main(["diagnose", "llama-3.1-8b", "--json", *words])
    found = advisor.diagnose(
        "llama-3.1-8b", machine=MACHINES / "t4.json", batch=4, turns=True, setup={"dtype": "float32"}
    )
    assert json.loads(json.dumps(found.to_json())) == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"batches": 4}, "batches: no field of a workload"),
        ({"batch": 0}, "batch: 0 is not between"),
        ({"batch": "4"}, "batch: '4' is no"),
        ({"turns": 1}, "turns: 1 is no"),
        ({"goal": "fun"}, "goal: 'fun' is not one of"),
    ],
)
def test_a_wrong_workload_is_refused_with_its_place(stated: dict[str, Value], told: str) -> None:
    with pytest.raises(AdvisorError) as refused:
        planned(**stated)
    assert told in str(refused.value)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(AdvisorError) as refused:
        planned(batch=0, goal="fun", fun=True)
    assert len(refused.value.mistakes) == 3


def test_an_explanation_is_that_of_the_command() -> None:
    text = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 14.74 GiB"
    found = advisor.explain(text, machine=MACHINES / "t4.json")
    assert found.recognized and found.to_json()["memory"]["requested_bytes"] == 2 * 2**30
    assert not advisor.explain("KeyError: 'x'", machine=MACHINES / "t4.json").recognized


def test_an_exception_and_bytes_are_explained_like_their_text() -> None:
    said = "CUDA out of memory. Tried to allocate 2.00 GiB."
    try:
        raise RuntimeError(said)
    except RuntimeError as error:
        found = advisor.explain(error)
    assert found.kind == advisor.explain(said.encode()).kind == "gpu_oom"


@pytest.mark.parametrize(
    "asked",
    [
        lambda: advisor.explain(None),  # type: ignore[arg-type]
        lambda: advisor.explain("x", machine={}),  # type: ignore[arg-type]
        lambda: advisor.explain("x", rules=[3]),  # type: ignore[list-item]
        lambda: advisor.load({}),  # type: ignore[arg-type]
        lambda: advisor.apply(7),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_text_plan_or_path_is_refused_in_our_own_words(asked: Callable[[], object]) -> None:
    with pytest.raises(AdvisorError, match=" is no "):
        asked()


def test_the_functions_are_listed() -> None:
    assert set(advisor.__all__) <= set(dir(advisor))


def test_continuous_batching_is_no_argument(tmp_path: Path) -> None:
    plan = advisor.diagnose(
        "qwen2.5-0.5b", machine=MACHINES / "a100-80gb.json", setup={"batching": "continuous"}, concurrency=32
    )
    with pytest.raises(AdvisorError, match="continuous batching is a call of its own"):
        advisor.load(plan, setup=plan.baseline)


@pytest.mark.models
def test_a_model_is_loaded_measured_and_generates_as_planned(tmp_path: Path) -> None:
    import torch

    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    plan = advisor.diagnose(
        tmp_path / "config.json",
        machine=MACHINES / "cpu-only-measured.json",
        batch=4,
        prompt_tokens=16,
        new_tokens=4,
        goal="throughput",
        repeats=False,
        setup={"dtype": "float32", "batching": "loop"},
    )
    assert plan.steps and plan.setup.compile != "generate"
    planfile.write(plan, tmp_path / "plan.json")
    chosen = plan.baseline.changed({"cache_implementation": "static", "compile": "none"})
    loaded = advisor.load(tmp_path / "plan.json", setup=chosen)
    assert loaded.model.dtype == torch.float32
    assert loaded.arguments["cache_implementation"] == "static" and loaded.tokenizer is None
    ids = torch.ones(1, 5, dtype=torch.long)
    made = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, **loaded.arguments)
    assert made.shape[1] <= 8
    quick = Budget(run_seconds=0.2, patience_seconds=0.0, limit_seconds=100.0, attempts=1, retries=0)
    done = advisor.apply(plan, budget=quick)
    assert isinstance(done.baseline, Measured) and done.outcome in ("holds", "no-gain")
