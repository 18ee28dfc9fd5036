"""A failure is explained, the ladders are climbed down in their order, and what was done is written down."""

from collections.abc import Callable
from typing import Any

import pytest

from advisor.facts import Value
from advisor.plan import Effect, Step
from advisor.run.choices import Choice, setup_of
from advisor.run.fallback import Found, search, step_by_step
from advisor.run.figures import Failed, Measured, Measurement, Peak, Run
from advisor.run.healing import Explained, Healer
from advisor.run.ladders import FLASH_KERNEL, Means
from advisor.run.room import outgrew
from advisor.run.verify import Aim, verify
from advisor.setup import Setup

NOW = Setup(device="cuda", dtype="bfloat16", attn_implementation="eager", batching="padded", batch_size=8)
ALL = Means(frozenset({"kernels", "bitsandbytes", "accelerate"}), True, 8)
HEALER = Healer(ALL, lambda _: None)
NO_FLASH = "ImportError: FlashAttention2 has been toggled on, but it cannot be used"
FULL = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 8 GiB"


def side(seconds: float, free: int | None = None) -> Measured:
    peak = Peak(100, None, None, 90, None, None)
    runs = (Run(seconds, None, None, 1 / seconds, None, False),) * 2
    return Measured(runs, (1.0,), (seconds,), peak, peak, (), None, {}, "cuda", 1, free)


def choice(rung: str, change: dict[str, Value], *fallbacks: dict[str, Value], memory: int | None = None) -> Choice:
    step = Step(f"rule-{rung}", rung, "", change, Effect(None, memory, None), "measured", (), fallbacks, 1)
    return Choice(step, 0, "")


def healed(
    choices: tuple[Choice, ...],
    answer: Callable[[Setup], Measurement],
    baseline: Setup = NOW,
    explain: Callable[[Failed], Explained | None] = lambda _: None,
) -> Found:
    aim = Aim("throughput", True, False)
    compare = lambda setup, known: verify(baseline, setup, aim, answer, known)  # noqa: E731
    return search(baseline, choices, compare, lambda tried: tried < 20, None, Healer(ALL, explain))


def by_attention(*running: str) -> Callable[[Setup], Measurement]:
    def answer(setup: Setup) -> Measurement:
        if setup.attn_implementation in running:
            return side(2.0 if setup.attn_implementation == "eager" else 1.0)
        return Failed("load", NO_FLASH, "")

    return answer


def attentions(found: Found) -> list[str | None]:
    return [attempt.setup.attn_implementation for attempt in found.attempts]


def test_attention_that_fails_goes_down_its_ladder() -> None:
    flash = choice("3-attention", {"attn_implementation": "flash_attention_2"})
    found = healed((flash,), by_attention("eager", "sdpa"))
    assert attentions(found) == ["flash_attention_2", FLASH_KERNEL, "sdpa"]
    assert found.holds and found.choices[0].change == {"attn_implementation": "sdpa"}
    assert [attempt.remedy for attempt in found.attempts[:2]] == [
        {"attn_implementation": FLASH_KERNEL}, {"attn_implementation": "sdpa"},
    ]  # fmt: skip


def test_the_rules_own_fallback_comes_first() -> None:
    flash = choice("3-attention", {"attn_implementation": "flash_attention_2"}, {"attn_implementation": "sdpa"})
    assert attentions(healed((flash,), by_attention("eager", "sdpa"))) == ["flash_attention_2", "sdpa"]


def test_where_no_rung_holds_the_step_is_taken_out() -> None:
    flash = choice("3-attention", {"attn_implementation": "flash_attention_2"})
    half = choice("1-placement", {"batch_size": 16})
    found = healed((half, flash), lambda s: by_attention("eager")(s) if s.batch_size == 8 else (
        side(0.5) if s.attn_implementation == "eager" else Failed("load", NO_FLASH, "")
    ))  # fmt: skip
    assert attentions(found) == ["flash_attention_2", FLASH_KERNEL, "sdpa", "eager"]
    assert found.holds and [one.kept for one in found.choices] == [True, False]


def test_a_knob_of_the_users_own_that_fails_is_mended_too() -> None:
    mine = NOW.changed({"attn_implementation": "flash_attention_2"})
    found = healed((choice("1-placement", {"batch_size": 16}),), by_attention("sdpa"), mine)
    assert found.holds and isinstance(found.comparison.baseline, Failed)
    assert found.choices[-1].step.rule == "fallback-attn_implementation"
    assert setup_of(mine, found.choices) == mine.changed({"batch_size": 16, "attn_implementation": "sdpa"})


def test_a_batch_is_halved_until_it_fits() -> None:
    def answer(setup: Setup) -> Measurement:
        rows = setup.batch_size or 0
        return Failed("warm-up", FULL, "") if rows > 16 else side(8 / rows)

    grown = choice("1-placement", {"batch_size": 64}, memory=5_000)
    found = healed((grown, choice("3-attention", {"attn_implementation": "sdpa"})), answer)
    assert [attempt.setup.batch_size for attempt in found.attempts] == [64, 32, 16]
    assert found.holds and [one.kept for one in found.choices] == [True, True]


def test_weights_that_do_not_fit_shrink_until_they_do() -> None:
    big = NOW.changed({"dtype": "float32"})

    def answer(setup: Setup) -> Measurement:
        return side(1.0) if setup.quantization == "bnb_nf4" else Failed("load", FULL, "")

    found = healed((choice("3-attention", {"attn_implementation": "sdpa"}),), answer, big)
    assert found.holds
    assert [(a.setup.dtype, a.setup.quantization) for a in found.attempts] == [
        ("float32", None), ("bfloat16", None), ("bfloat16", "bnb_int8"), ("bfloat16", "bnb_nf4"),
    ]  # fmt: skip


def test_while_the_users_own_weights_fit_they_are_not_shrunk() -> None:
    def answer(setup: Setup) -> Measurement:
        return Failed("load", FULL, "") if setup.use_kernels else side(1.0)

    found = healed((choice("6-serve", {"use_kernels": True}),), answer)
    assert all(attempt.setup.quantization is None for attempt in found.attempts)


def test_an_explanation_leads_to_the_step_and_to_what_helps() -> None:
    """No word of the text is known here; the explanation names the knob."""

    def answer(setup: Setup) -> Measurement:
        return Failed("warm-up", "ValueError: E1234", "") if setup.batch_size == 16 else side(1.0)

    told = Explained("error", "assisted_batch", "assisted_batch", "one at a time", "", ({"batch_size": 4},))
    steps = (choice("1-placement", {"batch_size": 16}), choice("6-serve", {"threads": 2}))
    found = healed(steps, answer, explain=lambda _: told)
    assert [attempt.setup.batch_size for attempt in found.attempts][:2] == [16, 4]
    assert found.attempts[0].explained == told


def test_an_explanation_never_quantizes_or_moves_the_model() -> None:
    told = Explained("error", "x", "x", "", "", ({"quantization": "bnb_nf4"}, {"device": "cpu"}))
    found = healed(
        (choice("6-serve", {"threads": 2}),),
        lambda s: Failed("load", "ValueError: E1", "") if s.threads == 2 else side(1.0),
        explain=lambda _: told,
    )
    assert [attempt.setup for attempt in found.attempts] == [NOW.changed({"threads": 2})]


@pytest.mark.parametrize(("free", "large"), [(None, False), (90, False), (89, True)])
def test_more_than_was_free_is_too_much(free: int | None, large: bool) -> None:
    assert (outgrew(side(1.0, free)) is not None) is large


def test_files_in_the_page_cache_give_way() -> None:
    peak = Peak(100, 60, 40, None, None, None)
    base: dict[str, Any] = {**vars(side(1.0)), "load_peak": peak, "run_peak": peak}
    assert outgrew(Measured(**{**base, "free_bytes": 60})) is None
    assert "more memory than" in (outgrew(Measured(**{**base, "free_bytes": 59})) or "")


def test_a_step_on_its_own_is_mended_too() -> None:
    flash = choice("3-attention", {"attn_implementation": "flash_attention_2"})
    batch = choice("6-serve", {"threads": 2})
    aim = Aim("throughput", True, False)
    climbed = step_by_step(NOW, (flash, batch), side(2.0), aim, by_attention("eager", "sdpa"), HEALER)
    assert setup_of(NOW, climbed.choices) == NOW.changed({"attn_implementation": "sdpa", "threads": 2})
    assert all(isinstance(one, Measured) for one in climbed.measured.values())


def test_a_step_that_no_fallback_mends_is_left_out_alone() -> None:
    flash = choice("3-attention", {"attn_implementation": "flash_attention_2"})
    batch = choice("6-serve", {"threads": 2})
    aim = Aim("throughput", True, False)
    climbed = step_by_step(NOW, (flash, batch), side(2.0), aim, by_attention("eager"), HEALER)
    assert [one.kept for one in climbed.choices] == [False, True]
    assert "FlashAttention2" in climbed.choices[0].reason
