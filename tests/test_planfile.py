"""Plan files are read as if a stranger had written them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor import named_folders, planfile
from advisor.errors import PlanError
from advisor.facts import Facts, Known
from advisor.plan import Effect, Estimate, Memory, ModelReference, Plan, Speed, Step
from advisor.rulebook import full_vocabulary
from advisor.setup import Setup
from advisor.workload import Workload

ESTIMATE = Estimate(
    Memory(10, 2, 3, 4, 5, 20, 100, True), Speed(0.1, 30.0, 28.0, "host", 0.2), "formula", (0.9, 1.1), (0.7, 1.5)
)
BASELINE = Setup(device="cpu", dtype="float32", batching="loop")


def a_plan(model: ModelReference) -> Plan:
    step = Step(
        rule="fp32-weights-on-bf16-device",
        rung="2-precision",
        summary="Weights are kept in float32",
        change={"dtype": "bfloat16"},
        effect=Effect(2.0, -10, None),
        evidence="measured",
        because=({"clause": "setup.dtype == float32", "value": "float32", "source": "you"},),
        fallbacks=({"dtype": "float16"},),
        rank=1,
    )
    return Plan(
        model=model,
        model_facts=Facts({"model.layers": Known(2, "config.json")}),
        workload=Workload().told("batch", 8),
        machine=Facts({"host.cores_usable": Known(2, "psutil")}),
        baseline=BASELINE,
        baseline_sources={"dtype": "you"},
        baseline_estimate=ESTIMATE,
        setup=BASELINE.changed({"dtype": "bfloat16"}),
        estimate=ESTIMATE,
        steps=(step,),
        notes=(),
        decisions=(),
        questions=(),
        limits={},
        passed_over=(),
    )


SHAPE = ModelReference("shape", "llama-3.1-8b", None, True)


def saved(tmp_path: Path, **edits: Any) -> Path:
    """A plan file in which `a__b=value` replaces data["a"]["b"]."""
    data = a_plan(SHAPE).to_json()
    for path, value in edits.items():
        *way, last = path.split("__")
        place = data
        for part in way:
            place = place[int(part)] if part.isdigit() else place[part]  # type: ignore[index]
        place[last] = value
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(data))
    return file


def refusal(path: Path, named: str | None = None) -> str:
    with pytest.raises(PlanError) as caught:
        planfile.read(path, full_vocabulary(), named)
    return str(caught.value)


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    plan = a_plan(SHAPE)
    planfile.write(plan, tmp_path / "plan.json")
    again = planfile.read(tmp_path / "plan.json", full_vocabulary())
    for name in ("model", "model_facts", "workload", "machine", "baseline", "setup", "estimate", "baseline_estimate"):
        assert getattr(again, name) == getattr(plan, name), name
    assert [(s.rule, s.change, s.fallbacks, s.effect) for s in again.steps] == [
        (s.rule, s.change, s.fallbacks, s.effect) for s in plan.steps
    ]


def test_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    planfile.write(a_plan(SHAPE), tmp_path / "plan.json")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be written"):
        planfile.write(a_plan(SHAPE), tmp_path / "nowhere" / "plan.json")


@pytest.mark.parametrize(
    ("edit", "value", "told"),
    [
        ("plan__setup__dtpe", "bfloat16", "plan.setup.dtpe: no such knob, did you mean dtype?"),
        ("plan__setup__dtype", "bf16", "plan.setup.dtype: 'bf16' is not a value of dtype"),
        ("plan__setup__dtype", "__import__('os').system('true')", "plan.setup.dtype"),
        ("plan__setup__attn_implementation", "../../x", "plan.setup.attn_implementation"),
        ("plan__setup__attn_implementation", 'a/b"; import os #', "plan.setup.attn_implementation"),
        ("plan__setup__threads", -1, "not between 1 and"),
        ("plan__setup__threads", True, "True is no count"),
        ("plan__setup__max_memory", ["0=10GiB", "0; rm"], "plan.setup.max_memory"),
        ("steps__0__change", {"trust_remote_code": True}, "steps[0].change.trust_remote_code: no such knob"),
        ("steps__0__fallbacks", [{"dtype": ["float32"]}], "steps[0].fallbacks[0].dtype"),
        ("steps__0__rule", "../../etc/passwd", "steps[0].rule"),
        ("steps__0__rung", "9-magic", "steps[0].rung"),
        ("steps", {}, "steps: missing or no list"),
        ("workload__batch", 0, "workload.batch: 0 is not between"),
        ("workload__new_tokens", "many", "workload.new_tokens"),
        ("workload__goal", "glory", "workload.goal: 'glory' is not one of"),
        ("model__kind", "pickle", "no model"),
        ("model__name", "../escape", "'../escape' is no name of a shape"),
        ("model__revision", "a b; c", "model.revision"),
        ("machine", {"host.name": {"value": "x", "source": "y"}}, "machine.host.name: no such fact"),
        ("schema", 2, "this version reads 1"),
    ],
)
def test_edited_plans_are_refused_with_the_place_named(tmp_path: Path, edit: str, value: Any, told: str) -> None:
    assert told in refusal(saved(tmp_path, **{edit: value}))


def test_knobs_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, plan__setup__quantization="bnb_nf4", plan__setup__compile="forward")
    assert "plan.setup: weights quantized by bitsandbytes cannot be compiled" in refusal(path)


def test_all_mistakes_come_together(tmp_path: Path) -> None:
    path = saved(tmp_path, plan__setup__dtpe="x", workload__batch=0, steps__0__rung="x")
    assert len(refusal(path).splitlines()) == 3


def local(tmp_path: Path, name: str) -> Path:
    return saved(tmp_path, model__kind="folder", model__name=name)


def test_a_model_beside_the_plan_is_followed(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    plan = planfile.read(local(tmp_path, "model"), full_vocabulary())
    assert plan.model.name == str((tmp_path / "model").resolve())


def test_a_path_outside_is_not_followed_unless_the_user_named_it(tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    (tmp_path / "plans").mkdir()
    outside.mkdir()
    path = local(tmp_path / "plans", str(outside))
    assert "lies outside the plan's folder" in refusal(path)
    assert planfile.read(path, full_vocabulary(), named=str(outside)).model.name == str(outside)
    named_folders.remember(outside)
    assert planfile.read(path, full_vocabulary()).model.name == str(outside)


def test_a_link_beside_the_plan_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    (tmp_path / "plans").mkdir()
    outside.mkdir()
    (tmp_path / "plans" / "model").symlink_to(outside)
    assert "lies outside" in refusal(local(tmp_path / "plans", "model"))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}', "[" * 100_000, '"' + "x" * 100])
def test_files_that_are_no_plan(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert str(path) in refusal(path)
    assert not planfile.looks_like_a_plan(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
PLACES = sorted(a_plan(SHAPE).to_json())


@given(st.sampled_from(PLACES), JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_whatever_stands_in_a_plan_it_is_read_or_refused(tmp_path: Path, place: str, value: Any) -> None:
    try:
        planfile.read(saved(tmp_path, **{place: value}), full_vocabulary())
    except PlanError as error:
        assert error.mistakes


def drafting(folder: Path, assistant: str) -> Path:
    """A plan in `folder` whose step and setup draft tokens with `assistant`."""
    knobs = {"speculation": "assistant", "assistant_model": assistant}
    steps = [{**json.loads(json.dumps(a_plan(SHAPE).to_json()))["steps"][0], "change": knobs, "fallbacks": [knobs]}]
    path = saved(folder, steps=steps)
    data = json.loads(path.read_text())
    data["plan"]["setup"] |= knobs
    path.write_text(json.dumps(data))
    return path


def test_the_folder_of_an_assistant_is_followed_like_the_models(tmp_path: Path) -> None:
    outside, plans = tmp_path / "draft model", tmp_path / "plans"
    outside.mkdir()
    (plans / "near").mkdir(parents=True)
    path = drafting(plans, str(outside))
    told = refusal(path)
    assert "steps[0].change.assistant_model" in told and "plan.setup.assistant_model" in told
    assert f"--assistant {outside}" in told
    assert "lies outside" in refusal(drafting(plans, "../draft model"))
    assert refusal(drafting(plans, "./none")).count("does not exist") == 3
    read = planfile.read(drafting(plans, str(outside)), full_vocabulary(), assistant=str(outside))
    assert read.setup.assistant_model == read.steps[0].change["assistant_model"] == str(outside)
    near = planfile.read(drafting(plans, "./near"), full_vocabulary())
    assert near.setup.assistant_model == near.steps[0].fallbacks[0]["assistant_model"] == str(plans / "near")
    hub = planfile.read(drafting(plans, "org/small"), full_vocabulary())
    assert hub.setup.assistant_model == "org/small"


def test_a_folder_named_in_a_diagnosis_is_kept_whole_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "draft").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not named_folders.was_named(tmp_path / "draft")
    assert named_folders.settled("draft") == str(tmp_path / "draft")
    assert named_folders.was_named(tmp_path / "draft")
    assert named_folders.settled("org/small") == "org/small"
