"""What does not hold is taken back: the right step is blamed, fallbacks are tried, and the search ends."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.facts import Value
from advisor.plan import Effect, Step
from advisor.run.choices import Choice, setup_of
from advisor.run.fallback import blame, search, step_by_step
from advisor.run.figures import Failed, Measured, Measurement, Peak, Run
from advisor.run.verify import FAILS, HOLDS, NO_BETTER, SLOWER, Aim, Comparison, Verdict
from advisor.setup import Setup

NOW = Setup(dtype="float32", batching="loop", cache_implementation="dynamic", compile="none", quantization="none")
SPEED = Aim("throughput", True, False)
BATCH: dict[str, Value] = {"batching": "padded", "batch_size": 8}
HALF: dict[str, Value] = {"dtype": "bfloat16"}
COMPILE: dict[str, Value] = {"cache_implementation": "static", "compile": "generate"}
FORWARD: dict[str, Value] = {"cache_implementation": "dynamic", "compile": "forward"}


def choice(rung: str, change: Mapping[str, Value], *fallbacks: dict[str, Value], memory: int | None = None) -> Choice:
    rule = f"rule-{rung}"
    step = Step(rule, rung, rule, dict(change), Effect(None, memory, None), "measured", (), fallbacks, 1)
    return Choice(step, 0, rule)


PLAN = (choice("1-placement", BATCH), choice("2-precision", HALF), choice("4-compile", COMPILE, FORWARD))


def side(seconds: float) -> Measured:
    peak = Peak(100, None, None, None, None, None)
    return Measured((Run(seconds, None, None, 1.0, None, False),), (1.0,), (1.0,), peak, peak, (), None, {}, "cpu", 1)


def comparing(judged: Callable[[Setup], tuple[str, str]]) -> Callable[[Setup, Any], Comparison]:
    def compare(setup: Setup, known: Measurement | None) -> Comparison:
        word, reason = judged(setup)
        plan: Measurement = Failed("load", reason, reason) if word == FAILS else side(1.0)
        return Comparison(side(2.0), plan, Verdict(word, 2.0, 0.03, reason), None)

    return compare


def always(_: int) -> bool:
    return True


def test_a_plan_that_holds_is_kept_whole() -> None:
    found = search(NOW, PLAN, comparing(lambda _: (HOLDS, "")), always)
    assert found.holds
    assert found.choices == PLAN
    assert len(found.attempts) == 1


def test_a_step_that_fails_gives_way_to_its_fallback() -> None:
    no_compiler = comparing(lambda s: (FAILS, "InductorError: no compiler") if s.compile == "generate" else (HOLDS, ""))
    found = search(NOW, PLAN, no_compiler, always)
    assert found.holds
    assert [one.option for one in found.choices] == [0, 0, 1]
    assert setup_of(NOW, found.choices).compile == "forward"
    assert "InductorError" in found.choices[2].reason


def test_a_step_without_a_way_is_taken_back_and_the_rest_kept() -> None:
    found = search(
        NOW, PLAN, comparing(lambda s: (FAILS, "InductorError") if s.compile != "none" else (HOLDS, "")), always
    )
    assert found.holds
    assert setup_of(NOW, found.choices) == NOW.changed({**BATCH, **HALF})
    assert [one.kept for one in found.choices] == [True, True, False]


def test_where_nothing_holds_nothing_is_kept() -> None:
    found = search(NOW, PLAN, comparing(lambda _: (SLOWER, "0.5")), always)
    assert not found.holds
    tried = [attempt.setup for attempt in found.attempts]
    assert len(tried) == len(set(tried)) == 4
    assert NOW not in tried


def test_time_runs_out() -> None:
    found = search(NOW, PLAN, comparing(lambda _: (SLOWER, "")), lambda tried: tried < 2)
    assert not found.holds
    assert len(found.attempts) == 2


def test_a_setup_in_conflict_is_never_tried() -> None:
    cache = choice("3-attention", {"cache_implementation": "static"})
    compiled = choice("2-precision", {"compile": "generate"})
    found = search(NOW, (compiled, cache), comparing(lambda _: (SLOWER, "")), always)
    assert all(
        attempt.setup.cache_implementation == "static" or attempt.setup.compile == "none" for attempt in found.attempts
    )


def test_a_correction_that_costs_nothing_stays() -> None:
    correction = choice("pitfalls", {"padding_side": "left"})
    found = search(NOW, (correction, *PLAN), comparing(lambda _: (NO_BETTER, "")), always)
    assert found.holds
    assert [one.kept for one in found.choices] == [True, False, False, False]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("torch._inductor.exc.InductorError: CppCompileError", "4-compile"),
        ("RuntimeError: mat1 and mat2 must have the same dtype", "2-precision"),
        ("RuntimeError: \"addmm\" not implemented for 'BFloat16'", "2-precision"),
        ("IndexError: index_copy_(): index out of bounds", "4-compile"),
        ("ImportError: FlashAttention2 has been toggled on", "3-attention"),
        ("ImportError: Using `bitsandbytes` 4-bit quantization requires", "5-quantize"),
        ("something else", "6-serve"),
    ],
)
def test_the_step_that_the_error_names_is_blamed(reason: str, expected: str) -> None:
    steps = (
        *PLAN,
        choice("3-attention", {"attn_implementation": "flash_attention_2"}),
        choice("5-quantize", {"quantization": "bnb_nf4"}),
        choice("6-serve", {"batch_size": 4}),
    )
    blamed = blame(steps, Verdict(FAILS, None, None, reason), "")
    assert blamed is not None
    assert blamed.step.rung == expected


def test_where_memory_runs_out_the_hungriest_step_is_blamed() -> None:
    steps = (
        choice("1-placement", BATCH, memory=5_000),
        choice("2-precision", HALF, memory=-9_000),
        choice("6-serve", {"threads": 2}),
    )
    for reason in ("CUDA out of memory", "killed by SIGKILL, as the kernel does when memory runs out"):
        blamed = blame(steps, Verdict(FAILS, None, None, reason), "")
        assert blamed is steps[0]


def test_the_log_counts_where_the_reason_is_silent() -> None:
    blamed = blame(PLAN, Verdict(FAILS, None, None, "exit code 1"), "...\nno C++ compiler found\n")
    assert blamed is PLAN[2]


def test_without_an_error_the_highest_rung_is_blamed() -> None:
    assert blame(PLAN, Verdict(SLOWER, 0.9, 0.03, "the same dtype"), "") is PLAN[2]


def test_step_by_step_leaves_out_what_harms_or_fails() -> None:
    speeds = {"generate": side(3.0)}

    def try_out(setup: Setup) -> Measurement:
        if setup.batching == "padded":
            return Failed("load", "no", "")
        return speeds.get(setup.compile or "", side(1.0))

    climbed = step_by_step(NOW, PLAN, side(2.0), SPEED, try_out)
    assert [one.kept for one in climbed.choices] == [False, True, False]
    assert climbed.choices[0].reason == "fails: at load: no"
    assert climbed.choices[2].reason.startswith("slower: 0.33 times the speed")
    assert set(climbed.measured) == {one.step.rule for one in PLAN}


@given(st.lists(st.sampled_from([HOLDS, NO_BETTER, SLOWER, FAILS]), min_size=12, max_size=12), st.permutations(PLAN))
def test_the_search_always_ends_and_keeps_only_what_held(words: list[str], plan: list[Choice]) -> None:
    answers = iter(words)
    found = search(NOW, tuple(plan), comparing(lambda _: (next(answers), "killed")), always)
    assert found.holds == (found.attempts[-1].verdict.word == HOLDS)
    assert len(found.attempts) <= 5
