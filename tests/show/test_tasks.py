"""What a plan says of its sizes."""

from dataclasses import replace

import pytest

from advisor.facts import Facts
from advisor.plan import Estimate, Memory, ModelReference, Plan, Speed
from advisor.setup import Setup
from advisor.show.tasks import limits, rows
from advisor.workload import Workload

AT_ONCE, IN_TURN = (
    Estimate(Memory(*[None] * 8), Speed(1.0, 9.0, 9.0, None, last), "formula", None, None) for last in (1.0, 40.0)
)


@pytest.mark.parametrize(
    ("task", "batch", "context", "told"),
    [
        ("generate", 0, 0, "Not even one prompt of this length fits."),
        ("generate", 4, 9000, "Largest batch that fits: 4; longest prompt + answer: 9,000 tokens."),
        ("encode", 831, 0, "Largest batch that fits: 831."),
        ("encode", 0, 300, "Not even one text of this length fits."),
        ("train", 0, None, "Not even one sequence of this length fits."),
        ("train", 13, 214, "Most sequences that fit in one pass: 13; longest sequence: 214 tokens."),
        ("train", None, None, "What would fit is not known."),
    ],
)
def test_what_would_fit_instead(task: str, batch: int | None, context: int | None, told: str) -> None:
    assert limits(Workload(task=task, batch=1000), batch, context) == told


@pytest.mark.parametrize(
    ("now", "then", "told"),
    [
        (AT_ONCE, AT_ONCE, {"time to first token": 1.0}),
        (AT_ONCE, IN_TURN, {"first token, half within": 1.0, "first token, all within": 40.0}),
        (IN_TURN, AT_ONCE, {"first token, half within": 1.0, "first token, all within": 1.0}),
    ],
)
def test_where_prompts_wait_for_others_the_last_one_is_told_too(
    now: Estimate, then: Estimate, told: dict[str, float]
) -> None:
    model, load = ModelReference("shape", "x", None, True), Workload(batch=32)
    plan = Plan(
        model, Facts({}), load, Facts({}), Setup(), {}, now, Setup(), then, (), (), (), (), limits={}, passed_over=()
    )
    found = {row.title: row.value(then, load) for row in rows(plan) if "token," in row.title or "first" in row.title}
    assert found == told
    assert rows(replace(plan, workload=Workload(task="train"))) == ()
