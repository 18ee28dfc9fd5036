"""Setups worth a try beside a plan: what goes together, fits, is allowed, and is predicted to come close."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from advisor.candidates import MOST, Candidate, candidates
from advisor.conflicts import compiles, conflict
from advisor.facts import Facts, Known, Value
from advisor.merit import WORTH_A_LOSS
from advisor.plan import Estimate, Memory, ModelReference, Plan, Speed
from advisor.setup import Setup
from advisor.workload import Workload

NOW = Setup(
    device="cpu", device_map="none", dtype="float32", attn_implementation="sdpa", use_cache=True, batching="loop",
    cache_implementation="dynamic", compile="none", quantization="none", threads=2,
)  # fmt: skip
PLANNED = NOW.changed({"dtype": "bfloat16"})
FREELY = Workload(goal="latency", prompt_tokens=24, new_tokens=8, quantize="freely")
MACHINE: Mapping[str, Value] = {
    "host.avx512_bf16": True,
    "compiler.found": True,
    "bitsandbytes.installed": True,
    "accelerate.installed": True,
}
MODEL: Mapping[str, Value] = {"model.supports_sdpa": True, "model.supports_static_cache": True}
Factors = Mapping[tuple[str, Value], float]
USUAL: Factors = {
    ("dtype", "float32"): 1.2, ("attn_implementation", "eager"): 1.1, ("compile", "generate"): 0.9, ("threads", 1): 1.5,
}  # fmt: skip


def facts(values: Mapping[str, Value]) -> Facts:
    return Facts({name: Known(value, "test") for name, value in values.items()})


def sized(total: int, fits: bool = True) -> Memory:
    return Memory(total, 0, 0, 0, 0, total, 10**9, fits)


def estimator(factors: Factors = USUAL, memory: Callable[[Setup], Memory] = lambda _: sized(100)) -> Any:
    """One token a second, times the factors of the knobs that are set."""

    def estimate(setup: Setup) -> Estimate:
        seconds = 8.0
        for (knob, value), factor in factors.items():
            seconds *= factor if getattr(setup, knob) == value else 1.0
        return Estimate(memory(setup), Speed(0.1, 1.0, 8 / seconds), "formula", None, None)

    return estimate


def planned(setup: Setup = PLANNED, workload: Workload = FREELY, **more: Any) -> Plan:
    known = estimator()(setup)
    parts: dict[str, Any] = {
        "model": ModelReference("folder", "model", None, False), "model_facts": facts(MODEL), "workload": workload,
        "machine": facts(MACHINE), "baseline": NOW, "baseline_sources": {}, "baseline_estimate": known,
        "setup": setup, "estimate": known, "steps": (), "notes": (), "decisions": (), "questions": (), "limits": {},
        "passed_over": (),
    }  # fmt: skip
    return Plan(**parts | more)


def found(plan: Plan, estimate: Any = None) -> tuple[Candidate, ...]:
    return candidates(plan, estimate or estimator())


def values(plan: Plan, knob: str, estimate: Any = None) -> set[Value]:
    return {getattr(one.setup, knob) for one in found(plan, estimate)}


def test_the_plan_is_among_them_and_the_likeliest_comes_first() -> None:
    told = found(planned())
    assert PLANNED in {one.setup for one in told}
    assert told[0].setup.compile == "generate"
    assert len({one.setup for one in told}) == len(told) <= 2 * MOST
    assert all(conflict(one.setup) is None for one in told)


def test_the_plan_is_tried_however_slow_it_is_predicted() -> None:
    slow = estimator({("dtype", "bfloat16"): 50.0})
    assert PLANNED in {one.setup for one in found(planned(), slow)}


def test_what_is_predicted_far_behind_is_left_out() -> None:
    assert "float32" in values(planned(), "dtype")
    assert "float32" not in values(planned(), "dtype", estimator({("dtype", "float32"): 2.5}))


def test_what_does_not_fit_is_left_out() -> None:
    large = estimator(memory=lambda setup: sized(100, fits=setup.dtype != "float32"))
    assert "float32" not in values(planned(), "dtype", large)


def test_a_plan_about_memory_gets_nothing_larger() -> None:
    load = replace(FREELY, goal="memory")
    large = estimator(memory=lambda setup: sized(101 if setup.dtype == "float32" else 100))
    assert values(planned(workload=load), "dtype", large) == {"bfloat16"}


def test_nothing_is_tried_where_no_speed_is_known() -> None:
    silent = Estimate(sized(100), Speed(None, None, None), "formula", None, None)
    assert found(planned(), lambda _: silent) == ()


def test_weights_are_quantized_freely_only_where_that_is_allowed() -> None:
    quick = estimator({("quantization", "bnb_nf4"): 0.5})
    assert "bnb_nf4" in values(planned(), "quantization", quick)
    for word in ("never", "to_fit"):
        assert values(planned(workload=replace(FREELY, quantize=word)), "quantization", quick) == {"none"}
    lacking = facts({**MACHINE, "bitsandbytes.installed": False})
    assert values(planned(machine=lacking), "quantization", quick) == {"none"}
    stored = facts({**MODEL, "model.checkpoint_quantization": "gptq"})
    assert values(planned(model_facts=stored), "quantization", quick) == {"none"}


def test_other_outputs_must_earn_their_price() -> None:
    told = {one.setup.quantization: one.price for one in found(planned(), estimator({("quantization", "none"): 1.3}))}
    assert told["none"] == 1.0
    assert told["bnb_nf4"] == WORTH_A_LOSS


def test_what_must_be_quantized_to_fit_pays_no_price() -> None:
    setup = PLANNED.changed({"quantization": "bnb_nf4"})
    load = replace(FREELY, quantize="to_fit")
    large = estimator(memory=lambda one: sized(100, fits=one.quantization == "bnb_nf4"))
    assert {one.price for one in found(planned(setup, load), large)} == {1.0}


def test_compilation_needs_a_compiler_a_model_that_takes_it_and_many_requests() -> None:
    assert any(compiles(one.setup) for one in found(planned()))
    for lacking in (
        planned(machine=facts({**MACHINE, "compiler.found": False})),
        planned(model_facts=facts({**MODEL, "model.supports_static_cache": False})),
        planned(workload=replace(FREELY, repeats=False)),
    ):
        assert not any(compiles(one.setup) for one in found(lacking))


def test_what_is_compiled_comes_with_itself_uncompiled() -> None:
    told = found(planned(), estimator({("compile", "generate"): 0.2}))
    compiled = [one for one in told if compiles(one.setup)]
    assert compiled
    assert all(one.sibling in {other.setup for other in told} for one in compiled)
    assert all(one.sibling is None for one in told if not compiles(one.setup))


def test_attention_stays_where_its_weights_are_read() -> None:
    assert values(planned(), "attn_implementation") == {"sdpa", "eager"}
    read = replace(FREELY, reads_attention_weights=True)
    assert values(planned(workload=read), "attn_implementation") == {"sdpa"}


def test_half_a_batch_is_a_candidate() -> None:
    padded = PLANNED.changed({"batching": "padded", "batch_size": 8, "padding_side": "left"})
    assert 4 in values(planned(padded), "batch_size", estimator({("batch_size", 4): 0.5}))
    assert values(planned(), "batch_size") == {None}


def test_float16_is_never_brought_in() -> None:
    assert "float16" not in values(planned(), "dtype", estimator({}))


def test_candidates_of_the_same_weights_share_a_model() -> None:
    told = found(planned(), estimator({}))
    one = next(each for each in told if each.setup.attn_implementation == "sdpa")
    other = replace(one, setup=one.setup.changed({"attn_implementation": "eager", "threads": 1}))
    wider = replace(one, setup=one.setup.changed({"dtype": "float32"}))
    assert one.weights == other.weights != wider.weights


def test_an_assistant_is_loaded_with_its_model() -> None:
    drafting = {"assistant_model": "a/small", "batching": "loop"}
    setups = [NOW.changed({**drafting, "speculation": way}) for way in ("assistant", "prompt_lookup", "none")]
    weights = [Candidate(setup, 1.0, 1.0, None).weights for setup in setups]
    assert weights[0] != weights[1] == weights[2]
