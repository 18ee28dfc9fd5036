"""Requests under load on the screen: both sides' waits, which way is better, and what the verdict goes by."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from advisor.facts import Facts
from advisor.plan import Effect, Estimate, Memory, ModelReference, Plan, Speed, Step
from advisor.run.applied import Applied
from advisor.run.choices import Choice
from advisor.run.figures import Measured, Peak, Run, Served
from advisor.run.verify import HOLDS, Aim, Comparison, Verdict
from advisor.setup import Setup
from advisor.show import serving
from advisor.show.verification import screen
from advisor.workload import Workload

NOW, THEN = Setup(batching="padded"), Setup(batching="continuous")
STEP = Step("x", "6-serve", "x", {"batching": "continuous"}, Effect(None, None, None), "measured", (), (), 1)
ESTIMATE = Estimate(Memory(*[None] * 8), Speed(9.0, 9.0, 9.0), "formula", None, None)


def side(late: float | None) -> Measured:
    served = None if late is None else Served(8, 0.25, 0.5, 1.0, late, 100.0, 2.0)
    held = Peak(100 << 20, None, None, None, None, None)
    run = Run(4.0, 0.25, None, 100.0, None, False, served)
    return Measured((run,), (1.0,), (1.0,), held, held, (), None, {}, "cpu", 1)


def applied(late: float | None, goal: str = "latency") -> Applied:
    comparison = Comparison(side(late and 2 * late), side(late), Verdict(HOLDS, 2.0, 0.03, "2.00 times"), None)
    choices = (Choice(STEP, 0, "x"),)
    return Applied(HOLDS, NOW, THEN, comparison, choices, (), {}, Aim(goal, True, False), "real", 9.0)


def shown(found: Applied) -> str:
    plan = Plan(
        ModelReference("folder", "m", None, False), Facts(), Workload(), Facts(), NOW, {}, ESTIMATE, THEN, ESTIMATE,
        (STEP,), (), (), (), {}, (),
    )  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=100, highlight=False).print(screen(plan, found))
    return out.getvalue()


def test_both_sides_stand_beside_each_other_without_predictions() -> None:
    rows = {line.split("  ")[0]: line for line in shown(applied(1.5)).splitlines()}
    assert "3 s" in rows["answer, 95 of 100"] and "1.5 s" in rows["answer, 95 of 100"]
    assert rows["answer, 95 of 100"].split()[-1] == "x2.00", "sooner by this factor"
    assert "9.0" not in rows["all requests"], "what is predicted is no arrivals"


@pytest.mark.parametrize(("goal", "told"), [("latency", "95 of 100"), ("throughput", "all requests are answered")])
def test_what_the_verdict_goes_by_is_said(goal: str, told: str) -> None:
    assert told in (serving.remark(applied(1.5, goal)) or "")


def test_prompts_at_hand_look_as_ever() -> None:
    found = applied(None)
    assert not serving.is_served(found) and serving.remark(found) is None
    assert "answer, 95 of 100" not in shown(found)
    assert replace(found, outcome="no-gain").final.serving is None  # type: ignore[union-attr]
