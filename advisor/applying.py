"""The story of `apply`: run baseline and plan, keep what holds, hand over the program.

Needs a plan and an interpreter, and knows no rules. Nothing is installed and nothing outside temporary folders is
written, except the exported file that was asked for; all processes are children that end with this one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advisor.conflicts import conflict
from advisor.errors import Mistake, PlanError, RequestError
from advisor.files import write_whole
from advisor.mending import means
from advisor.plan import Plan
from advisor.run.applied import Applied
from advisor.run.choices import Choice, setup_of
from advisor.run.distributions import Distributions
from advisor.run.fallback import Climbed, Found, search, step_by_step
from advisor.run.figures import Failed, Measured, Measurement
from advisor.run.healing import Explain, Healer
from advisor.run.judgeable import without_changing_shapes, without_unjudged
from advisor.run.measure import measure
from advisor.run.prompts import Ids, fitted
from advisor.run.recipe import recipe
from advisor.run.room import does_not_fit, outgrew
from advisor.run.second_look import second_look
from advisor.run.shares import shares
from advisor.run.subject import Subject
from advisor.run.verify import FAILS, NO_BETTER, Aim, Comparison, Verdict, verify
from advisor.setup import Setup
from advisor.subjects import random_weights, subject

__all__ = [
    "Applied",
    "Budget",
    "apply",
    "export",
    "first_choices",
    "rehearse",
    "subject",
    "write_export",
]

Heard = Callable[[str], None]


@dataclass(frozen=True)
class Budget:
    """How long applying may take: seconds of timed runs of one process, of waiting in it for other programs, and of one
    process at most (the first may download weights); setups tried, and the seconds after which no other is tried; how
    often a process is run again whose runs were all disturbed."""

    run_seconds: float = 6.0
    patience_seconds: float = 15.0
    limit_seconds: float = 900.0
    download_seconds: float = 7200.0
    attempts: int = 8
    total_seconds: float = 3600.0
    retries: int = 2


def apply(
    plan: Plan,
    python: str,
    weights: str | None = None,
    heard: Heard = lambda _: None,
    budget: Budget = Budget(),
    each_step: bool = False,
    noted: Callable[[Setup, Measured], None] = lambda _setup, _measured: None,
    explain: Explain = lambda _: None,
    prompts: tuple[Ids, ...] | None = None,
) -> Applied:
    """Measure the user's setup and the plan's in turn, take back what does not hold, and say what is kept.

    `weights` is `real` or `random`; None takes random weights where only a configuration is at hand. `each_step`
    measures the steps one by one first. `heard` gets progress, one line at a time; `noted` gets each setup that was
    measured while other programs were quiet; `explain` says what a failure means. `prompts` are the user's own as token
    ids, instead of random ones.

    Raises:
        PlanError: the plan cannot be carried out; all reasons together.
    """
    began = time.monotonic()
    if prompts:  # idempotent, for callers of the story itself
        plan = replace(plan, workload=fitted(plan.workload, prompts))
    aim = Aim(plan.workload.goal, plan.workload.repeats, random_weights(plan, weights))
    healer = Healer(means(plan), explain, heard)
    bench = _Bench(plan, python, weights, heard, budget, noted, prompts)
    choices = without_unjudged(first_choices(plan), aim.random_weights)
    choices = without_changing_shapes(choices, plan.baseline, plan.setup, plan.workload)
    # What cannot be carried out is refused before anything runs.
    _of_baseline(bench.subject, plan.baseline)
    recipe(bench.subject, plan.setup)
    climbed = Climbed(choices, {})
    known: Measurement | None = None
    if setup_of(plan.baseline, choices) == plan.baseline:
        known = bench.try_out(plan.baseline)
        mended = (
            healer.mended(plan.baseline, choices, known, {plan.baseline}, False) if isinstance(known, Failed) else None
        )
        if mended is None:
            return _kept_as_it_is(plan, bench, aim, began, climbed, known, healer)
        climbed = Climbed(mended, {})
    elif each_step:
        known = bench.try_out(plan.baseline)
        climbed = step_by_step(plan.baseline, choices, known, aim, bench.try_out, healer)
        if setup_of(plan.baseline, climbed.choices) == plan.baseline:
            return _kept_as_it_is(plan, bench, aim, began, climbed, known, healer)

    def compare(setup: Setup, before: Measurement | None) -> Comparison:
        return verify(plan.baseline, setup, aim, bench.try_out, before)

    def more(tried: int) -> bool:
        return tried < budget.attempts and time.monotonic() - began < budget.total_seconds

    found = search(plan.baseline, climbed.choices, compare, more, known, healer)
    found = second_look(plan.baseline, found, climbed.choices, aim, bench.try_out, compare, more, heard)
    return _applied(plan, bench, aim, found, climbed, time.monotonic() - began, healer)


def first_choices(plan: Plan) -> tuple[Choice, ...]:
    """Every step as planned.

    Raises:
        PlanError: the steps do not lead to the plan's setup, so that one of them was edited.
    """
    choices = tuple(Choice(step, 0, step.summary) for step in plan.steps)
    reached = setup_of(plan.baseline, choices)
    if reached == plan.setup:
        return choices
    differing = [name for name in plan.setup.to_json() if getattr(reached, name) != getattr(plan.setup, name)]
    hint = "write the plan again with: perf-advisor diagnose"
    raise PlanError(*(Mistake(f"plan.setup.{name}", "is not what the steps lead to", hint) for name in differing))


def export(plan: Plan, setup: Setup, weights: str | None = None) -> str:
    """The program for `setup`, which runs by itself.

    Raises:
        PlanError: the setup cannot be carried out.
    """
    return recipe(subject(plan, weights), setup)


def write_export(path: Path, text: str) -> None:
    """Write the program whole or not at all.

    Raises:
        RequestError: the place cannot be written to.
    """
    try:
        write_whole(path, text)
    except OSError as error:
        raise RequestError(Mistake("--export", f"{path} cannot be written: {error.strerror}")) from error


def rehearse(plan: Plan, python: str, weights: str | None = None) -> dict[str, Any]:
    """What `apply` would run, without running it (`--dry-run`): both programs and the order of the processes.

    Raises:
        PlanError: the plan cannot be carried out.
    """
    choices = first_choices(plan)
    about = subject(plan, weights)
    return {
        "python": python,
        "weights": "random" if about.random_weights else "real",
        "processes": ["baseline", "plan", "baseline", "plan"] if choices else ["baseline"],
        "baseline": {"setup": plan.baseline.to_json(), "program": _of_baseline(about, plan.baseline)},
        "plan": {"setup": plan.setup.to_json(), "program": recipe(about, plan.setup)},
        "steps": [{"rule": step.rule, "change": dict(step.change)} for step in plan.steps],
    }


def _of_baseline(about: Subject, setup: Setup) -> str | None:
    """The program for the user's own setup, or None where its knobs do not go together.

    Raises:
        PlanError: the setup cannot be carried out.
    """
    return recipe(about, setup) if conflict(setup) is None else None


class _Bench:
    """Where setups are measured: one fresh process each."""

    def __init__(
        self,
        plan: Plan,
        python: str,
        weights: str | None,
        heard: Heard,
        budget: Budget,
        noted: Callable[[Setup, Measured], None],
        prompts: tuple[Ids, ...] | None = None,
    ) -> None:
        self.noted, self.prompts = noted, prompts
        self.thoughts: dict[Setup, Distributions] = {}
        self.plan, self.python, self.heard, self.budget = plan, python, heard, budget
        self.subject = subject(plan, weights)
        self.processes, self.retries = 0, budget.retries

    def try_out(self, setup: Setup) -> Measurement:
        """Measure `setup`, unless its knobs do not go together or it would fill the memory of the host."""
        name = "baseline" if setup == self.plan.baseline else "plan" if setup == self.plan.setup else "another way"
        if refusal := conflict(setup) or self._too_large(setup):
            self.heard(f"{name}: not run, {refusal}")
            return Failed("start", refusal, "")
        measured = self._process(setup, name)
        while isinstance(measured, Measured) and not measured.quiet and self.retries > 0:
            self.retries -= 1
            self.heard(f"{name}: other programs kept the processor busy all the time, measuring again")
            measured = self._process(setup, name)
        if isinstance(measured, Measured) and setup != self.plan.baseline and (why := outgrew(measured)):
            self.heard(f"{name}: {why}")
            return Failed("memory", why, "")
        if isinstance(measured, Measured) and measured.quiet:
            self.noted(setup, measured)
        return measured

    def _process(self, setup: Setup, name: str) -> Measurement:
        self.processes += 1
        downloads = self.processes == 1 and self.plan.model.kind == "hub" and not self.subject.random_weights
        measured = measure(
            self.python,
            recipe(self.subject, setup),
            clock=setup.batching != "continuous" and setup.speculation in (None, "none"),
            budget_seconds=self.budget.run_seconds if self.plan.workload.repeats else 0.0,
            limit_seconds=self.budget.download_seconds if downloads else self.budget.limit_seconds,
            patience_seconds=self.budget.patience_seconds,
            heard=lambda stage: self.heard(f"process {self.processes}, {name}: {stage}"),
            prompts=self.prompts,
            judge=setup not in self.thoughts,
            alone=not self.plan.workload.repeats,
        )
        if isinstance(measured, Measured):
            measured = self._with_thoughts(setup, measured)
        self.heard(f"process {self.processes}, {name}: {_in_short(measured)}")
        return measured

    def _with_thoughts(self, setup: Setup, measured: Measured) -> Measured:
        """With what an earlier process of the same setup thought of the text: one is asked."""
        if measured.distributions is not None:
            self.thoughts[setup] = measured.distributions
        return replace(measured, distributions=self.thoughts.get(setup))

    def _too_large(self, setup: Setup) -> str | None:
        estimates = {self.plan.setup: self.plan.estimate, self.plan.baseline: self.plan.baseline_estimate}
        found = estimates.get(setup)
        return None if found is None or setup.device not in (None, "cpu") else does_not_fit(found)


def _in_short(measurement: Measurement) -> str:
    match measurement:
        case Failed(stage, reason):
            return f"failed at {stage}: {reason}"
        case Measured():
            disturbed = f", {measurement.disturbed_runs} of {len(measurement.runs)} runs disturbed by other programs"
            return f"{measurement.total_tokens_per_second:.1f} tokens/s" + (
                disturbed if measurement.disturbed_runs else ""
            )


def _kept_as_it_is(
    plan: Plan, bench: _Bench, aim: Aim, began: float, climbed: Climbed, measured: Measurement, healer: Healer
) -> Applied:
    """No step is there, or none is left: the baseline's figures stand alone."""
    word, reason = (FAILS, measured.reason) if isinstance(measured, Failed) else (NO_BETTER, "no step is left to try")
    comparison = Comparison(measured, measured, Verdict(word, None, None, reason), None)
    found = Found(climbed.choices, comparison, (), False)
    return _applied(plan, bench, aim, found, climbed, time.monotonic() - began, healer)


def _applied(
    plan: Plan, bench: _Bench, aim: Aim, found: Found, climbed: Climbed, elapsed: float, healer: Healer
) -> Applied:
    baseline = found.comparison.baseline
    outcome = "holds" if found.holds else "failed" if isinstance(baseline, Failed) else "no-gain"
    return Applied(
        outcome=outcome,
        baseline_setup=plan.baseline,
        setup=setup_of(plan.baseline, found.choices) if found.holds else plan.baseline,
        comparison=found.comparison,
        choices=found.choices,
        attempts=found.attempts,
        measured=climbed.measured,
        aim=aim,
        weights="random" if bench.subject.random_weights else "real",
        elapsed_seconds=elapsed,
        explained=healer.explain(baseline) if isinstance(baseline, Failed) else None,
        shares=shares(found.comparison.baseline, climbed, aim),
        workload=plan.workload,
        own_prompts=bench.prompts is not None,
    )
