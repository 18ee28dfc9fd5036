"""Each step's share, on top of the kept ones before it."""

import json
from dataclasses import replace

import pytest

from advisor.plan import Effect, Step
from advisor.run.choices import Choice
from advisor.run.fallback import Climbed
from advisor.run.figures import Failed, Measured, Peak, Run
from advisor.run.shares import shares
from advisor.run.verify import Aim

AIM = Aim("throughput", True, False)


def side(seconds: float, peak: int) -> Measured:
    held = Peak(peak, None, None, None, None, None)
    runs = (Run(seconds, None, None, 1 / seconds, None, False),)
    return Measured(runs, (1.0,), (seconds * 5,), held, held, (), None, {}, "cpu", 1)


def choice(rule: str, kept: bool = True) -> Choice:
    step = Step(rule, "4-compile", "", {}, Effect(2.5, -7, None), "measured", (), (), 1)
    return Choice(step, 0 if kept else None, "")


THREE = (choice("one"), choice("two", kept=False), choice("three"))
MEASURED = {"one": side(4.0, 110), "two": side(5.0, 50), "three": side(1.0, 130)}


def test_a_step_is_held_against_the_kept_ones_before_it() -> None:
    found = shares(side(8.0, 100), Climbed(THREE, MEASURED), AIM)
    assert list(found) == ["one", "two", "three"]
    assert [one.speed for one in found.values()] == [2.0, 0.8, 4.0]
    assert [one.memory_bytes for one in found.values()] == [10, -60, 20]
    assert [one.kept for one in found.values()] == [True, False, True]
    assert (found["one"].predicted_speed, found["one"].predicted_memory_bytes) == (2.5, -7)
    json.dumps([one.to_json() for one in found.values()], allow_nan=False)


def test_in_a_process_for_one_request_its_first_counts() -> None:
    found = shares(side(8.0, 100), Climbed(THREE, MEASURED), replace(AIM, repeats=False))
    assert found["one"].from_seconds == 40.0


def test_a_step_that_failed_has_no_share_and_one_that_was_not_tried_no_line() -> None:
    measured = {"one": Failed("load", "no", "")}
    found = shares(side(8.0, 100), Climbed((choice("one", kept=False), choice("two")), measured), AIM)
    assert list(found) == ["one"]
    assert (found["one"].speed, found["one"].memory_bytes) == (None, None)
    assert found["one"].from_seconds == pytest.approx(8.0)


def test_after_a_baseline_that_does_not_run_the_next_step_still_has_its_share() -> None:
    found = shares(Failed("load", "no", ""), Climbed((THREE[0], THREE[2]), MEASURED), AIM)
    assert (found["one"].speed, found["three"].speed) == (None, 4.0)
