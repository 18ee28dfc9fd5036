"""`perf-advisor diagnose --from-error FILE`: the text of a failure says what machine, setup and workload were."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from advisor import errorbook, rulebook
from advisor.commands import explain as command
from advisor.conflicts import conflict
from advisor.errors import Mistake, RequestError
from advisor.explaining import Diagnosis, FixFound, explain
from advisor.explaining.arithmetic import missing_bytes
from advisor.facts import Facts
from advisor.plan import Effect, Estimate, Note, Plan, Step
from advisor.reading import Passage, read
from advisor.remedies import judged
from advisor.setup import Setup
from advisor.show import terminal
from advisor.witness import Witness, witness
from advisor.workload import Workload

Predict = Callable[[Plan, Setup], Estimate]
"""A setup's estimate for the model, machine and workload of a plan."""
MOST_FIXES = 2
"""Beside steps that answer the failure; `perf-advisor explain` has them all."""


@dataclass(frozen=True)
class FromError:
    """A text whose failure is known, and how it is called in sources."""

    passage: Passage
    name: str
    cause: str | None = None
    on: Callable[[Facts], Diagnosis] | None = None
    """Its diagnosis on a machine."""

    def witness(self, machine: Facts, model: Facts) -> Witness:
        """What it tells, said on stderr line by line."""
        found = witness(self.passage, self.name, machine, model, self.cause)
        talk = terminal.talk()
        for line in found.lines():
            talk.print(f"From the error: {line}", style="dim", markup=False, soft_wrap=True)
        if found.elsewhere:
            what = "It happened on a device that this machine does not have; packages are taken as they are here."
            talk.print(f"{what} --machine FILE names that machine.", style="dim", soft_wrap=True)
        return found


def of(options: argparse.Namespace) -> FromError | None:
    """The text of --from-error.

    Raises:
        RequestError: it cannot be read, or no rule knows the failure in it.
    """
    if not getattr(options, "from_error", None):
        return None
    source = options.from_error
    name = "standard input" if source == command.STDIN else Path(source).name
    text = command.text_from(source, options)
    rules = errorbook.load(rulebook.shipped() / "errors", *command.own_folders(options))
    diagnosis = explain(text, name, None, rules)
    if not diagnosis.recognized:
        hint = "paste the whole traceback into it, down to the last line of the error"
        what = f"in {name} m{diagnosis.what[1:]}" if diagnosis.what else f"no rule knows the text of {name}"
        raise RequestError(Mistake("--from-error", what, hint))
    return FromError(read(text), name, diagnosis.cause, lambda machine: explain(text, name, machine, rules))


def answered(workload: Workload, found: Witness) -> Workload:
    """The workload with what the text states, and the goal to run at all where memory ran out."""
    for name, (value, _) in found.workload.items():
        if name not in workload.stated:
            workload = workload.told(name, value)
    if found.kind is not None and "goal" not in workload.stated:
        workload = workload.told("goal", "fit")
    return workload


def with_its_step(plan: Plan, error: FromError, predict: Predict) -> Plan:
    """The plan, made to answer the failure: as it is where it does, with the diagnosis beside it, else with the step
    that the diagnosis names first, else with a note that no plan answers it, and what to do instead."""
    if error.on is None:
        return plan
    diagnosis = error.on(plan.machine)
    if _answers(plan, diagnosis, missing_bytes(error.passage)):
        return _mentioned(plan, diagnosis)
    for fix in _usable(judged(diagnosis.fixes, plan.baseline)):
        if fix.change and (found := _with(plan, diagnosis, fix, predict)):
            return found
    _say_doubt(plan, error)
    return _unanswered(plan, diagnosis)


def _answers(plan: Plan, diagnosis: Diagnosis, missing: int | None) -> bool:
    """Whether the plan sets what a fix sets, makes a model fit that did not, or saves what was missing."""
    changed = plan.baseline.difference(plan.setup)
    if any(fix.change and all(changed.get(k) == v for k, v in fix.change.items()) for fix in diagnosis.fixes):
        return True
    before, after = plan.baseline_estimate.memory, plan.estimate.memory
    # The budget of a serving engine is set by its own options: no setup of transformers raises it.
    if (
        not diagnosis.is_memory
        or diagnosis.kind == "kv_cache_budget"
        or before.total_bytes is None
        or after.total_bytes is None
    ):
        return False
    return (before.fits is False and after.total_bytes < before.total_bytes) or (
        missing is not None and before.total_bytes - after.total_bytes >= missing
    )


def _with(plan: Plan, diagnosis: Diagnosis, fix: FixFound, predict: Predict) -> Plan | None:
    """The plan with a fix before its steps; None where the fix changes nothing here. The allocator's way of filling the
    memory is beyond the estimate."""
    change = dict(fix.change or {})
    alone, setup = plan.baseline.changed(change), plan.setup.changed(change)
    if alone == plan.baseline or conflict(setup) is not None:
        return None
    before, after = plan.baseline_estimate.memory.total_bytes, predict(plan, alone).memory.total_bytes
    saved = after - before if before is not None and after is not None else None
    if diagnosis.is_memory and "allocator" not in change and (saved is None or saved >= 0):
        return None
    step = Step(
        rule=_rule(diagnosis),
        rung="1-placement",
        summary=diagnosis.summary,
        change=change,
        effect=Effect(None, saved, None),
        evidence="reported",
        because=({"clause": fix.summary, "value": True, "source": "the diagnosis of the error"},),
        fallbacks=(),
        rank=1,
    )
    steps = (step, *(replace(other, rank=other.rank + 1) for other in plan.steps))
    return replace(plan, setup=setup, estimate=predict(plan, setup), steps=steps)


def _mentioned(plan: Plan, diagnosis: Diagnosis) -> Plan:
    """The plan with the diagnosis beside its steps, which answer it by the estimate."""
    note = _note(diagnosis, diagnosis.summary, _advice(diagnosis)[:MOST_FIXES], urgent=False)
    return replace(plan, notes=(note, *plan.notes))


def _usable(fixes: Iterable[FixFound]) -> Iterator[FixFound]:
    """Those that apply here or may."""
    return (fix for fix in fixes if fix.applies in ("yes", "unknown"))


def _advice(diagnosis: Diagnosis) -> list[str]:
    """The usable fixes as lines."""
    return [fix.summary + (f": {fix.command}" if fix.command else "") for fix in _usable(diagnosis.fixes)]


def _rule(diagnosis: Diagnosis) -> str:
    """Under what name a step or a note stands that comes from the diagnosis."""
    return f"diagnosed-{(diagnosis.cause or '').replace('_', '-')}"


def _note(diagnosis: Diagnosis, summary: str, advice: list[str], urgent: bool) -> Note:
    return Note(
        rule=_rule(diagnosis),
        rung="pitfalls",
        summary=summary,
        advice=tuple(advice) or ("perf-advisor explain says what is known of it",),
        because=(),
        evidence="reported",
        urgent=urgent,
    )


def _unanswered(plan: Plan, diagnosis: Diagnosis) -> Plan:
    """The plan with what to do instead, said on stderr too: its steps are about something else."""
    instead = _advice(diagnosis)
    what = f"This failure is not answered by a plan: {diagnosis.summary}."
    aside = " The steps below are about something else." if plan.steps else ""
    talk = terminal.talk()
    talk.print(what + aside, style="bold", markup=False, soft_wrap=True)
    if instead:
        talk.print(f"Instead: {instead[0]}", markup=False, soft_wrap=True)
    return replace(plan, notes=(_note(diagnosis, what, instead, urgent=True), *plan.notes))


def _say_doubt(plan: Plan, error: FromError) -> None:
    """Where the estimate sees no shortage although memory ran out, say which sizes nobody stated."""
    said = error.passage.said
    if said is None or said.form.kind != "gpu_oom" or plan.baseline_estimate.memory.fits is not True:
        return
    unstated = [name for name in ("batch", "prompt_tokens", "new_tokens") if name not in plan.workload.stated]
    options = " ".join(f"--{name.replace('_', '-')} N" for name in unstated)
    what = "Memory ran out, and yet by the estimate the present setup fits."
    why = f" The text does not tell these sizes, so they are assumed: {options}" if unstated else ""
    terminal.talk().print(what + why, markup=False, soft_wrap=True)
