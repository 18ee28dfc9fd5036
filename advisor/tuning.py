"""The story of `apply --tune`: the best setup near the plan, found by trying few setups for a moment each.

One child process tries all of them, so that the libraries are imported once and weights are loaded once for all setups
that share them. What it finds is a guess: `apply` then measures it against the user's own setup like any other plan,
in fresh processes, and takes it back if it does not hold.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from advisor import applying, child
from advisor import run as running
from advisor.candidates import Candidate, candidates
from advisor.conflicts import compiles, quantizes, speculates
from advisor.errors import PlanError
from advisor.estimate import formula
from advisor.estimate.speed import compile_seconds
from advisor.facts import Value
from advisor.plan import Effect, Estimate, Plan, Step
from advisor.run.acceptance import CANNOT, DRAFTS, differ_in_drafting
from advisor.run.generating import prompts_per_call
from advisor.run.measure import ENVIRONMENT, error_in, without_secrets
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.setup import Setup

PROGRAM = Path(running.__path__[0]) / "inside_tuning.py"
RULE = "found-by-trying"
USUAL_SECONDS = 60.0
GRACE_SECONDS = 120.0
"""What the process may take beyond the budget: a first import, loading weights, the run under way when time is up."""
MOST_STARTS = 3
SHARE_OF_MEMORY = 0.5
"""Weights that stay in memory for later rounds take at most so much of what was free."""

Heard = Callable[[str], None]


@dataclass(frozen=True)
class Tuned:
    """What trying found. `tried` are the setups that were tried, with the seconds of a request (reckoned from short
    runs; None where they failed, with the reason); `predicted` those of all candidates. `winner` is None where nothing
    could be tried, and `reason` says why."""

    rounds: tuple[Mapping[str, Any], ...] = ()
    tried: Mapping[Setup, float | None] = field(default_factory=dict)
    failed: Mapping[Setup, str] = field(default_factory=dict)
    predicted: Mapping[Setup, float] = field(default_factory=dict)
    winner: Setup | None = None
    seconds: float = 0.0
    reason: str | None = None

    def to_json(self, baseline: Setup) -> dict[str, Any]:
        """Setups as what they change of `baseline`."""

        def change(setup: Setup) -> dict[str, Value]:
            return dict(baseline.difference(setup))

        return {
            "rounds": [
                {**one, "seconds": [{"change": change(s), "seconds": t} for s, t in one["seconds"].items()]}
                for one in self.rounds
            ],
            "tried": [
                {
                    "change": change(setup),
                    "seconds": seconds,
                    "predicted_seconds": self.predicted.get(setup),
                    "failed": self.failed.get(setup),
                }
                for setup, seconds in self.tried.items()
            ],
            "seconds": self.seconds,
            "winner": None if self.winner is None else change(self.winner),
            "measured": self.winner in self.tried,
            "reason": self.reason,
        }


def tune(
    plan: Plan,
    python: str,
    weights: str | None = None,
    heard: Heard = lambda _: None,
    budget_seconds: float = USUAL_SECONDS,
    program: Path | None = None,
) -> Tuned:
    """Try the setups near the plan for `budget_seconds` in all, and say which is the quickest.

    `weights` is as in `applying.apply`; `heard` gets progress, one line at a time.

    Raises:
        PlanError: the plan cannot be carried out.
    """
    began = time.monotonic()
    subject = applying.subject(plan, weights)
    if reason := _untried(plan, subject):
        return Tuned(reason=reason)
    found = _possible(subject, candidates(plan, lambda setup: _estimate(plan, setup)))
    if not found:
        return Tuned(reason="no speed is known for this machine and model, so nothing can be told apart")
    if len(found) == 1:
        return Tuned(winner=plan.setup, reason="there is nothing beside the plan to try")
    trial = _Trial(plan, subject, found, heard)
    outcome = trial.run(python, budget_seconds, program or PROGRAM)
    return replace(outcome, seconds=time.monotonic() - began)


def _untried(plan: Plan, subject: Subject) -> str | None:
    """Why the setups near this plan cannot be told apart by short runs in one process; None where they can."""
    if plan.setup.engine == "serve":
        return "each setup of transformers serve is a server of its own"
    if (plan.setup.tensor_parallel or 1) > 1:
        return "tensor parallelism takes several processes, and setups are tried in one"
    if subject.random_weights and differ_in_drafting(plan.baseline, plan.setup):
        # What is found becomes one step, which would be left out as a whole for the drafting in it.
        return f"{CANNOT}: {DRAFTS}"
    return None


def retold(plan: Plan, tuned: Tuned) -> Plan:
    """The plan that leads to the winner; as it was where there is none, or where it is the plan's own.

    The steps of the old plan become one, with the old plan's way as its fallback.
    """
    winner = tuned.winner
    if winner is None or winner == plan.setup:
        return plan
    old, new = plan.baseline.difference(plan.setup), plan.baseline.difference(winner)
    before, after = plan.baseline_estimate, _estimate(plan, winner)
    step = Step(
        rule=RULE,
        rung="6-serve",
        summary="The quickest of the setups that were tried for a moment each",
        change=new,
        effect=Effect(_ratio(before, after), None, _loss(plan, winner)),
        evidence="measured",
        because=(),
        fallbacks=(old,) if old else (),
        rank=1,
    )
    return replace(plan, setup=winner, estimate=after, steps=(step,) if new else ())


def _ratio(before: Estimate, after: Estimate) -> float | None:
    a, b = before.speed.total_tokens_per_second, after.speed.total_tokens_per_second
    return b / a if a and b else None


def _loss(plan: Plan, winner: Setup) -> str | None:
    """What the winner costs beside speed: in the words of the plan where a step of it has some."""
    if not quantizes(winner) or winner.quantization == plan.baseline.quantization:
        return None
    return next((step.effect.quality for step in plan.steps if step.effect.quality), "a small loss of quality")


def _estimate(plan: Plan, setup: Setup) -> Estimate:
    if setup == plan.setup:
        return plan.estimate
    return formula.estimate(plan.model_facts, plan.machine, plan.workload, setup)


def _possible(subject: Subject, found: Sequence[Candidate]) -> list[Candidate]:
    """Those that there is a program for."""
    possible = []
    for one in found:
        try:
            recipe(subject, one.setup)
        except PlanError:
            continue
        possible.append(one)
    return possible


class _Trial:
    """The candidates as the child process takes them, and what it told so far."""

    def __init__(self, plan: Plan, subject: Subject, found: Sequence[Candidate], heard: Heard) -> None:
        self.plan, self.subject, self.found, self.heard = plan, subject, list(found), heard
        self.names = {f"c{number}": one for number, one in enumerate(found)}
        self.trying: str | None = None
        self.seconds: dict[str, float] = {}
        self.failed: dict[str, str] = {}

    def run(self, python: str, budget_seconds: float, program: Path) -> Tuned:
        """Start the child; where a candidate ends it, start again without that one."""
        ends = time.monotonic() + budget_seconds
        for _ in range(MOST_STARTS):
            left = ends - time.monotonic()
            outcome = child.run(python, program, self._request(left), left + GRACE_SECONDS, ENVIRONMENT, self._note)
            if isinstance(outcome, child.Answered):
                return self._read(outcome.answer)
            reason = without_secrets(error_in(outcome.log, outcome.reason))
            if self.trying is None:
                return Tuned(predicted=self._predicted(), reason=f"nothing could be tried: {reason}")
            self.heard(f"tuning: {self._said(self.trying)} ended the process: {reason}")
            self.failed[self.trying] = reason
            if ends < time.monotonic() or len(self.failed) == len(self.names):
                break
        return self._by_what_was_told()

    def _request(self, budget_seconds: float) -> dict[str, Any]:
        free = self.plan.estimate.memory.available_bytes or 0
        left = [self._candidate(name, one) for name, one in self.names.items() if name not in self.failed]
        return {
            "candidates": left,
            "budget_seconds": budget_seconds,
            "resident_bytes": int(free * SHARE_OF_MEMORY),
            "new_tokens": self.plan.workload.new_tokens,
        }

    def _candidate(self, name: str, one: Candidate) -> dict[str, Any]:
        setup, workload = one.setup, self.plan.workload
        names = {other.setup: key for key, other in self.names.items() if key not in self.failed}
        kinds = list(dict.fromkeys(other.weights for other in self.found))
        sibling = one.sibling if one.sibling in names else None
        told = {other.setup: other.seconds for other in self.found}
        whole = compiles(setup)
        return {
            "name": name,
            "recipe": recipe(self.subject, setup),
            "weights": str(kinds.index(one.weights)),
            "weights_bytes": _estimate(self.plan, setup).memory.weights_bytes or 0,
            "attn_implementation": setup.attn_implementation,
            "threads": setup.threads,
            "rows": None if workload.mixed_lengths or not _clocked(setup) else prompts_per_call(workload, setup),
            "whole": whole,
            "clocked": _clocked(setup),
            "price": one.price,
            "extra_seconds": max(compile_seconds(setup) or (0.0,)) if sibling else 0.0,
            "sibling": None if sibling is None else names[sibling],
            "ratio": 1.0 if sibling is None else one.seconds / told[sibling],
        }

    def _note(self, message: Mapping[str, Any]) -> None:
        name, stage = message.get("name"), message.get("stage")
        if not isinstance(name, str) or name not in self.names:
            return
        if stage == "trying":
            self.trying = name
        elif stage == "tried" and isinstance(seconds := message.get("seconds"), float):
            self.seconds[name] = min(seconds, self.seconds.get(name, seconds))
            self.heard(f"tuning: {seconds:.3f} s a request: {self._said(name)}")

    def _said(self, name: str) -> str:
        change = self.plan.baseline.difference(self.names[name].setup)
        return ", ".join(f"{knob}={value}" for knob, value in change.items()) or "your setup as it is"

    def _read(self, answer: Mapping[str, Any]) -> Tuned:
        """The child's answer as values; one that is not as agreed counts as what was told on the way."""
        try:
            failed = {**self.failed, **{str(name): str(why) for name, why in answer["failed"].items()}}
            seconds = {str(name): float(value) for name, value in answer["seconds"].items()}
            rounds = tuple(
                {
                    "tokens": one["tokens"],
                    "runs": int(one["runs"]),
                    "seconds": {self.names[name].setup: float(value) for name, value in one["seconds"].items()},
                }
                for one in answer["rounds"]
            )
            winner = self.names[answer["winner"]].setup if answer["winner"] else None
        except (KeyError, TypeError, ValueError, AttributeError):
            return self._by_what_was_told()
        return self._tuned(seconds, failed, rounds, winner)

    def _by_what_was_told(self) -> Tuned:
        known = {name: value * self.names[name].price for name, value in self.seconds.items()}
        best = min((name for name in known if name not in self.failed), key=known.__getitem__, default=None)
        winner = None if best is None else self.names[best].setup
        return self._tuned(self.seconds, self.failed, (), winner)

    def _tuned(
        self,
        seconds: Mapping[str, float],
        failed: Mapping[str, str],
        rounds: tuple[Mapping[str, Any], ...],
        winner: Setup | None,
    ) -> Tuned:
        return Tuned(
            rounds=rounds,
            tried={one.setup: seconds.get(name) for name, one in self.names.items() if name in {*seconds, *failed}},
            failed={self.names[name].setup: why for name, why in failed.items() if name in self.names},
            predicted=self._predicted(),
            winner=winner,
            reason=None if winner else "none of the setups ran",
        )

    def _predicted(self) -> dict[Setup, float]:
        return {one.setup: one.seconds for one in self.found}


def _clocked(setup: Setup) -> bool:
    """Whether generate takes a clock that is told of every token."""
    return setup.batching != "continuous" and not speculates(setup)
