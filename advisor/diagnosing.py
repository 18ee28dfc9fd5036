"""The first story: machine, model and workload meet the rules and the estimate, and give a plan.

Questions are asked only where the answers lead to different plans: the planner is run for each possible answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from advisor import baseline, batch_facts, derived, planner, workload
from advisor.conflicts import conflict
from advisor.facts import Declaration, Facts, Known, Question, Value
from advisor.plan import Estimate, ModelReference, Plan
from advisor.rule import Decision, Rule
from advisor.setup import Setup, knobs
from advisor.workload import Workload

MOST_QUESTIONS = 5

Estimator = Callable[[Facts, Facts, Workload, Setup], Estimate]
"""(model, machine, workload, setup) -> Estimate."""
Largest = Callable[[Facts, Facts, Workload, Setup], int | None]
"""(model, machine, workload, setup) -> the largest batch or context that fits."""
Closer = Callable[[Facts, Facts, Workload, Mapping[Setup, Estimate]], Mapping[Setup, Estimate]]
"""(model, machine, workload, estimates) -> the same setups, looked at more closely."""
Ask = Callable[[Declaration, Question], Value | None]
"""Puts a question to a person; None when they do not answer."""


class Written(Protocol):
    """A row of a table that goes into the plan as it is."""

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Estimators:
    """Where predictions come from. Handed in, so that every diagnosis can be replayed without a machine."""

    estimate: Estimator
    largest_batch: Largest
    largest_context: Largest
    break_even_calls: Callable[[Facts, Facts, Workload, Setup], tuple[float, float] | None]
    break_even_acceptance: Callable[[Facts, Facts, Workload, Setup], float | None]
    split: Callable[[Facts, Facts, Setup], Sequence[Written] | None] = lambda _model, _machine, _setup: None
    """(model, machine, setup) -> what each device holds of the weights."""
    fit_table: Callable[[Facts, Facts, Workload, Setup], Sequence[Written] | None] = lambda _m, _f, _w, _s: None
    """(model, machine, workload, setup) -> what fits, by type of weights and length of context."""
    closer: Closer = lambda _model, _machine, _workload, estimates: estimates
    """For the two setups of a finished plan, because it may take seconds."""


@dataclass(frozen=True)
class Subject:
    """What is diagnosed: the model, the machine, the workload, and the knobs that the user stated.

    `code` is what the user's own script says, and `places` where it states knobs (`use.py:12`).
    """

    reference: ModelReference
    model: Facts
    machine: Facts
    workload: Workload
    stated: Mapping[str, Value]
    code: Facts = field(default_factory=Facts)
    places: Mapping[str, str] = field(default_factory=dict)

    def baseline(self) -> tuple[Setup, dict[str, str]]:
        """The present setup, and for each knob where its value comes from."""
        setup, sources = baseline.baseline(self.stated, self.machine, self.model)
        return setup, {**sources, **self.places}

    def told(self, declaration: Declaration, value: Value) -> "Subject":
        """This subject with one fact stated by the user."""
        kind, name = declaration.name.split(".", 1)
        if kind == "setup":
            return replace(self, stated={**self.stated, name: value})
        return replace(self, workload=self.workload.told(name, value))


@dataclass
class Diagnosis:
    """Runs the planner for subjects, remembering estimates: most answers leave most setups' figures as they are."""

    rules: Sequence[Rule]
    estimators: Estimators
    _estimates: dict[tuple[object, ...], Any] = field(default_factory=dict)

    def plan(self, subject: Subject, ask: Ask | None) -> Plan:
        """The plan for `subject`; open questions are put to `ask`, or assumed where it is None."""
        answers: list[dict[str, Any]] = []
        skipped: set[str] = set()
        while ask is not None and len(answers) < MOST_QUESTIONS:
            open_questions = [d for d in self.open_questions(subject) if d.name not in skipped]
            if not open_questions:
                break
            declaration = open_questions[0]
            answer = ask(declaration, _question(declaration))
            if answer is None:
                skipped.add(declaration.name)
                continue
            subject = subject.told(declaration, answer)
            answers.append({"fact": declaration.name, "answer": answer, "source": "you"})
        answers += [
            {"fact": declaration.name, "answer": _assumed(declaration, subject), "source": "assumed"}
            for declaration in self.open_questions(subject)[: MOST_QUESTIONS - len(answers)]
        ]
        return self._finished(subject, answers)

    def open_questions(self, subject: Subject) -> list[Declaration]:
        """The unanswered questions whose answers lead to different plans, the one that moves the plan most first."""
        weights = [(self._weight(declaration, subject), declaration) for declaration in _askable(subject)]
        return [d for weight, d in sorted(weights, key=lambda pair: -pair[0]) if weight > 0]

    def _weight(self, declaration: Declaration, subject: Subject) -> int:
        """0 where all answers give one plan; else the most by which two of the plans differ."""
        told = [subject.told(declaration, value) for value, _ in _question(declaration).answers]
        plans = [planner.changes(self._situation(other), other.baseline()[0]) for other in told]
        return max(len(plans[0] ^ other) for other in plans[1:])

    def compose(self, subject: Subject) -> planner.Composition:
        """The planner's answer for one subject.

        The planner takes one step after the other, and a step may shut out another that alone makes the model fit. Then
        the first step without which the rest fits is left out.
        """
        situation, baseline = self._situation(subject), subject.baseline()[0]
        found = planner.compose(situation, baseline)
        if self.estimate(subject, found.setup).memory.fits is not False:
            return found
        for step in found.steps:
            rules = [rule for rule in self.rules if rule.id != step.rule]
            other = planner.compose(replace(situation, rules=rules), baseline)
            if self.estimate(subject, other.setup).memory.fits:
                known = {decision.rule.id: decision for decision in other.decisions}
                decisions = tuple(known.get(decision.rule.id, decision) for decision in found.decisions)
                passed_over = {**other.passed_over, step.rule: "with it, nothing that is left makes the model fit"}
                return replace(other, decisions=decisions, passed_over=passed_over)
        return found

    def _situation(self, subject: Subject) -> planner.Situation:
        _, sources = subject.baseline()
        return planner.Situation(
            self.rules,
            subject.workload.goal,
            lambda reached: self.facts(subject, reached, sources),
            lambda reached: self.estimate(subject, reached),
        )

    def estimate(self, subject: Subject, setup: Setup) -> Estimate:
        return self._remembered("estimate", self.estimators.estimate, subject, setup)  # type: ignore[no-any-return]

    def _remembered(self, what: str, ask: Callable[..., Any], subject: Subject, setup: Setup) -> Any:
        sizes = replace(subject.workload, goal="fit", stated=())
        key = (what, sizes, setup)
        if key not in self._estimates:
            self._estimates[key] = ask(subject.model, subject.machine, subject.workload, setup)
        return self._estimates[key]

    def facts(self, subject: Subject, setup: Setup, sources: Mapping[str, str]) -> Facts:
        """All facts that hold in `setup`."""
        return (
            subject.machine
            | Facts({"model.name": Known(subject.reference.name, "you")})
            | subject.model
            | subject.workload.facts()
            | setup.facts(sources)
            | subject.code
            | baseline.device_facts(subject.machine, setup)
            | derived.of_device(subject.machine, setup)
            | derived.of_attention(setup)
            | derived.of_experts(subject.model, subject.machine, setup)
            | derived.of_model(subject.model, subject.machine)
            | derived.of_estimate(self._predictions(subject), subject.model, subject.machine, subject.workload, setup)
        )

    def _predictions(self, subject: Subject) -> derived.Predictions:
        """Every question to the estimate about this subject, remembered by setup."""
        ask = self.estimators
        return derived.Predictions(
            estimate=lambda setup: self.estimate(subject, setup),
            largest_batch=lambda setup: self._remembered("batch", ask.largest_batch, subject, setup),
            largest_context=lambda setup: self._remembered("context", ask.largest_context, subject, setup),
            break_even_calls=lambda setup: self._remembered("calls", ask.break_even_calls, subject, setup),
            break_even_acceptance=lambda setup: self._remembered("draft", ask.break_even_acceptance, subject, setup),
        )

    def _finished(self, subject: Subject, answers: list[dict[str, Any]]) -> Plan:
        composed = self.compose(subject)
        _, sources = subject.baseline()
        rough = {setup: self.estimate(subject, setup) for setup in (composed.baseline, composed.setup)}
        found = self.estimators.closer(subject.model, subject.machine, subject.workload, rough)
        return Plan(
            model=subject.reference,
            model_facts=subject.model,
            workload=subject.workload,
            machine=subject.machine,
            baseline=composed.baseline,
            baseline_sources=sources,
            baseline_estimate=found[composed.baseline],
            setup=composed.setup,
            estimate=found[composed.setup],
            steps=composed.steps,
            notes=composed.notes,
            decisions=tuple(_decision(decision) for decision in composed.decisions),
            questions=tuple(answers),
            limits={
                "baseline": self._limits(subject, composed.baseline, found),
                "plan": self._limits(subject, composed.setup, found),
                **self._tables(subject, composed.setup),
            },
            passed_over=tuple({"rule": rule, "reason": why} for rule, why in composed.passed_over.items()),
            training_loop=subject.code.text("code.training_loop"),
        )

    def _tables(self, subject: Subject, setup: Setup) -> dict[str, list[dict[str, Any]]]:
        """Where the layers go if `setup` spreads them, and what fits where that is the question."""
        asked = (subject.model, subject.machine)
        split = self.estimators.split(*asked, setup)
        rows = self.estimators.fit_table(*asked, subject.workload, setup) if subject.workload.goal == "fit" else None
        tables = {"split": split, "fit_table": rows}
        return {name: [one.to_json() for one in table] for name, table in tables.items() if table}

    def _limits(self, subject: Subject, setup: Setup, found: Mapping[Setup, Estimate]) -> dict[str, float | None]:
        """By how much a setup misses, what its weights may take, and the largest batch and context that do fit."""
        memory = found[setup].memory
        missing = None
        if memory.total_bytes is not None and memory.available_bytes is not None:
            missing = max(0, memory.total_bytes - memory.available_bytes)
        most = None
        if subject.workload.task == "generate":
            alone = batch_facts.leanest(subject.workload, setup)
            least = memory if alone == setup else self.estimate(subject, alone).memory
            most = derived.weights_to_fit(subject.model, subject.machine, alone, least)
        return {
            "shortfall_bytes": missing,
            "weights_to_fit_bytes": most,
            "bits_to_fit": derived.bits_each(subject.model, most),
            "largest_batch": self._remembered("batch", self.estimators.largest_batch, subject, setup),
            "largest_context_tokens": self._remembered("context", self.estimators.largest_context, subject, setup),
        }


def _askable(subject: Subject) -> list[Declaration]:
    """Facts that carry a question and that the user has not stated, in this or other words."""
    asked = [d for d in workload.DECLARATIONS if d.name.split(".")[1] not in subject.workload.stated]
    asked += [d for name, d in knobs().items() if name not in subject.stated]
    return [d for d in asked if d.question is not None and not _shut_out(d, subject)]


def _shut_out(declaration: Declaration, subject: Subject) -> bool:
    """Whether what the user stated shuts out the usual answer: engine=serve says how requests are batched."""
    if not declaration.name.startswith("setup.") or conflict(subject.baseline()[0]):
        return False
    usual = subject.told(declaration, _question(declaration).assumed)
    return conflict(usual.baseline()[0]) is not None


def _question(declaration: Declaration) -> Question:
    assert declaration.question is not None
    return declaration.question


def _assumed(declaration: Declaration, subject: Subject) -> Value:
    """What the plan goes by where nobody answered."""
    kind, name = declaration.name.split(".", 1)
    return getattr(subject.workload, name) if kind == "workload" else _question(declaration).assumed


def _decision(decision: Decision) -> dict[str, Any]:
    because = [reason.to_json() for reason in decision.verdict.because]
    return {"rule": decision.rule.id, "verdict": decision.verdict.name, "because": because}
