"""The result of applying a plan, as one value that goes to JSON and to the screen."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from advisor.run.choices import Choice, Choices
from advisor.run.fallback import Attempt
from advisor.run.figures import Failed, Measured, Measurement
from advisor.run.healing import Explained
from advisor.run.shares import Share
from advisor.run.verify import Aim, Comparison, judged_by_memory, request_seconds
from advisor.setup import Setup
from advisor.workload import Workload

SCHEMA = 1


@dataclass(frozen=True)
class Applied:
    """What was tried, what is kept and what it gives.

    `comparison` belongs to `setup` where the outcome is `holds`, else it is the last one that was tried. `measured`
    holds what single steps gave, where they were measured one by one. `unstarted` says why the baseline was not run.
    """

    outcome: str
    baseline_setup: Setup
    setup: Setup
    comparison: Comparison
    choices: Choices
    attempts: tuple[Attempt, ...]
    measured: Mapping[str, Measurement]
    aim: Aim
    weights: str
    elapsed_seconds: float
    explained: Explained | None = None
    """What `explain` says about a baseline that failed."""
    shares: Mapping[str, Share] = field(default_factory=dict)
    """What each step did by itself, by its rule, where they were measured one by one."""
    workload: Workload | None = None
    own_prompts: bool = False

    @property
    def baseline(self) -> Measurement:
        return self.comparison.baseline

    @property
    def final(self) -> Measurement:
        """The final setup's figures: the plan's where it holds, else the baseline's."""
        return self.comparison.plan if self.outcome == "holds" else self.comparison.baseline

    @property
    def speedup(self) -> float | None:
        """Final over baseline in what the goal asks for; 1 where the baseline is kept; None without both figures."""
        match self.baseline, self.final:
            case Measured(), Measured():
                return self.comparison.verdict.gain if self.outcome == "holds" else 1.0
        return None

    @property
    def judged_by_memory(self) -> bool:
        """Whether the gain is one of memory and not of speed."""
        return judged_by_memory(self.aim, self.baseline, self.comparison.plan)

    @property
    def pays_back_after_requests(self) -> int | None:
        """Requests after which a slower start has paid for itself; 0 where the start is no slower; None if never."""
        before, after = self.baseline, self.final
        if not (isinstance(before, Measured) and isinstance(after, Measured)):
            return None
        later = sum(
            getattr(after, name) - getattr(before, name) for name in ("slowest_first_seconds", "quickest_load_seconds")
        )
        saved = before.seconds - after.seconds
        if later <= 0:
            return 0
        return math.ceil(later / saved) if saved > 0 else None

    def to_json(self) -> dict[str, Any]:
        agreement = self.comparison.agreement
        return {
            "schema": SCHEMA,
            "outcome": self.outcome,
            "speedup": self.speedup,
            "setup": self.setup.to_json(),
            "baseline_setup": self.baseline_setup.to_json(),
            "baseline": figures(self.baseline),
            "final": figures(self.final),
            "steps": [self._step(choice) for choice in self.choices],
            "agreement": agreement.to_json() if agreement else {"greedy_tokens_equal": None, "logit_distance": None},
            "verdict": self.comparison.verdict.to_json(),
            "failures": self._failures(),
            "noise": self.comparison.noise.to_json() if self.comparison.noise else None,
            "drift": self.comparison.drift,
            "drifted": self.comparison.drifted,
            "pays_back_after_requests": self.pays_back_after_requests,
            "attempts": [self._attempt(attempt) for attempt in self.attempts],
            "goal": self.aim.goal,
            "request_seconds": {"baseline": self._request(self.baseline), "final": self._request(self.final)},
            "weights": self.weights,
            "workload": self._workload(),
            "elapsed_seconds": self.elapsed_seconds,
        }

    def _failures(self) -> list[dict[str, Any]]:
        """Both sides of the last comparison, as far as they failed, each with its diagnosis where one is known."""
        last = self.attempts[-1].explained if self.attempts else None
        sides = ((self.baseline, self.explained), (self.comparison.plan, last))
        return [
            {**side.to_json(), "diagnosis": told.to_json() if told else None}
            for side, told in sides
            if isinstance(side, Failed)
        ]

    def _step(self, choice: Choice) -> dict[str, Any]:
        kept = choice.kept and self.outcome == "holds"
        found = self.measured.get(choice.step.rule)
        return {
            "rule": choice.step.rule,
            "kept": kept,
            "reason": self.reason(choice),
            "change": dict(choice.change) if kept else None,
            "measured": figures(found) if found else None,
            "share": share.to_json() if (share := self.shares.get(choice.step.rule)) else None,
        }

    def reason(self, choice: Choice) -> str:
        """Why a step is kept or taken back, in one line."""
        if not choice.kept or self.outcome == "holds":
            return choice.reason
        return f"{self.comparison.verdict.word}: {self.comparison.verdict.reason}"

    def _attempt(self, attempt: Attempt) -> dict[str, Any]:
        change = self.baseline_setup.difference(attempt.setup)
        return {
            "change": dict(change),
            **attempt.verdict.to_json(),
            "diagnosis": attempt.explained.to_json() if attempt.explained else None,
            "tried_next": None if attempt.remedy is None else dict(attempt.remedy),
        }

    def _workload(self) -> dict[str, Any] | None:
        """What a measured request was: of one process alone, or repeated in one; how many prompts, and whose."""
        if self.workload is None:
            return None
        load = self.workload
        return {
            "kind": "repeated" if load.repeats else "one-shot",
            "own_prompts": self.own_prompts,
            "prompts": load.batch * load.concurrency,
            "prompt_tokens": load.prompt_tokens,
            "new_tokens": load.new_tokens,
        }

    def _request(self, measurement: Measurement) -> float | None:
        return request_seconds(measurement, self.aim) if isinstance(measurement, Measured) else None


def figures(measurement: Measurement) -> dict[str, Any] | None:
    """A measurement's figures; null for one that failed, whose reason stands under `failures`."""
    return measurement.to_json() if isinstance(measurement, Measured) else None
