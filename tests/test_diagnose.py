"""Questions are asked only where the answer can change the plan."""

import sys
from pathlib import Path
from typing import Any

import pytest

from advisor import rulebook
from advisor.commands import diagnose as command
from advisor.diagnosing import MOST_QUESTIONS, Diagnosis, Estimators, Subject
from advisor.estimate import devices
from advisor.facts import Declaration, Facts, Known, Question, Value, read_machine
from advisor.plan import Estimate, Memory, ModelReference, Speed
from advisor.probe import model as models
from advisor.setup import Setup
from advisor.workload import Workload

RULES = rulebook.load(rulebook.shipped())
MODEL = Facts(
    {
        "model.supports_sdpa": Known(True, "class"),
        "model.supports_static_cache": Known(True, "class"),
        "model.checkpoint_dtype": Known("bfloat16", "header"),
        "model.checkpoint_quantization": Known("none", "header"),
        "model.decoder_only": Known(True, "config"),
    }
)
MACHINE = Facts(
    {
        "torch.sees_gpu": Known(False, "torch"),
        "torch.build": Known("cpu", "torch"),
        "torch.version": Known("2.13.0", "torch"),
        "transformers.version": Known("5.22.2", "metadata"),
        "compiler.found": Known(True, "path"),
        "host.cores_usable": Known(2, "affinity"),
        "host.avx512_bf16": Known(True, "cpuinfo"),
        "host.amx_bf16": Known(False, "cpuinfo"),
        "host.fp16_units": Known(False, "cpuinfo"),
        "host.ram_available_bytes": Known(10**10, "cgroup"),
        "bitsandbytes.installed": Known(True, "metadata"),
        "accelerate.installed": Known(True, "metadata"),
    }
)


def estimate(_model: Facts, _machine: Facts, load: Workload, setup: Setup) -> Estimate:
    """Batches help, 16 bits help, compilation helps where it repeats, and everything fits."""
    rate = 10.0 * (load.batch if setup.batching == "padded" else 1) * (2 if setup.dtype == "bfloat16" else 1)
    rate *= 1.5 if setup.compile == "generate" else 1
    rate *= 1.3 if setup.quantization == "bnb_nf4" else 1
    size = 500 if setup.dtype == "bfloat16" else 1000
    return Estimate(
        Memory(size, 1, 1, 1, 1, size, 10**10, True), Speed(1.0, rate, rate, "bandwidth"), "formula", None, None
    )


ESTIMATORS = Estimators(estimate, lambda *_: 100, lambda *_: 5000, lambda *_: None, lambda *_: None)


def subject(workload: Workload, **stated: Value) -> Subject:
    return Subject(ModelReference("shape", "x", None, True), MODEL, MACHINE, workload, stated)


def diagnosis() -> Diagnosis:
    return Diagnosis(RULES, ESTIMATORS)


def names(declarations: list[Declaration]) -> list[str]:
    return [declaration.name for declaration in declarations]


def test_what_cannot_change_the_plan_is_not_asked() -> None:
    open_questions = names(diagnosis().open_questions(subject(Workload())))
    assert "setup.batching" not in open_questions, "there is one prompt: nothing to batch"
    once = names(diagnosis().open_questions(subject(Workload(repeats=False))))
    assert "workload.mixed_lengths" not in once, "neither a batch nor a compiled step whose shapes could change"


def test_what_changes_the_plan_is_asked() -> None:
    assert "setup.batching" in names(diagnosis().open_questions(subject(Workload().told("batch", 8))))
    eager = subject(Workload(), attn_implementation="eager")

    def judge(*request: Any) -> Estimate:
        found = estimate(*request)  # type: ignore[arg-type]
        slow = Speed(1.0, 1.0, 1.0, "bandwidth")
        return (
            found if request[3].attn_implementation == "sdpa" else Estimate(found.memory, slow, "formula", None, None)
        )  # type: ignore[attr-defined]

    asked = Diagnosis(
        RULES, Estimators(judge, lambda *_: 100, lambda *_: 5000, lambda *_: None, lambda *_: None)
    ).open_questions(eager)
    assert "workload.reads_attention_weights" in names(asked)


def test_what_was_stated_is_not_asked() -> None:
    stated = subject(Workload().told("batch", 8).told("repeats", False), batching="loop")
    open_questions = names(diagnosis().open_questions(stated))
    assert "setup.batching" not in open_questions
    assert "workload.repeats" not in open_questions


def test_what_another_knob_settles_is_not_asked() -> None:
    served = subject(Workload().told("batch", 8), engine="serve")
    assert "setup.batching" not in names(diagnosis().open_questions(served)), "the server pads no batches"
    assert served.baseline()[0].batching == "loop"


def test_answers_become_part_of_the_plan() -> None:
    asked: list[str] = []

    def ask(declaration: Declaration, question: Question) -> Value | None:
        asked.append(declaration.name)
        answers = {"setup.batching": "loop", "workload.repeats": False, "workload.goal": "throughput"}
        return answers.get(declaration.name, question.assumed)

    plan = diagnosis().plan(subject(Workload().told("batch", 8)), ask)
    assert 1 <= len(asked) <= MOST_QUESTIONS
    assert len(set(asked)) == len(asked)
    assert plan.baseline.batching == "loop"
    assert "one-prompt-at-a-time" in [step.rule for step in plan.steps]
    assert "uncompiled-decoding-of-repeated-shapes" not in [step.rule for step in plan.steps]
    assert {entry["source"] for entry in plan.questions if entry["fact"] in asked} == {"you"}


def test_unanswered_questions_are_asked_once_and_listed_as_assumed() -> None:
    asked: list[str] = []

    def ask(declaration: Declaration, question: Question) -> Value | None:
        asked.append(declaration.name)
        return None

    plan = diagnosis().plan(subject(Workload().told("batch", 8)), ask)
    assert len(set(asked)) == len(asked)
    assert {entry["fact"] for entry in plan.questions} >= set(asked[:MOST_QUESTIONS])
    assert {entry["source"] for entry in plan.questions} == {"assumed"}


def test_without_a_terminal_the_assumptions_are_listed() -> None:
    plan = diagnosis().plan(subject(Workload().told("batch", 8)), None)
    assumed = {entry["fact"]: entry["answer"] for entry in plan.questions}
    assert assumed["setup.batching"] == "padded"
    assert assumed["workload.repeats"] is True
    assert len(plan.questions) <= MOST_QUESTIONS


def test_every_rule_has_a_decision_and_the_limits_are_told() -> None:
    plan = diagnosis().plan(subject(Workload().told("batch", 8), batching="loop", dtype="float32"), None)
    assert {entry["rule"] for entry in plan.decisions} == {rule.id for rule in RULES}
    limits = {"shortfall_bytes": 0, "largest_batch": 100, "largest_context_tokens": 5000}
    assert {name: plan.limits["plan"][name] for name in limits} == limits
    total = plan.estimate.speed.total_tokens_per_second
    before = plan.baseline_estimate.speed.total_tokens_per_second
    product = 1.0
    for step in plan.steps:
        product *= step.effect.speed or 1.0
    assert total is not None and before is not None
    assert product == pytest.approx(total / before), "the shares multiply to the whole"


def test_a_step_that_shuts_out_the_one_that_makes_it_fit_is_left_out() -> None:
    """Compiling saves memory here, and shuts out 4-bit weights, without which nothing makes the model fit."""
    machine = read_machine(Path(__file__).parent / "machines" / "t4.json", rulebook.full_vocabulary())
    reference, model = models.find("llama-3.1-8b", sys.executable)
    load = Workload().told("prompt_tokens", 8000)
    subject = Subject(reference, model, machine | devices.rates(machine), load, {})
    found = Diagnosis(RULES, command.ESTIMATORS).plan(subject, None)
    assert found.estimate.memory.fits
    assert found.setup.quantization == "bnb_nf4"
    assert {decision["rule"] for decision in found.decisions} == {rule.id for rule in RULES}
    left_out = [one for one in found.passed_over if "nothing that is left makes the model fit" in one["reason"]]
    assert len(left_out) == 1
