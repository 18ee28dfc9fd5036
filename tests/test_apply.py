"""The story of apply: nothing is made worse, every way out is taken, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from advisor import applying as story
from advisor import child, cli, planfile
from advisor import run as running
from advisor.applying import Budget, apply, export, rehearse, write_export
from advisor.errors import Mistake, PlanError, RequestError
from advisor.facts import Facts, Known, Value
from advisor.plan import Effect, Estimate, Memory, ModelReference, Plan, Speed, Step
from advisor.run.distributions import Distributions
from advisor.run.figures import Failed, Measured, Measurement, Peak, Run
from advisor.run.healing import Explained
from advisor.setup import Setup
from advisor.workload import Arrivals, Workload

UNKNOWN = Estimate(Memory(*[None] * 8), Speed(None, None, None), "formula", None, None)
NOW = Setup(
    device="cpu", device_map="none", dtype="float32", attn_implementation="sdpa", use_cache=True, batching="loop",
    cache_implementation="dynamic", compile="none", quantization="none", threads=1,
)  # fmt: skip
FOLDER = ModelReference("folder", "model", None, False)
LOAD = Workload(goal="throughput", batch=4, prompt_tokens=24, new_tokens=8)


def step(rule: str, rung: str, change: dict[str, Value], *fallbacks: dict[str, Value]) -> Step:
    return Step(rule, rung, f"about {rule}", change, Effect(None, None, None), "measured", (), fallbacks, 1)


BATCH = step("one-prompt-at-a-time", "1-placement", {"batching": "padded", "batch_size": 4})
HALF = step("fp32-weights", "2-precision", {"dtype": "bfloat16"})
COMPILED = step("no-compilation", "4-compile", {"cache_implementation": "static", "compile": "generate"})


def plan(*steps: Step, **more: Any) -> Plan:
    setup = NOW
    for one in steps:
        setup = setup.changed(one.change)
    parts: dict[str, Any] = {
        "model": FOLDER, "model_facts": Facts(), "workload": LOAD, "baseline": NOW, "baseline_sources": {},
        "machine": Facts({"transformers.version": Known("5.22.2", "metadata")}), "baseline_estimate": UNKNOWN,
        "setup": setup, "estimate": UNKNOWN, "steps": steps, "notes": (), "decisions": (), "questions": (),
        "limits": {}, "passed_over": (),
    }  # fmt: skip
    return Plan(**parts | more)


def side(seconds: float, peak: int = 100) -> Measured:
    held = Peak(peak, None, None, None, None, None)
    runs = (Run(seconds, 0.1, 9.0, 32 / seconds, 0.0, False),) * 2
    return Measured(runs, (1.0,), (2.0,), held, held, ((1, 2),), None, {}, "cpu", 1)


Bench = Callable[[str], Measurement]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[Bench], list[str]]:
    """Replace the measuring by a function of the recipe's text; the texts that were measured, in order."""

    def install(answer: Bench) -> list[str]:
        seen: list[str] = []

        def measured(python: str, recipe: str, **_: Any) -> Measurement:
            seen.append(recipe)
            return answer(recipe)

        monkeypatch.setattr(story, "measure", measured)
        return seen

    return install


def by_batch(text: str) -> Measurement:
    """A machine on which a batch is four times as fast as a loop."""
    return side(4.0) if "len(prompts), 1)" in text else side(1.0)


def test_a_plan_that_holds(bench: Callable[[Bench], list[str]]) -> None:
    seen = bench(by_batch)
    told = json.loads(json.dumps(apply(plan(BATCH, HALF), "python").to_json(), allow_nan=False))
    assert told["outcome"] == "holds"
    assert told["speedup"] == pytest.approx(4.0)
    assert told["setup"]["dtype"] == "bfloat16"
    assert told["baseline"]["total_tokens_per_second"] == 8.0
    assert told["final"]["total_tokens_per_second"] == 32.0
    assert [(one["rule"], one["kept"], one["measured"]) for one in told["steps"]] == [
        ("one-prompt-at-a-time", True, None), ("fp32-weights", True, None),
    ]  # fmt: skip
    assert set(told["agreement"]) >= {"greedy_tokens_equal", "logit_distance"}
    assert told["elapsed_seconds"] >= 0
    assert len(seen) == 4
    assert seen[0] == seen[2] != seen[1] == seen[3]


def test_what_is_measured_is_what_is_exported(bench: Callable[[Bench], list[str]]) -> None:
    seen = bench(by_batch)
    applied = apply(plan(BATCH), "python")
    assert export(plan(BATCH), applied.setup) == seen[1]


def test_what_was_measured_in_quiet_is_handed_over(bench: Callable[[Bench], list[str]]) -> None:
    noisy = replace(side(1.0), runs=(replace(side(1.0).runs[0], disturbed=True),))
    noted: list[tuple[Setup, float]] = []
    bench(lambda text: side(4.0) if "len(prompts), 1)" in text else noisy)
    apply(plan(BATCH), "python", noted=lambda setup, measured: noted.append((setup, measured.seconds)))
    assert noted == [(NOW, 4.0), (NOW, 4.0)]


def test_a_step_that_fails_is_taken_back_and_the_rest_holds(bench: Callable[[Bench], list[str]]) -> None:
    bench(lambda text: Failed("warm-up", "InductorError: no", "") if "CompileConfig" in text else by_batch(text))
    applied = apply(plan(BATCH, COMPILED), "python")
    told = applied.to_json()
    assert told["outcome"] == "holds"
    assert [one["kept"] for one in told["steps"]] == [True, False]
    assert "InductorError" in told["steps"][1]["reason"]
    assert applied.setup == NOW.changed(BATCH.change)
    assert [one["verdict"] for one in told["attempts"]] == ["fails", "holds"]


@pytest.mark.parametrize("worse", [side(9.0), side(4.0), Failed("load", "killed by SIGKILL", "")])
def test_the_final_setup_is_never_worse_than_the_users_own(
    bench: Callable[[Bench], list[str]], worse: Measurement
) -> None:
    bench(lambda text: side(4.0) if "len(prompts), 1)" in text and "float32" in text else worse)
    applied = apply(plan(BATCH, HALF), "python")
    told = applied.to_json()
    assert told["outcome"] == "no-gain"
    assert applied.setup == NOW
    assert told["speedup"] == 1.0
    assert told["final"] == told["baseline"]
    assert not any(one["kept"] for one in told["steps"])
    assert all(one["reason"] for one in told["steps"])


def test_a_baseline_that_does_not_run_is_no_dead_end(bench: Callable[[Bench], list[str]]) -> None:
    bench(lambda text: Failed("load", "no room", "") if "float32" in text else side(1.0))
    told = apply(plan(HALF), "python").to_json()
    assert (told["outcome"], told["speedup"], told["baseline"]) == ("holds", None, None)
    assert told["final"]["runs"] == 2
    assert told["failures"] == [{"stage": "load", "reason": "no room", "diagnosis": None}]


def test_where_nothing_runs_it_failed(bench: Callable[[Bench], list[str]]) -> None:
    bench(lambda _: Failed("import", "ModuleNotFoundError: No module named 'torch'", ""))
    told = apply(plan(HALF), "python").to_json()
    assert (told["outcome"], told["speedup"], told["final"]) == ("failed", None, None)
    assert "torch" in told["verdict"]["reason"]


def test_a_plan_without_steps_measures_once(bench: Callable[[Bench], list[str]]) -> None:
    seen = bench(by_batch)
    told = apply(plan(), "python").to_json()
    assert told["outcome"] == "no-gain"
    assert told["speedup"] == 1.0
    assert len(seen) == 1


def test_steps_can_be_measured_one_by_one(bench: Callable[[Bench], list[str]]) -> None:
    bench(lambda text: side(3.0) if "CompileConfig" in text else by_batch(text))
    told = apply(plan(BATCH, COMPILED), "python", each_step=True).to_json()
    assert [one["kept"] for one in told["steps"]] == [True, False]
    assert [one["measured"]["request_seconds"] for one in told["steps"]] == [1.0, 3.0]
    assert told["speedup"] == pytest.approx(4.0)


def test_each_steps_share_stands_beside_what_was_predicted(bench: Callable[[Bench], list[str]]) -> None:
    bench(lambda text: side(3.0) if "CompileConfig" in text else by_batch(text))
    predicted = replace(BATCH, effect=Effect(3.5, 7, None))
    told = apply(plan(predicted, COMPILED), "python", each_step=True).to_json()
    first, second = (one["share"] for one in told["steps"])
    assert (first["speed"], first["predicted_speed"], first["memory_bytes"]) == (4.0, 3.5, 0)
    assert (second["speed"], second["kept"]) == (pytest.approx(1 / 3), False)
    assert told["noise"]["rounds"] == 2
    json.dumps(told, allow_nan=False)


def test_without_steps_there_are_no_shares(bench: Callable[[Bench], list[str]]) -> None:
    bench(by_batch)
    assert apply(plan(BATCH), "python").to_json()["steps"][0]["share"] is None


THOUGHT = Distributions(
    "random tokens", ((0, 0),), 1, 2, array("i", [0]), array("f", [-0.5]), array("f", [-0.5, -1]), (-1.0,)
)


def requests(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each measuring process is told besides its program."""
    seen: list[dict[str, Any]] = []

    def measured(python: str, recipe: str, **told: Any) -> Measurement:
        seen.append(told)
        return replace(by_batch(recipe), distributions=THOUGHT if told["judge"] else None)

    monkeypatch.setattr(story, "measure", measured)
    return seen


def test_the_users_prompts_are_measured_and_the_text_is_asked_for_once_a_setup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = requests(monkeypatch)
    applied = apply(plan(BATCH), "python", prompts=((1, 2, 3), (4,)))
    assert [told["prompts"] for told in seen] == [((1, 2, 3), (4,))] * 4
    assert [told["judge"] for told in seen] == [True, True, False, False]
    assert not any(told["alone"] for told in seen)
    told = applied.to_json()["workload"]
    assert told == {"kind": "repeated", "own_prompts": True, "prompts": 2, "prompt_tokens": 3, "new_tokens": 8}


def test_a_step_that_was_asked_for_the_text_answers_for_the_plan_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = requests(monkeypatch)
    told = apply(plan(BATCH), "python", each_step=True).to_json()
    assert [told["judge"] for told in seen] == [True, True, False, False, False]
    assert told["agreement"]["text"]["positions"] == 1


def test_a_process_for_one_request_finds_nothing_compiled_and_makes_few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = requests(monkeypatch)
    applied = apply(plan(BATCH, workload=replace(LOAD, repeats=False)), "python")
    assert all(told["alone"] and told["budget_seconds"] == 0.0 for told in seen)
    assert applied.to_json()["workload"]["kind"] == "one-shot"


def test_prompt_lookup_on_random_weights_is_not_even_measured(bench: Callable[[Bench], list[str]]) -> None:
    lookup = step("answers-repeat-the-prompt", "4-compile", {"speculation": "prompt_lookup"})
    seen = bench(lambda text: side(0.1) if "prompt_lookup" in text else side(1.0 if "bfloat16" in text else 4.0))
    told = apply(plan(HALF, lookup), "python", weights="random").to_json()
    assert (told["outcome"], told["speedup"]) == ("holds", pytest.approx(4.0))
    assert [one["kept"] for one in told["steps"]] == [True, False]
    assert told["steps"][1]["reason"].startswith("cannot be judged")
    assert not any("prompt_lookup" in text for text in seen)
    alone = apply(plan(lookup), "python", weights="random").to_json()
    assert (alone["outcome"], alone["speedup"]) == ("no-gain", 1.0)


def test_where_no_single_step_helps_nothing_is_kept(bench: Callable[[Bench], list[str]]) -> None:
    bench(lambda text: side(1.0) if "len(prompts), 1)" in text and "float32" in text else side(3.0))
    told = apply(plan(BATCH, HALF), "python", each_step=True).to_json()
    assert told["outcome"] == "no-gain"
    assert [one["kept"] for one in told["steps"]] == [False, False]
    assert all(one["reason"].startswith("slower") for one in told["steps"])


def test_a_step_that_needs_one_that_was_left_out_is_left_out_too(bench: Callable[[Bench], list[str]]) -> None:
    cache = step("growing-cache", "3-attention", {"cache_implementation": "static"})
    compiled = step("no-compilation", "4-compile", {"compile": "generate"})
    bench(lambda text: side(30.0) if '"static"' in text else by_batch(text))
    told = apply(plan(BATCH, cache, compiled), "python", each_step=True).to_json()
    assert [one["kept"] for one in told["steps"]] == [True, False, False]
    assert "static cache" in told["steps"][2]["reason"]


def test_a_setup_too_large_for_the_host_is_not_run(bench: Callable[[Bench], list[str]]) -> None:
    large = replace(UNKNOWN, memory=replace(UNKNOWN.memory, total_bytes=9 << 30, available_bytes=4 << 30, fits=False))
    seen = bench(lambda _: side(1.0))
    applied = apply(plan(HALF, baseline_estimate=large), "python")
    assert applied.outcome == "holds"
    assert isinstance(applied.baseline, Failed)
    assert "9.0 GiB" in applied.baseline.reason and "4.0 GiB" in applied.baseline.reason
    assert all("bfloat16" in text for text in seen)


def test_on_a_gpu_it_is_run_all_the_same(bench: Callable[[Bench], list[str]]) -> None:
    large = replace(UNKNOWN, memory=replace(UNKNOWN.memory, total_bytes=9 << 30, available_bytes=4 << 30, fits=False))
    seen = bench(by_batch)
    on_gpu = NOW.changed({"device": "cuda"})
    apply(plan(BATCH, baseline=on_gpu, setup=on_gpu.changed(BATCH.change), baseline_estimate=large), "python")
    assert len(seen) == 4


def test_a_process_that_was_disturbed_throughout_runs_again(bench: Callable[[Bench], list[str]]) -> None:
    noisy = replace(side(50.0), runs=(replace(side(50.0).runs[0], disturbed=True),))
    answers = iter([noisy, side(4.0), side(1.0), side(4.0), side(1.0)])
    seen = bench(lambda _: next(answers))
    applied = apply(plan(BATCH), "python")
    assert applied.speedup == pytest.approx(4.0)
    assert len(seen) == 5


def test_progress_is_told(bench: Callable[[Bench], list[str]]) -> None:
    bench(by_batch)
    heard: list[str] = []
    apply(plan(BATCH), "python", heard=heard.append)
    assert heard[0] == "process 1, baseline: 8.0 tokens/s"
    assert heard[1] == "process 2, plan: 32.0 tokens/s"


def test_memory_is_what_counts_where_it_is_the_goal(bench: Callable[[Bench], list[str]]) -> None:
    bench(lambda text: side(1.0, peak=400) if "float32" in text else side(2.0, peak=200))
    told = apply(plan(HALF, workload=replace(LOAD, goal="memory")), "python").to_json()
    assert (told["outcome"], told["speedup"]) == ("holds", 2.0)


def test_steps_that_do_not_lead_to_the_plan_are_refused() -> None:
    with pytest.raises(PlanError, match=r"plan\.setup\.dtype"):
        apply(plan(HALF, setup=NOW.changed({"dtype": "float16"})), "python")


def test_a_plan_that_cannot_be_written_as_a_program_is_refused_before_anything_runs(
    bench: Callable[[Bench], list[str]],
) -> None:
    seen = bench(by_batch)
    quantized = step("x", "5-quantize", {"quantization": "bnb_nf4", "compile": "forward"})
    with pytest.raises(PlanError, match="cannot be compiled"):
        apply(plan(quantized), "python")
    assert seen == []


def test_a_setup_of_the_user_that_does_not_go_together_is_not_run_and_is_mended(
    bench: Callable[[Bench], list[str]],
) -> None:
    odd = NOW.changed({"compile": "generate"})
    mended = replace(
        plan(step("x", "4-compile", {"compile": "none"})), baseline=odd, setup=odd.changed({"compile": "none"})
    )
    seen = bench(lambda program: side(1.0))
    found = apply(mended, "python")
    assert isinstance(found.baseline, Failed) and "static cache" in found.baseline.reason
    assert found.outcome == "holds" and len(seen) >= 1
    assert rehearse(mended, "python")["baseline"]["program"] is None


def test_weights_are_random_where_there_are_none_or_on_demand() -> None:
    config = plan(HALF, model=ModelReference("config", "config.json", None, True))
    assert "from_config" in export(config, NOW)
    assert "from_config" in export(plan(HALF), NOW, "random")
    assert "from_pretrained(\n" in export(plan(HALF), NOW)
    with pytest.raises(PlanError, match="--weights random"):
        export(config, NOW, "real")


def test_a_shipped_shape_stands_in_the_program() -> None:
    program = export(plan(HALF, model=ModelReference("shape", "llama-3.2-1b", None, True)), NOW)
    assert '"hidden_size": 2048,' in program
    with pytest.raises(PlanError, match="no shipped shape"):
        export(plan(HALF, model=ModelReference("shape", "../../etc/passwd", None, True)), NOW)


@pytest.mark.parametrize("version", ["not a version", "", "1; import os"])
def test_a_strange_version_is_an_unknown_one(version: str) -> None:
    odd = plan(HALF, machine=Facts({"transformers.version": Known(version, "you")}))
    assert "dtype=torch.float32" in export(odd, NOW)


def test_a_rehearsal_runs_nothing(bench: Callable[[Bench], list[str]]) -> None:
    seen = bench(by_batch)
    told = json.loads(json.dumps(rehearse(plan(BATCH), "python")))
    assert told["processes"] == ["baseline", "plan", "baseline", "plan"]
    assert "def load()" in told["plan"]["program"] != told["baseline"]["program"]
    assert seen == []


def test_a_program_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_export(tmp_path / "mine.py", "x = 1\n")
    assert (tmp_path / "mine.py").read_text() == "x = 1\n"
    assert os.listdir(tmp_path) == ["mine.py"]
    with pytest.raises(RequestError, match="cannot be written"):
        write_export(tmp_path / "no" / "mine.py", "x")


MAKER = Path(running.__path__[0]) / "inside_demo_model.py"
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
QUICK = Budget(run_seconds=0.5, patience_seconds=1.0, limit_seconds=240.0, retries=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelReference:
    place = tmp_path_factory.mktemp("apply") / "model"
    made = child.run(sys.executable, MAKER, {"folder": str(place), "shape": TINY}, 120)
    assert isinstance(made, child.Answered), made
    return ModelReference("folder", str(place), None, False)


@pytest.mark.models
def test_a_batch_beats_a_loop_for_real(model: ModelReference) -> None:
    load = replace(LOAD, batch=8, new_tokens=32)
    padded = step("one-prompt-at-a-time", "1-placement", {"batching": "padded", "batch_size": 8})
    applied = apply(plan(padded, model=model, workload=load), sys.executable, budget=QUICK)
    told = json.loads(json.dumps(applied.to_json(), allow_nan=False))
    assert told["outcome"] == "holds", told
    assert told["speedup"] > 2
    assert told["agreement"]["greedy_tokens_equal"] > 0.9
    assert told["agreement"]["logit_distance"] < 1e-3


@pytest.mark.models
def test_without_a_compiler_compilation_falls_back(
    model: ModelReference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emptying the path takes the compiler away; a fresh cache, so that nothing compiled earlier is found."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    load = replace(LOAD, batch=8, new_tokens=32)
    padded = step("one-prompt-at-a-time", "1-placement", {"batching": "padded", "batch_size": 8})
    applied = apply(plan(padded, COMPILED, model=model, workload=load), sys.executable, budget=QUICK)
    told = applied.to_json()
    assert [one["kept"] for one in told["steps"]] == [True, False], told["steps"]
    assert told["outcome"] == "holds"
    assert applied.attempts[0].verdict.word == "fails"


SLEEPER = """
import os, pathlib, sys, time
pathlib.Path(os.environ["NOTE"]).write_text(str(os.getpid()))
time.sleep(60)
"""
INTERRUPTED = """
import signal, sys, tempfile
# A shell's background jobs start with SIGINT ignored, and a test run may be one.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from advisor import child, cli, planfile
tempfile.tempdir = sys.argv[1]
try:
    child.run(sys.executable, Path(sys.argv[1]) / "worker.py", {}, 60)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interruption_ends_the_child_and_leaves_nothing(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    (tmp_path / "worker.py").write_text(SLEEPER)
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "NOTE": str(noted)},
    )
    for _ in range(200):
        if noted.exists() and noted.read_text():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "interrupted\n"
    with pytest.raises(ProcessLookupError):
        for _ in range(40):
            os.kill(int(noted.read_text()), 0)
            time.sleep(0.05)
    assert sorted(os.listdir(tmp_path)) == ["pid", "worker.py"]


@pytest.fixture
def checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Exit code and stdout of a check against what `answer` says a recipe's text takes."""

    def run(answer: Callable[[str], Measurement], asked: float, *words: str, of: Plan | None = None) -> tuple[int, str]:
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
        reference = ModelReference("folder", str(tmp_path / "model"), None, False)
        path = tmp_path / "plan.json"
        planfile.write(of or plan(BATCH, model=reference), path)
        monkeypatch.setattr(story, "measure", lambda _python, recipe, **_: answer(recipe))
        code = cli.main(["check", "--plan", str(path), "--min-speedup", str(asked), *words])
        return code, capsys.readouterr().out

    return run


def test_a_gain_that_is_large_enough(checked: Callable[..., tuple[int, str]]) -> None:
    code, said = checked(by_batch, 3.5)
    assert (code, said) == (0, "holds: the speed is 4.00 times the baseline's, at least 3.5 is asked for\n")


def test_a_gain_that_is_too_small(checked: Callable[..., tuple[int, str]]) -> None:
    code, said = checked(by_batch, 5)
    assert code == 1
    assert said.startswith("does not hold: the speed is 4.00 times")
    assert said.count("\n") == 1


def test_a_plan_that_fails_says_why(checked: Callable[..., tuple[int, str]]) -> None:
    code, said = checked(lambda _: Failed("load", "no memory", ""), 1.1)
    assert code == 1
    assert said.startswith("does not hold: ") and "no memory" in said


def test_as_json(checked: Callable[..., tuple[int, str]]) -> None:
    code, said = checked(by_batch, 5, "--json")
    found: dict[str, Any] = json.loads(said)
    assert code == 1
    assert found["check"] == {"holds": False, "min_speedup": 5.0}
    assert found["speedup"] == pytest.approx(4.0)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "1e9", "much", "1.", "99999"])
def test_an_odd_factor_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", "--plan", "plan.json", "--min-speedup", text])
    assert ended.value.code == 2
    assert "--min-speedup" in capsys.readouterr().err


def test_steps_that_were_taken_back_are_counted(checked: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    def not_in_halves(text: str) -> Measurement:
        return Failed("generate", "no such type", "") if "bfloat16" in text else by_batch(text)

    reference = ModelReference("folder", str(tmp_path / "model"), None, False)
    code, said = checked(not_in_halves, 2, of=plan(BATCH, HALF, model=reference))
    assert code == 0
    assert said.endswith("asked for, 1 of 2 steps taken back\n")


def test_under_load_nothing_is_compiled_for_batches_of_changing_shapes(bench: Callable[[Bench], list[str]]) -> None:
    seen = bench(by_batch)
    loaded = replace(LOAD, arrivals=Arrivals(4, 2.0))
    told = apply(plan(COMPILED, HALF, workload=loaded), "python").to_json()
    assert "ever other sizes" in told["steps"][0]["reason"]
    assert seen and not any("static" in text for text in seen)
    found = step("found-by-trying", "6-serve", {**HALF.change, **COMPILED.change})
    told = apply(plan(found, workload=loaded), "python").to_json()
    assert told["attempts"][0]["change"] == {"dtype": "bfloat16"}, "only the compilation goes out of a step of several"
    together = replace(LOAD, arrivals=Arrivals(4, None))
    assert "ever other sizes" not in apply(plan(COMPILED, workload=together), "python").to_json()["steps"][0]["reason"]


def test_a_check_is_made_on_the_users_prompts_and_under_load(
    checked: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def run_story(found: Plan, *_: Any, prompts: Any, **__: Any) -> Any:
        seen.append({"prompts": prompts, "load": found.workload})
        raise RequestError(Mistake("enough", "was seen"))

    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"input_ids": [1, 2, 3]}\n{"input_ids": [4]}\n')
    monkeypatch.setattr(story, "apply", run_story)
    words = ("--prompts", str(mine), "--request-rate", "2", "--requests", "5")
    assert checked(by_batch, 2, *words)[0] == 2
    assert seen[0]["prompts"] == ((1, 2, 3), (4,))
    assert (seen[0]["load"].batch, seen[0]["load"].prompt_tokens) == (2, 3)
    assert seen[0]["load"].arrivals == Arrivals(5, 2.0)


def test_a_plan_without_steps_that_fails_is_mended(bench: Callable[[Bench], list[str]]) -> None:
    mine = NOW.changed({"device": None, "dtype": "bfloat16", "attn_implementation": "flash_attention_2"})
    told: list[Failed] = []

    def explain(failed: Failed) -> Explained:
        told.append(failed)
        return Explained("error", "flash_attn_not_installed", "flash_attn_not_installed", "It is missing.", "Because.")

    missing = Failed("load", "ImportError: FlashAttention2 has been toggled on", "")
    bench(lambda text: missing if "flash_attention_2" in text else side(1.0))
    heard: list[str] = []
    found = apply(plan(baseline=mine, setup=mine), "python", heard=heard.append, explain=explain).to_json()
    assert found["outcome"] == "holds"
    assert found["setup"]["attn_implementation"] == "sdpa"
    assert found["steps"][0]["rule"] == "fallback-attn_implementation"
    assert found["failures"][0]["diagnosis"]["cause"] == "flash_attn_not_installed"
    assert set(told) == {missing}


def test_what_is_tried_next_is_told_and_written_down(bench: Callable[[Bench], list[str]]) -> None:
    heard: list[str] = []
    bench(lambda text: Failed("warm-up", "InductorError: no", "") if "CompileConfig" in text else by_batch(text))
    told = Explained("error", "no_cxx_compiler", "no_cxx_compiler", "There is no compiler.", "")
    found = apply(plan(BATCH, COMPILED), "python", heard=heard.append, explain=lambda _: told).to_json()
    first, last = found["attempts"]
    assert first["diagnosis"] == told.to_json()
    assert first["tried_next"] == {"cache_implementation": "dynamic", "compile": "none"}
    assert (last["diagnosis"], last["tried_next"]) == (None, None)
    assert "that is no_cxx_compiler: There is no compiler." in heard
    assert "trying cache_implementation=dynamic, compile=none" in heard


def test_a_plan_that_takes_more_memory_than_was_free_does_not_hold(bench: Callable[[Bench], list[str]]) -> None:
    bench(lambda text: side(4.0) if "float32" in text else replace(side(1.0), free_bytes=99))
    told = apply(plan(HALF), "python").to_json()
    assert told["outcome"] == "no-gain"
    assert "more memory than" in told["verdict"]["reason"]
