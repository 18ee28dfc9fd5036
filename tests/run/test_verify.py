"""The order of measuring, and the verdict on what came out. No process is started here."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.run.figures import Failed, Measured, Measurement, Peak, Run
from advisor.run.verify import FAILS, HOLDS, NO_BETTER, SLOWER, Aim, Comparison, judge, judge_rounds, verify
from advisor.setup import Setup

NOW, THEN = Setup(dtype="float32"), Setup(dtype="bfloat16")
SPEED = Aim("throughput", True, False)


def side(*seconds: float, peak: int | None = 100, first: float = 9.0, disturbed: bool = False) -> Measured:
    held = Peak(peak, None, None, None, None, None)
    runs = tuple(Run(one, None, None, 64 / one, None, disturbed) for one in seconds)
    return Measured(runs, (1.0,), (first,), held, held, ((1, 2),), None, {}, "cpu", 1)


BROKEN = Failed("warm-up", "RuntimeError: no", "log")


class Machine:
    """Answers each trial of a setup with the next of its measurements, and notes the order."""

    def __init__(self, now: Sequence[Measurement], then: Sequence[Measurement]) -> None:
        self.queues: dict[Setup, Iterator[Measurement]] = {NOW: iter(now), THEN: iter(then)}
        self.order = ""

    def __call__(self, setup: Setup) -> Measurement:
        self.order += "A" if setup == NOW else "B"
        return next(self.queues[setup])


def outcome(now: Sequence[Measurement], then: Sequence[Measurement], **more: Any) -> tuple[Comparison, str]:
    machine = Machine(now, then)
    return verify(NOW, THEN, SPEED, machine, **more), machine.order


def test_baseline_and_plan_are_measured_in_turn() -> None:
    compared, order = outcome([side(4.0, 4.0)] * 2, [side(1.0, 1.0)] * 2)
    assert order == "ABAB"
    assert compared.verdict.word == HOLDS
    assert compared.verdict.gain == pytest.approx(4.0)
    assert not compared.drifted
    assert isinstance(compared.plan, Measured) and len(compared.plan.runs) == 4


def test_a_known_baseline_serves_as_the_first_round() -> None:
    compared, order = outcome([side(4.0)], [side(1.0)] * 2, known=side(4.0))
    assert order == "BAB"
    assert compared.verdict.word == HOLDS


def test_a_baseline_that_drifts_is_measured_again_and_every_round_counts() -> None:
    now, then = [side(4.0), side(5.0), side(4.1)], [side(0.8), side(1.0), side(0.81)]
    compared, order = outcome(now, then)
    assert order == "ABABAB"
    assert compared.verdict.word == HOLDS
    assert compared.verdict.gain == pytest.approx((5 * 5 * 4.1 / 0.81) ** (1 / 3))
    assert compared.drifted
    assert compared.noise is not None and compared.noise.baseline == pytest.approx(0.25)


def test_a_baseline_that_never_settles_is_said() -> None:
    compared, order = outcome([side(4.0), side(8.0), side(3.0), side(16.0)], [side(2.0)] * 4)
    assert order == "ABABABAB"
    assert compared.drifted
    assert compared.verdict.word == NO_BETTER
    assert "measured 4 times differs by 433%" in compared.verdict.reason


def test_a_small_gain_takes_a_third_round() -> None:
    assert outcome([side(1.1)] * 3, [side(1.0)] * 3)[1] == "ABABAB"
    assert outcome([side(1.02)] * 2, [side(1.0)] * 2)[1] == "ABAB"


def test_a_gain_inside_the_noise_is_measured_to_the_end_and_not_claimed() -> None:
    compared, order = outcome([side(1.0), side(1.3), side(1.1), side(1.25)], [side(1.0)] * 4)
    assert order == "ABABABAB"
    assert compared.verdict.word == NO_BETTER


def test_a_plan_that_is_clearly_slower_gets_no_second_round() -> None:
    compared, order = outcome([side(1.0)], [side(3.0)])
    assert order == "AB"
    assert compared.verdict.word == SLOWER


def test_a_plan_that_was_disturbed_all_the_time_gets_its_second_round() -> None:
    compared, order = outcome([side(1.0)] * 3, [side(3.0, disturbed=True), side(0.5), side(0.5)])
    assert order == "ABABAB"
    assert compared.verdict.word == HOLDS


def test_a_plan_that_dies_fails_at_once() -> None:
    compared, order = outcome([side(1.0)], [BROKEN])
    assert order == "AB"
    assert compared.verdict.word == FAILS
    assert "warm-up: RuntimeError" in compared.verdict.reason


def test_a_plan_that_dies_in_the_second_round_fails() -> None:
    compared, _ = outcome([side(1.0)] * 2, [side(0.5), BROKEN])
    assert compared.verdict.word == FAILS


def test_a_baseline_that_does_not_run_is_what_a_plan_is_for() -> None:
    compared, order = outcome([BROKEN], [side(1.0)])
    assert order == "AB"
    assert compared.verdict.word == HOLDS
    assert compared.verdict.gain is None


def test_two_setups_that_die_fail() -> None:
    assert outcome([BROKEN], [BROKEN])[0].verdict.word == FAILS


def test_outputs_that_part_fail_however_fast() -> None:
    from array import array

    from advisor.run.figures import Logits

    here = replace(side(4.0), logits=Logits((0,), 2, array("f", [3, 4])))
    there = replace(side(1.0), logits=Logits((0,), 2, array("f", [4, -3])))
    compared, _ = outcome([here, here], [there, there])
    assert compared.verdict.word == FAILS
    assert "rounding" in compared.verdict.reason


@pytest.mark.parametrize(
    ("now", "then", "word"),
    [
        (side(1.04), side(1.0), HOLDS),
        (side(1.02), side(1.0), NO_BETTER),
        (side(1.0), side(1.02), NO_BETTER),
        (side(1.0), side(1.04), SLOWER),
        (side(1.0, 1.3), side(1.0), NO_BETTER),
        (side(1.0, 1.3), side(0.5), HOLDS),
        (side(1.0), side(0.5, 1.0), NO_BETTER),
        (side(1.0), side(1.3), SLOWER),
    ],
)
def test_the_verdict_knows_the_noise(now: Measured, then: Measured, word: str) -> None:
    assert judge(now, then, SPEED).word == word


@pytest.mark.parametrize("goal", ["memory", "fit"])
def test_for_memory_the_peak_counts(goal: str) -> None:
    aim = replace(SPEED, goal=goal)
    assert judge(side(1.0, peak=400), side(3.0, peak=100), aim).word == HOLDS
    assert judge(side(1.0, peak=400), side(3.0, peak=100), aim).gain == 4.0
    assert judge(side(1.0, peak=100), side(0.1, peak=101), aim).word == NO_BETTER
    assert judge(side(1.0, peak=None), side(0.5, peak=None), aim).gain == 2.0


def test_a_process_for_one_request_is_judged_by_its_first() -> None:
    once = Aim("latency", False, False)
    compiled, plain = side(1.0, first=30.0), side(2.0, first=3.0)
    assert judge(compiled, plain, once).word == HOLDS
    assert judge(compiled, plain, SPEED).word == SLOWER


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_the_verdict_is_fair(one: float, other: float) -> None:
    mirrored = {HOLDS: SLOWER, SLOWER: HOLDS, NO_BETTER: NO_BETTER}
    there, back = judge(side(one), side(other), SPEED), judge(side(other), side(one), SPEED)
    assert there.gain == pytest.approx(1 / (back.gain or 0))
    if abs((there.gain or 0) - 1) > 0.05:
        assert there.word == mirrored[back.word]


@pytest.mark.parametrize("goal", ["memory", "fit"])
def test_memory_that_differs_as_much_from_itself_is_no_gain(goal: str) -> None:
    aim = replace(SPEED, goal=goal)
    rounds = [(side(1.0, peak=400), side(1.0, peak=350)), (side(1.0, peak=300), side(1.0, peak=290))]
    assert judge_rounds(rounds, aim)[0].word == NO_BETTER


class Weather:
    """A machine whose every process takes as long as its kind of weather says, whatever the setup."""

    def __init__(self, kind: str, seed: int, gain: float = 1.0) -> None:
        self.kind, self.chance, self.gain = kind, random.Random(seed), gain
        self.moved, self.slow = 0.0, False

    def __call__(self, setup: Setup) -> Measured:
        seconds = math.exp(self._process()) / (self.gain if setup == THEN else 1.0)
        return side(*(seconds * math.exp(self.chance.gauss(0, 0.01)) for _ in range(5)))

    def _process(self) -> float:
        gauss = self.chance.gauss
        match self.kind:
            case "quiet":
                return gauss(0, 0.005)
            case "noisy":
                return gauss(0, 0.06)
            case "drifting":  # ever slower, as a machine that heats up
                self.moved += 0.04 + gauss(0, 0.03)
            case "wandering":
                self.moved += gauss(0, 0.1)
            case "bimodal":  # each process by chance at one of two speeds
                return math.log(1.3) * (self.chance.random() < 0.5) + gauss(0, 0.005)
            case "switching":  # two speeds, each kept for a while
                self.slow ^= self.chance.random() < 0.25
                return math.log(1.3) * self.slow + gauss(0, 0.01)
            case "interrupted":  # now and then something takes much of a process
                return gauss(0, 0.01) + (self.chance.random() < 0.15) * abs(gauss(0, 0.3))
        return self.moved + gauss(0, 0.01)


WEATHERS = ("quiet", "noisy", "drifting", "wandering", "bimodal", "switching", "interrupted")


def share_that_holds(kind: str, gain: float, times: int) -> float:
    found = [verify(NOW, THEN, SPEED, Weather(kind, seed, gain)).verdict.word for seed in range(times)]
    return found.count(HOLDS) / times


@pytest.mark.parametrize("kind", WEATHERS)
def test_the_same_setup_in_disguise_is_called_a_gain_in_fewer_than_two_of_a_hundred(kind: str) -> None:
    assert share_that_holds(kind, 1.0, 1500) < 0.02


def test_a_real_gain_is_seen_where_the_machine_lets_one() -> None:
    assert share_that_holds("quiet", 1.1, 100) == 1.0
    assert share_that_holds("noisy", 1.3, 100) > 0.9
    assert share_that_holds("bimodal", 3.0, 100) > 0.9


@pytest.mark.parametrize(("random_weights", "word"), [(True, NO_BETTER), (False, HOLDS)])
def test_drafting_on_random_weights_is_no_gain(random_weights: bool, word: str) -> None:
    lookup = NOW.changed({"speculation": "prompt_lookup"})
    sides = {NOW: side(4.0, 4.0), lookup: side(1.0, 1.0)}
    compared = verify(NOW, lookup, replace(SPEED, random_weights=random_weights), sides.__getitem__)
    assert compared.verdict.word == word
    assert ("cannot be judged" in compared.verdict.reason) is random_weights
