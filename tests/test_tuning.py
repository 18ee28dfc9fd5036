"""The story of tuning: a child tries the candidates, and whatever it does ends in a winner or a reason."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from advisor import api, applying, child, cli, planfile, tuning
from advisor import run as running
from advisor.facts import Facts, Known
from advisor.plan import Effect, Estimate, Memory, ModelReference, Plan, Speed, Step
from advisor.run.figures import Measured, Peak, Run
from advisor.setup import Setup
from advisor.workload import Workload

NOW = Setup(
    device="cpu", device_map="none", dtype="float32", attn_implementation="sdpa", use_cache=True, batching="loop",
    cache_implementation="dynamic", compile="none", quantization="none", threads=1,
)  # fmt: skip
HALF = NOW.changed({"dtype": "bfloat16"})
EAGER = HALF.changed({"attn_implementation": "eager"})
LOAD = Workload(goal="latency", prompt_tokens=24, new_tokens=8, repeats=False)
STEP = Step("fp32-weights", "2-precision", "wide", {"dtype": "bfloat16"}, Effect(2.0, 0, None), "measured", (), (), 1)
KNOWN = {"host.avx512_bf16": True, "transformers.version": "5.22.2"}
MODEL = {"model.supports_sdpa": True}
SLOWER = {"float32": 1.3, "eager": 1.1}


def estimate(_: Plan, setup: Setup) -> Estimate:
    seconds = SLOWER.get(str(setup.dtype), 1.0) * SLOWER.get(str(setup.attn_implementation), 1.0)
    memory = Memory(10, 0, 0, 0, 0, 10, 1000, True)
    return Estimate(memory, Speed(0.1, 9.0, 8 / seconds), "formula", None, None)


@pytest.fixture(autouse=True)
def _known_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_estimate", estimate)


def plan(**more: Any) -> Plan:
    parts: dict[str, Any] = {
        "model": ModelReference("folder", "model", None, False), "workload": LOAD, "baseline": NOW, "setup": HALF,
        "model_facts": Facts({name: Known(value, "test") for name, value in MODEL.items()}), "baseline_sources": {},
        "machine": Facts({name: Known(value, "test") for name, value in KNOWN.items()}), "steps": (STEP,),
        "baseline_estimate": estimate(plan, NOW), "estimate": estimate(plan, HALF), "notes": (), "decisions": (),  # type: ignore[arg-type]
        "questions": (), "limits": {}, "passed_over": (),
    }  # fmt: skip
    return Plan(**parts | more)


def program(folder: Path, body: str) -> Path:
    """A child that has the request as `request`, and answers with what `body` leaves in `answer`."""
    place = folder / "child.py"
    head = "import json, os, sys\nrequest = json.load(open(sys.argv[1]))\n"
    place.write_text(head + body + "\njson.dump(answer, open(sys.argv[2], 'w'))\n", encoding="utf-8")
    return place


EAGER_WINS = """
names = {one["attn_implementation"] + one["weights"]: one["name"] for one in request["candidates"]}
seconds = {one["name"]: 1.0 for one in request["candidates"]} | {names["eager0"]: 0.5}
rounds = [{"tokens": 4, "runs": 1, "seconds": seconds}]
answer = {"winner": names["eager0"], "seconds": seconds, "failed": {}, "rounds": rounds, "elapsed_seconds": 1.0}
"""


def test_the_winner_of_the_child_wins(tmp_path: Path) -> None:
    found = tuning.tune(plan(), sys.executable, program=program(tmp_path, EAGER_WINS))
    assert found.winner == EAGER
    told = json.loads(json.dumps(found.to_json(NOW), allow_nan=False))
    assert told["winner"] == {"dtype": "bfloat16", "attn_implementation": "eager"}
    assert told["measured"] is True
    assert {"change": told["winner"], "seconds": 0.5} in told["rounds"][0]["seconds"]
    assert {one["seconds"] for one in told["tried"]} == {0.5, 1.0}
    assert told["seconds"] > 0


def test_candidates_that_share_weights_are_told_so(tmp_path: Path) -> None:
    body = "answer = 0\nopen(os.environ['SEEN'], 'w').write(json.dumps(request))"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEN", str(tmp_path / "seen"))
        tuning.tune(plan(), sys.executable, budget_seconds=33, program=program(tmp_path, body))
    request = json.loads((tmp_path / "seen").read_text(encoding="utf-8"))
    kinds = {(one["weights"], "bfloat16" in one["recipe"]) for one in request["candidates"]}
    assert kinds == {("0", True), ("1", False)}
    assert request["budget_seconds"] == pytest.approx(33, abs=1)
    assert request["resident_bytes"] == 500
    assert request["new_tokens"] == 8


def test_what_ends_the_process_drops_out_and_the_rest_is_tried(tmp_path: Path) -> None:
    crash = """
if len(request["candidates"]) == 4:
    print(json.dumps({"stage": "trying", "name": request["candidates"][0]["name"]}), flush=True)
    os.kill(os.getpid(), 9)
left = request["candidates"][0]["name"]
answer = {"winner": left, "seconds": {left: 1.0}, "failed": {}, "rounds": [], "elapsed_seconds": 1.0}
"""
    found = tuning.tune(plan(), sys.executable, program=program(tmp_path, crash))
    assert found.winner not in (None, HALF)
    assert "SIGKILL" in found.failed[HALF]
    assert found.tried[HALF] is None


def test_an_answer_that_is_not_as_agreed_leaves_what_was_told(tmp_path: Path) -> None:
    body = """
print(json.dumps({"stage": "tried", "name": request["candidates"][1]["name"], "seconds": 0.25}), flush=True)
answer = {"winner": 7}
"""
    found = tuning.tune(plan(), sys.executable, program=program(tmp_path, body))
    assert found.winner is not None
    assert found.tried == {found.winner: 0.25}


def test_a_child_that_never_begins_leaves_a_reason(tmp_path: Path) -> None:
    found = tuning.tune(plan(), sys.executable, program=program(tmp_path, "raise ImportError('no torch here')"))
    assert found.winner is None
    assert "no torch here" in str(found.reason)
    assert tuning.retold(plan(), found) == plan()


def test_nothing_is_started_where_no_speed_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = replace(estimate(plan(), NOW), speed=Speed(None, None, None))
    monkeypatch.setattr(tuning, "_estimate", lambda _plan, _setup: silent)
    found = tuning.tune(plan(), "no such python", program=tmp_path / "none.py")
    assert (found.winner, dict(found.tried)) == (None, {})
    assert "no speed is known" in str(found.reason)


@pytest.mark.parametrize(
    ("change", "weights", "words"),
    [
        ({"engine": "serve"}, None, "transformers serve"),
        ({"tensor_parallel": 2}, None, "several processes"),
        ({"speculation": "prompt_lookup"}, "random", "cannot be judged"),
    ],
)
def test_nothing_is_started_where_short_runs_in_one_process_tell_nothing(
    tmp_path: Path, change: dict[str, Any], weights: str | None, words: str
) -> None:
    found = tuning.tune(plan(setup=HALF.changed(change)), "no such python", weights, program=tmp_path / "none.py")
    assert (found.winner, dict(found.tried)) == (None, {})
    assert words in str(found.reason)


def test_a_winner_becomes_a_plan_that_can_be_applied_with_the_old_way_as_fallback() -> None:
    found = tuning.retold(plan(), tuning.Tuned(winner=EAGER))
    (choice,) = applying.first_choices(found)
    assert found.setup == EAGER
    assert choice.step.rule == tuning.RULE
    assert choice.step.change == {"dtype": "bfloat16", "attn_implementation": "eager"}
    assert choice.step.fallbacks == ({"dtype": "bfloat16"},)


def test_a_plan_that_wins_stays_as_it_is() -> None:
    assert tuning.retold(plan(), tuning.Tuned(winner=HALF)) == plan()


def test_the_users_own_setup_may_win() -> None:
    found = tuning.retold(plan(), tuning.Tuned(winner=NOW))
    assert (found.setup, found.steps) == (NOW, ())
    assert applying.first_choices(found) == ()


def side(seconds: float) -> Measured:
    held = Peak(100, None, None, None, None, None)
    runs = (Run(seconds, 0.1, 9.0, 8 / seconds, 0.0, False),) * 2
    return Measured(runs, (1.0,), (seconds,), held, held, ((1, 2),), None, {}, "cpu", 1)


@pytest.fixture
def applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run `apply --tune` where eager is found; the measuring is a function of the recipe's text."""

    def run(answer: Callable[[str], Measured], *words: str) -> tuple[int, str]:
        place = tmp_path / "model"
        place.mkdir()
        path = tmp_path / "plan.json"
        planfile.write(plan(model=ModelReference("folder", str(place), None, False)), path)
        monkeypatch.setattr(tuning, "PROGRAM", program(tmp_path, EAGER_WINS))
        monkeypatch.setattr(applying, "measure", lambda _python, recipe, **_: answer(recipe))
        code = cli.main(["apply", "--plan", str(path), "--no-input", *words])
        return code, capsys.readouterr().out

    return run


def test_what_was_found_is_measured_against_the_users_own_setup(applied: Callable[..., tuple[int, str]]) -> None:
    code, said = applied(lambda text: side(2.0 if "float32" in text else 1.0), "--tune", "--json")
    told = json.loads(said)
    assert (code, told["outcome"], told["setup"]["attn_implementation"]) == (0, "holds", "eager")
    assert told["tuning"]["winner"] == {"dtype": "bfloat16", "attn_implementation": "eager"}
    assert [one["rule"] for one in told["steps"]] == [tuning.RULE]


def test_what_was_found_and_does_not_hold_gives_way_to_the_plan(applied: Callable[..., tuple[int, str]]) -> None:
    slow = lambda text: side(3.0 if "eager" in text else 2.0 if "float32" in text else 1.0)  # noqa: E731
    _, said = applied(slow, "--tune-seconds", "20", "--json")
    told = json.loads(said)
    assert (told["outcome"], told["setup"]["attn_implementation"]) == ("holds", "sdpa")
    assert told["setup"]["dtype"] == "bfloat16"


def test_what_was_tried_stands_above_the_result(applied: Callable[..., tuple[int, str]]) -> None:
    _, said = applied(lambda text: side(2.0 if "float32" in text else 1.0), "--tune")
    assert "4 of 4 setups tried" in said
    assert said.index("setups tried") < said.index("time to first token")


def test_the_page_tells_what_was_tried(applied: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    applied(lambda text: side(2.0 if "float32" in text else 1.0), "--tune", "--report", str(page), "--json")
    said = page.read_text(encoding="utf-8")
    assert said.index("setups tried") < said.index("time to first token")


def test_python_code_may_tune_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "PROGRAM", program(tmp_path, EAGER_WINS))
    monkeypatch.setattr(applying, "measure", lambda _python, recipe, **_: side(2.0 if "float32" in recipe else 1.0))
    assert api.apply(plan(), python=sys.executable, tune_seconds=9).setup == EAGER
    assert api.apply(plan(), python=sys.executable).setup == HALF


def test_without_being_asked_nothing_is_tried(applied: Callable[..., tuple[int, str]]) -> None:
    _, said = applied(lambda text: side(2.0 if "float32" in text else 1.0), "--json")
    assert "tuning" not in json.loads(said)


MAKER = Path(running.__path__[0]) / "inside_demo_model.py"
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.mark.models
def test_setups_are_tried_for_real(tmp_path: Path) -> None:
    place = tmp_path / "model"
    shape = {**TINY, "num_key_value_heads": 2}
    assert isinstance(child.run(sys.executable, MAKER, {"folder": str(place), "shape": shape}, 120), child.Answered)
    heard: list[str] = []
    here = plan(model=ModelReference("folder", str(place), None, False))
    found = tuning.tune(here, sys.executable, heard=heard.append, budget_seconds=30)
    assert found.winner in found.predicted, found
    assert len(found.tried) == 4
    assert found.failed == {}
    assert all(seconds is not None and 0 < seconds < 10 for seconds in found.tried.values())
    assert len(found.rounds) >= 2
    assert any("attn_implementation=eager" in line for line in heard)
