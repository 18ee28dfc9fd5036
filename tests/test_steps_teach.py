"""What `apply --steps` measures teaches the estimate: every quiet measurement is noted, steps included."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor import applying as story
from advisor import own_runs
from advisor.commands import apply as command
from advisor.estimate import formula
from advisor.plan import Plan
from advisor.probe import speed
from advisor.run.choices import setup_of
from advisor.run.figures import Measured, Peak, Run
from advisor.run.recipe import recipe
from advisor.setup import Setup

MACHINE = Path(__file__).parent / "machines" / "cpu-only-measured.json"
SLOWER = 2.0
"""How many times slower than predicted this machine turns out to be."""


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plan:
    monkeypatch.setattr(own_runs, "place", lambda: tmp_path / "own-runs.jsonl")
    found = advisor.diagnose(
        "qwen2.5-0.5b", machine=MACHINE, batch=8, goal="throughput", setup={"dtype": "float32", "batching": "loop"}
    )
    monkeypatch.setattr(command.common, "last_machine", lambda: found.machine)
    return found


def told(plan: Plan, setup: Setup) -> Any:
    return formula.uncorrected(plan.model_facts, plan.machine, plan.workload, setup).speed


def measured(plan: Plan, setup: Setup, disturbed: bool = False) -> Measured:
    """Figures of a machine that is slower than predicted."""
    speed_told = told(plan, setup)
    total = speed_told.total_tokens_per_second / SLOWER
    held = Peak(100, None, None, None, None, None)
    run = Run(
        plan.workload.batch * plan.workload.new_tokens / total, speed_told.ttft_seconds * SLOWER,
        speed_told.decode_tokens_per_second / SLOWER, total, 0.0, disturbed,
    )  # fmt: skip
    return Measured((run, run), (1.0,), (2.0,), held, held, ((1, 2),), None, {}, "cpu", 1)


def climbed(plan: Plan, monkeypatch: pytest.MonkeyPatch, loud: Setup | None = None) -> list[Setup]:
    """Apply the plan step by step on that machine, and learn; the setups on the way."""
    choices = story.first_choices(plan)
    setups = [setup_of(plan.baseline, choices[:number]) for number in range(len(choices) + 1)]
    by_text = {recipe(story.subject(plan, None), setup): setup for setup in setups}

    def measure(python: str, text: str, **_: Any) -> Measured:
        return measured(plan, by_text[text], by_text[text] == loud)

    monkeypatch.setattr(story, "measure", measure)
    found = story.apply(plan, "python", each_step=True, noted=command.note_runs(plan), budget=story.Budget(retries=0))
    assert set(found.shares) == {step.rule for step in plan.steps}
    return setups


def test_a_second_diagnosis_predicts_closer(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    setups = climbed(plan, monkeypatch)
    assert len(setups) > 2
    wiser = plan.machine | own_runs.facts(speed.machine_key(plan.machine))
    for setup in setups:
        before = told(plan, setup).total_tokens_per_second
        real = before / SLOWER
        after = formula.estimate(plan.model_facts, wiser, plan.workload, setup).speed.total_tokens_per_second
        assert after is not None
        assert abs(after - real) < 0.8 * abs(before - real)


def test_every_step_is_noted_by_its_kind_and_a_disturbed_one_is_not(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    setups = climbed(plan, monkeypatch)
    kinds = {formula.own_kind(plan.model_facts, plan.machine, plan.workload, setup) for setup in setups}
    everything = own_runs.place().read_text()
    assert all(f'"{kind}"' in everything for kind in kinds)
    own_runs.place().unlink()
    climbed(plan, monkeypatch, loud=setups[0])
    first = formula.own_kind(plan.model_facts, plan.machine, plan.workload, setups[0])
    assert f'"{first}"' not in own_runs.place().read_text()


def test_the_users_own_prompts_are_what_is_learnt_from(plan: Plan) -> None:
    ids = ((1, 2, 3), (4,))
    load = replace(plan.workload, batch=2, prompt_tokens=3, mixed_lengths=True)
    assert story.fitted(plan.workload, ids) == load
