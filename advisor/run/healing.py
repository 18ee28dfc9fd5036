"""A failing step is explained, and mended where a ladder or the explanation offers another way. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from advisor.conflicts import conflict
from advisor.facts import Value
from advisor.plan import Effect, Step
from advisor.run.choices import Choice, Choices, named_knobs, out_of_memory, replaced, setup_of
from advisor.run.figures import Failed
from advisor.run.ladders import Means, plainer, smaller
from advisor.setup import Setup

MENDED = "fallback"
"""How the name of a step begins that no rule of the plan made: a fallback for a knob of the user's own setup."""
NOT_BY_EXPLANATION = {"device", "device_map", "quantization", "max_memory"}
"""Knobs that no explanation turns: they change what the user chose, and what outputs are like."""


@dataclass(frozen=True)
class Explained:
    """What `explain` says about a failure: the ids of its kind, cause and rule, two texts, and what its fixes set."""

    kind: str
    cause: str
    rule: str
    what: str
    why: str
    changes: tuple[Mapping[str, Value], ...] = ()

    @property
    def is_memory(self) -> bool:
        return self.kind != "error"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "cause": self.cause, "rule": self.rule, "what": self.what, "why": self.why}


Explain = Callable[[Failed], Explained | None]


@dataclass(frozen=True)
class Healer:
    """Explains failures and knows what else can be tried; `heard` is told of both, a line at a time."""

    means: Means
    explain: Explain
    heard: Callable[[str], None] = lambda _: None

    def mended(
        self, baseline: Setup, choices: Choices, failed: Failed, tried: set[Setup], baseline_runs: bool
    ) -> Choices | None:
        """The choices with the failing knob one step down its ladder; None where no ladder leads anywhere new.

        What only undoes a step of the plan is left to the taking back of that step.
        """
        setup = setup_of(baseline, choices)
        for change in self._remedies(setup, failed, baseline_runs):
            others = with_remedy(choices, change, failed.reason)
            reached = setup_of(baseline, others)
            undone = all(getattr(baseline, knob) == value for knob, value in change.items())
            if not undone and reached not in tried and reached != setup and conflict(reached) is None:
                return others
        return None

    def knobs(self, failed: Failed) -> frozenset[str]:
        """The knobs that the fixes of a failure's explanation set."""
        explained = self.explain(failed)
        return frozenset(knob for change in (explained.changes if explained else ()) for knob in change)

    def tell(self, explained: Explained | None, remedy: Mapping[str, Value] | None) -> None:
        """Say what a failure means and what is tried next."""
        if explained is not None:
            self.heard(f"that is {explained.cause}: {explained.what}")
        if remedy is not None:
            said = ", ".join(f"{knob}={value}" for knob, value in remedy.items())
            self.heard(f"trying {said}" if said else "going on without that step")

    def _remedies(self, setup: Setup, failed: Failed, baseline_runs: bool) -> Iterator[Mapping[str, Value]]:
        explained = self.explain(failed)
        if out_of_memory(failed) or (explained is not None and explained.is_memory):
            # While the user's own weights run, it is the plan that takes too much: its steps give way.
            less = smaller(setup, failed.stage, self.means)
            yield from (change for change in less if not baseline_runs or "batch_size" in change)
            return
        for knob in named_knobs(setup, failed):
            if change := plainer(setup, knob, self.means):
                yield change
        for change in explained.changes if explained else ():
            if not NOT_BY_EXPLANATION & set(change):
                yield change


NO_HEALER = Healer(Means(), lambda _: None)


def with_remedy(choices: Choices, change: Mapping[str, Value], reason: str) -> Choices:
    """The change laid over the step that set its knobs, else as a step of its own."""
    for choice in reversed(choices):
        if choice.kept and set(change) & set(choice.change):
            mended = replace(choice, mended={**choice.mended, **change}, reason=f"instead: {reason}")
            return replaced(choices, mended)
    knob = next(iter(change))
    rung = "5-quantize" if knob == "quantization" else "1-placement"
    step = Step(
        rule=f"{MENDED}-{knob}",
        rung=rung,
        summary=f"{knob} of your own setup fails here",
        change=dict(change),
        effect=Effect(None, None, None),
        evidence="measured",
        because=(),
        fallbacks=(),
        rank=len(choices) + 1,
    )
    return (*choices, Choice(step, 0, f"instead: {reason}"))
