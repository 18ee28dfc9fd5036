"""The planner against estimates that are written down here, so that each decision has one possible reason."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from advisor import planner, rulebook
from advisor.facts import Facts, Known
from advisor.plan import Estimate, Memory, Speed
from advisor.rule import Rule
from advisor.setup import Setup

RULES = {rule.id: rule for rule in rulebook.load(rulebook.shipped())}
CPU = Setup(
    device="cpu", dtype="float32", attn_implementation="sdpa", use_cache=True, cache_implementation="dynamic",
    compile="none", quantization="none", batching="loop", device_map="none",
)  # fmt: skip
WORLD = {
    "workload.batch": 8, "workload.repeats": True, "workload.reads_attention_weights": False,
    "workload.quantize": "to_fit", "workload.concurrency": 1, "workload.prompt_tokens": 128,
    "device.fast_bf16": True, "device.fast_fp16": False, "device.accelerator_idle": False,
    "device.threads_exceed_cores": False, "model.supports_sdpa": True, "model.supports_static_cache": True,
    "model.checkpoint_quantization": "none", "compiler.found": True, "triton.installed": True,
    "bitsandbytes.installed": True, "accelerate.installed": True, "estimate.largest_batch": 8, "estimate.fits": True,
    "estimate.bound": "bandwidth", "model.decoder_only": True, "torch.build": "cpu", "gpu.count": 1,
}  # fmt: skip


def rules(*names: str) -> list[Rule]:
    return [RULES[name] for name in names]


def estimate(total: int, rate: float | None, free: int = 100) -> Estimate:
    memory = Memory(total, 0, 0, 0, 0, total, free, total <= free)
    return Estimate(memory, Speed(None, None, rate, "bandwidth"), "formula", None, None)


def compose(
    chosen: Sequence[Rule],
    judge: Callable[[Setup], Estimate],
    goal: str = "throughput",
    baseline: Setup = CPU,
    **world: bool | str | tuple[str, ...],
) -> planner.Composition:
    values = WORLD | {name.replace("__", "."): value for name, value in world.items()}
    facts = Facts({name: Known(value, "test") for name, value in values.items()})

    def known(setup: Setup) -> Facts:
        fits = judge(setup).memory.fits is True
        return facts | setup.facts({}) | Facts({"estimate.fits": Known(fits, "test")})

    return planner.compose(planner.Situation(chosen, goal, known, judge), baseline)


def names(composed: planner.Composition) -> list[str]:
    return [step.rule for step in composed.steps]


def test_compatible_changes_are_composed_in_the_order_of_the_ladder() -> None:
    def judge(setup: Setup) -> Estimate:
        rate = 30.0 * (3 if setup.batching == "padded" else 1) * (2 if setup.dtype == "bfloat16" else 1)
        return estimate(50, rate)

    composed = compose(rules("fp32-weights-on-bf16-device", "one-prompt-at-a-time"), judge)
    assert names(composed) == ["one-prompt-at-a-time", "fp32-weights-on-bf16-device"]
    assert [step.effect.speed for step in composed.steps] == [3.0, 2.0]
    assert [step.rank for step in composed.steps] == [1, 2]
    assert composed.setup.batch_size == 8


def test_what_does_not_pay_is_dropped_with_its_reason() -> None:
    composed = compose(rules("fp32-weights-on-bf16-device"), lambda _: estimate(50, 30.0))
    assert composed.steps == ()
    assert "predicted gain +0.0%" in composed.passed_over["fp32-weights-on-bf16-device"]


def test_correctness_is_not_a_matter_of_speed() -> None:
    baseline = CPU.changed({"batching": "padded", "padding_side": "right"})
    slower = lambda setup: estimate(50, 10.0 if setup.padding_side == "left" else 30.0)  # noqa: E731
    assert names(compose(rules("right-padding-before-generation"), slower, baseline=baseline)) == [
        "right-padding-before-generation"
    ]


def test_outputs_change_only_for_a_large_gain_or_to_fit() -> None:
    quantize = rules("bandwidth-bound-decoding")

    def judge(gain: float) -> Callable[[Setup], Estimate]:
        return lambda setup: estimate(50, 30.0 * (gain if setup.quantization == "bnb_nf4" else 1))

    yes = {"workload__quantize": "freely"}
    assert names(compose(quantize, judge(1.10), **yes)) == []
    assert names(compose(quantize, judge(1.20), **yes)) == ["bandwidth-bound-decoding"]
    assert names(compose(quantize, judge(1.20))) == [], "not asked for, and it fits"


def test_what_changes_the_outputs_must_not_shut_out_what_is_as_good_without() -> None:
    able = {"model__experts_looped": False, "device__inductor": True, "transformers__version": "5.22.2"}
    chosen = rules("bandwidth-bound-decoding", "uncompiled-decoding-of-repeated-shapes")

    def judge(gain: float) -> Callable[[Setup], Estimate]:
        def rate(setup: Setup) -> Estimate:
            return estimate(
                50, 30.0 * (gain if setup.quantization == "bnb_nf4" else 1.25 if setup.compile != "none" else 1)
            )

        return rate

    compiled = compose(chosen, judge(1.35), workload__quantize="freely", **able)
    assert names(compiled) == ["uncompiled-decoding-of-repeated-shapes"]
    assert names(compose(chosen, judge(1.55), workload__quantize="freely", **able)) == ["bandwidth-bound-decoding"]


def test_to_fit_keeping_the_outputs_is_worth_some_speed() -> None:
    baseline = CPU.changed({"batching": "padded"})

    def judge(setup: Setup) -> Estimate:
        if setup.quantization == "bnb_nf4":
            return estimate(40, 50.0)
        return estimate(80, 30.0) if setup.dtype == "bfloat16" else estimate(160, 20.0)

    composed = compose(rules("weights-far-too-large", "fp32-weights-on-bf16-device"), judge, baseline=baseline)
    assert names(composed) == ["fp32-weights-on-bf16-device"]


def test_to_fit_a_way_that_crawls_loses_to_one_that_changes_the_outputs() -> None:
    baseline = CPU.changed({"batching": "padded", "device": "cuda", "dtype": "float16"})

    def judge(setup: Setup) -> Estimate:
        if setup.quantization == "bnb_nf4":
            return estimate(40, 30.0)
        return estimate(90, 1.0) if setup.device_map == "auto" else estimate(160, 40.0)

    composed = compose(rules("weights-far-too-large", "weights-larger-than-the-gpu"), judge, baseline=baseline)
    assert names(composed) == ["weights-far-too-large"]
    assert composed.passed_over["weights-larger-than-the-gpu"].startswith("no longer holds with the steps taken: ")


FP8 = {
    "device__fast_fp8": True, "transformers__quantizers": ("fp8",), "kernels__accepted": True,
    "model__auto_compile": ("cuda",), "gpu__vendor": "nvidia",
    "model__experts_looped": False, "device__inductor": True, "transformers__version": "5.22.2",
}  # fmt: skip
EITHER = ("weights-far-too-large", "16-bit-weights-beside-fp8-units", "uncompiled-decoding-of-repeated-shapes")


def end_of(compiled: float, total: int = 60, goal: str = "latency") -> Setup:
    """The end of a plan whose fp8 weights are slower than 4-bit ones until they are compiled; 100 bytes are free."""

    def judge(setup: Setup) -> Estimate:
        if setup.quantization == "fp8":
            found = estimate(total, compiled if setup.compile == "generate" else 15.0)
        else:
            found = estimate(40, 30.0) if setup.quantization == "bnb_nf4" else estimate(160, 20.0)
        return replace(found, memory_band=(0.9, 1.12))

    baseline = CPU.changed({"batching": "padded", "device": "cuda", "dtype": "bfloat16"})
    return compose(rules(*EITHER), judge, goal, baseline, **FP8).setup


def test_a_change_that_another_outranks_is_held_against_where_the_other_one_leads() -> None:
    reached = end_of(compiled=45.0)
    assert (reached.quantization, reached.compile) == ("fp8", "generate")
    assert end_of(compiled=25.0).quantization == "bnb_nf4"


def test_what_fits_narrowly_must_be_twice_as_fast() -> None:
    assert end_of(compiled=45.0, total=95).quantization == "bnb_nf4"
    assert end_of(compiled=70.0, total=95).quantization == "fp8"
    assert end_of(compiled=70.0, total=95, goal="fit").quantization == "bnb_nf4"


def test_a_fallback_that_would_not_fit_is_not_offered() -> None:
    def judge(setup: Setup) -> Estimate:
        return estimate({"none": 160, "bnb_int8": 110}.get(str(setup.quantization), 50), 30.0)

    step = compose(rules("weights-far-too-large"), judge, baseline=CPU.changed({"device": "cuda"})).steps[0]
    assert step.fallbacks == ({"quantization": "bnb_nf4_double"},)


def test_where_no_speed_is_known_weights_that_cross_the_bus_come_last() -> None:
    def judge(setup: Setup) -> Estimate:
        total = 200 if (setup.device_map, setup.quantization) == ("none", "none") else 50
        found = estimate(total, None)
        fetched = 40 if setup.device_map == "auto" else 0
        return replace(found, memory=replace(found.memory, fetched_bytes=fetched))

    both = rules("weights-larger-than-the-gpu", "weights-far-too-large")
    here = CPU.changed({"device": "cuda"})
    assert names(compose(both, judge, baseline=here)) == ["weights-far-too-large"]
    assert names(compose(both[:1], judge, baseline=here)) == ["weights-larger-than-the-gpu"]


def test_two_rules_do_not_fight_over_one_knob() -> None:
    baseline = CPU.changed({"batching": "padded", "device": "cuda"})

    def judge(setup: Setup) -> Estimate:
        return estimate({"bnb_int8": 90, "bnb_nf4": 50}.get(str(setup.quantization), 160), 30.0)

    composed = compose(rules("weights-far-too-large", "weights-just-too-large"), judge, baseline=baseline)
    assert len(composed.steps) == 1


def test_knobs_that_do_not_go_together_are_not_composed() -> None:
    baseline = CPU.changed({"batching": "padded", "quantization": "bnb_nf4"})
    composed = compose(rules("uncompiled-decoding-of-repeated-shapes"), lambda _: estimate(50, 30.0), baseline=baseline)
    assert composed.setup == baseline


def test_a_setup_that_does_not_go_together_is_mended_and_then_improved() -> None:
    odd = replace(CPU, compile="generate", quantization="bnb_nf4", cache_implementation="static")
    chosen = rules("compile-ruled-out-by-quantized-weights", "one-prompt-at-a-time")
    composed = compose(chosen, lambda setup: estimate(50, 60 if setup.batching == "padded" else 30), baseline=odd)
    assert sorted(names(composed)) == ["compile-ruled-out-by-quantized-weights", "one-prompt-at-a-time"]


def test_without_known_speed_only_changes_that_keep_the_outputs_are_taken() -> None:
    chosen = rules("one-prompt-at-a-time", "fp32-weights-on-bf16-device", "bandwidth-bound-decoding")
    composed = compose(chosen, lambda _: estimate(50, None), workload__quantize="freely")
    assert names(composed) == ["one-prompt-at-a-time", "fp32-weights-on-bf16-device"]
    assert all(step.effect.speed is None for step in composed.steps)


def test_a_change_that_no_longer_fits_is_not_made() -> None:
    def judge(setup: Setup) -> Estimate:
        return estimate(200, 90.0) if setup.batching == "padded" else estimate(50, 30.0)

    composed = compose(rules("one-prompt-at-a-time"), judge)
    assert composed.steps == ()
    assert composed.passed_over == {"one-prompt-at-a-time": "needs more memory than is free"}


def test_for_memory_a_change_may_not_cost_more_than_half_of_the_speed() -> None:
    def judge(rate: float) -> Callable[[Setup], Estimate]:
        return lambda setup: estimate(25, rate) if setup.dtype == "bfloat16" else estimate(50, 30.0)

    chosen = rules("fp32-weights-on-bf16-device")
    assert names(compose(chosen, judge(16.0), goal="memory")) == ["fp32-weights-on-bf16-device"]
    assert names(compose(chosen, judge(14.0), goal="memory")) == []


def test_for_memory_speed_is_taken_where_it_costs_no_byte_and_after_what_saves_some() -> None:
    def judge(total: int, rate: float) -> Callable[[Setup], Estimate]:
        return lambda setup: estimate(total, rate) if setup.dtype == "bfloat16" else estimate(50, 30.0)

    chosen = rules("fp32-weights-on-bf16-device")
    assert names(compose(chosen, judge(50, 60.0), goal="memory")) == ["fp32-weights-on-bf16-device"]
    assert names(compose(chosen, judge(51, 60.0), goal="memory")) == []
    assert names(compose(chosen, judge(50, 30.5), goal="memory")) == []
    assert names(compose([replace(chosen[0], quality="less exact")], judge(50, 60.0), goal="memory")) == []

    def both(setup: Setup) -> Estimate:
        return estimate(50 - 20 * (setup.quantization == "bnb_nf4"), 30.0 + 30 * (setup.dtype == "bfloat16"))

    wanted = [*chosen, replace(RULES["weights-far-too-large"], id="other", when=(), requires=(), quality=None)]
    assert set(names(compose(wanted, both, goal="memory"))) == {"other", "fp32-weights-on-bf16-device"}


def test_every_rule_has_a_decision() -> None:
    composed = compose(list(RULES.values()), lambda _: estimate(50, 30.0))
    assert {decision.rule.id for decision in composed.decisions} == set(RULES)


def test_a_step_that_a_later_one_makes_needless_is_taken_out() -> None:
    """Four-bit weights made it fit first; in bf16 and a smaller batch it fits as fast without them."""
    baseline = CPU.changed({"batching": "padded", "device": "cuda", "dtype": "float32"})

    def judge(setup: Setup) -> Estimate:
        total = 160 - 70 * (setup.quantization == "bnb_nf4") - 70 * (setup.dtype == "bfloat16")
        return estimate(total, 20.0 + 100 * (setup.dtype == "bfloat16"))

    composed = compose(rules("weights-far-too-large", "fp32-weights-on-bf16-device"), judge, baseline=baseline)
    assert names(composed) == ["fp32-weights-on-bf16-device"]


def test_where_the_estimate_sees_no_difference_the_rule_that_outranks_is_taken() -> None:
    one, two = rules("fp32-weights-on-bf16-device", "one-prompt-at-a-time")
    other = replace(two, id="other", rung=one.rung, when=(), change={"dtype": "float16"}, outranks=(one.id,))

    def judge(gain: float) -> Callable[[Setup], Estimate]:
        rates = {"bfloat16": 60.0, "float16": gain}
        return lambda setup: estimate(50, rates.get(str(setup.dtype), 30.0))

    assert names(compose([one, other], judge(59.0))) == ["other"]
    assert names(compose([one, other], judge(50.0))) == [one.id]
    assert names(compose([one, replace(other, outranks=())], judge(59.0))) == [one.id]


def test_a_change_whose_gain_nobody_can_predict_comes_last_and_does_no_harm() -> None:
    bet = replace(RULES["one-prompt-at-a-time"], id="bet", when=(), change={"use_cache": False}, unpredicted=True)
    chosen = [bet, *rules("fp32-weights-on-bf16-device")]

    def judge(loss: float, total: int = 50) -> Callable[[Setup], Estimate]:
        return lambda setup: estimate(
            total if setup.use_cache is False else 50,
            30.0 * (2 if setup.dtype == "bfloat16" else 1) * (loss if setup.use_cache is False else 1),
        )

    assert set(names(compose(chosen, judge(1.0)))) == {"fp32-weights-on-bf16-device", "bet"}
    assert "predicted loss" in compose(chosen, judge(0.5)).passed_over["bet"]
    assert compose(chosen, judge(1.0, total=500)).passed_over["bet"] == "needs more memory than is free"


def test_a_rule_that_only_advises_is_judged_on_the_setup_of_the_plan() -> None:
    advice = replace(
        RULES["fp32-weights-on-bf16-device"],
        id="advice",
        when=RULES["bf16-weights-on-fp16-gpu"].when[:1],
        requires=(),
        change={},
        advice=("type this for {workload.batch}",),
    )
    composed = compose(
        [*rules("fp32-weights-on-bf16-device"), advice],
        lambda setup: estimate(50, 60.0 if setup.dtype == "bfloat16" else 30.0),
    )
    assert [(note.rule, note.advice) for note in composed.notes] == [("advice", ("type this for 8",))]
    assert "advice" not in names(composed)


def test_what_was_set_for_correctness_may_be_set_to_another_right_value() -> None:
    """A cache that cannot run becomes a plain one; a later step may choose a static one, but not the broken one."""
    broken, better = rules("quantized-cache-without-quanto", "uncompiled-decoding-of-repeated-shapes")
    baseline = CPU.changed({"batching": "padded", "cache_implementation": "quantized", "cache_backend": "quanto"})
    back = replace(broken, id="back", always=False, when=(), requires=(), change={"cache_implementation": "quantized"})

    def judge(setup: Setup) -> Estimate:
        return estimate(50, {"static": 60.0, "quantized": 90.0}.get(str(setup.cache_implementation), 30.0))

    world = {"quanto__installed": False, "model__auto_compile": ("cuda",)}
    better = replace(better, when=(), requires=())
    composed = compose([broken, better, back], judge, baseline=baseline, **world)  # type: ignore[arg-type]
    assert names(composed) == [broken.id, better.id]
    assert composed.setup.cache_implementation == "static"
    assert composed.passed_over["back"].startswith("would undo ")
