"""A rule and what it can say: conditions over facts, a change of knobs, and a verdict that carries its reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advisor.clauses import Condition
from advisor.facts import Fact, Facts, Known, Unknown, Value, fact_to_json

RUNGS = (
    *("1-placement", "2-precision", "3-attention", "4-compile", "5-quantize", "6-serve"),
    *("cache", "speculation", "training", "encoders", "pitfalls"),
)
"""The triage ladder in the order in which its rungs are tried, and what stands beside it: the folders of rules/."""

EVIDENCE = ("measured", "documented", "reported")


@dataclass(frozen=True)
class FactReference:
    """A change's value that is taken from a fact when the rule fires (`threads: =host.cores_usable`)."""

    fact: str


ChangeValue = Value | FactReference
Change = Mapping[str, ChangeValue]


@dataclass(frozen=True)
class Case:
    """A machine in a few facts and the verdict that the rule must give on it."""

    name: str
    verdict: str
    facts: Facts
    line: int


@dataclass(frozen=True)
class Rule:
    """One piece of advice. The id names the situation found; the rung is the folder it lies in.

    `when` says where the advice belongs, `requires` what the machine must offer for it: a rule whose `when` holds
    and whose `requires` fails is blocked, and says so. `always` marks advice about correctness, which is taken
    whatever the estimate says of its speed. `quality` says what the outputs lose (None: nothing but rounding), which
    the planner weighs; `caution` is said beside the step and weighs nothing.

    A rule without a `change` gives `advice`: lines to type or to write, with {fact.name} for what is known here. It
    is judged on the setup that the plan leads to. `tasks` are those of the workload for which the rule speaks at all.
    `outranks` names rules that set the same knob otherwise: where the estimate sees no difference, this one is taken.
    `unpredicted` marks a change whose gain the estimate cannot see: it is taken last, if nothing speaks against it, and
    `apply` decides.
    """

    id: str
    rung: str
    path: str
    summary: str
    when: tuple[Condition, ...]
    requires: tuple[Condition, ...]
    change: Change
    advice: tuple[str, ...]
    tasks: tuple[str, ...]
    outranks: tuple[str, ...]
    fallbacks: tuple[Change, ...]
    evidence: str
    why: str
    not_when: str
    quality: str | None
    caution: str | None
    always: bool
    unpredicted: bool
    pitfalls: tuple[str, ...]
    sources: tuple[str, ...]
    locate: tuple[str, ...]
    cases: tuple[Case, ...]

    @property
    def step_on_ladder(self) -> int:
        return RUNGS.index(self.rung)


@dataclass(frozen=True)
class Because:
    """One settled condition: its text and the fact that settled it."""

    clause: str
    name: str
    fact: Fact

    def to_json(self) -> dict[str, Any]:
        told = fact_to_json(self.fact)
        return {
            "clause": self.clause,
            "value": told.get("value"),
            "source": told.get("source", "unknown: " + str(told.get("unknown"))),
        }

    def __str__(self) -> str:
        match self.fact:
            case Known(value, source):
                return f"{self.clause} (found {show(value)}, {source})"
            case Unknown(reason):
                return f"{self.clause} (unknown: {reason})"


def show(value: Value) -> str:
    """A value as rule files write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Fires:
    """Every condition holds."""

    because: tuple[Because, ...]
    name = "fires"


@dataclass(frozen=True)
class Silent:
    """At least one condition of `when` does not hold; `because` names those."""

    because: tuple[Because, ...]
    name = "silent"


@dataclass(frozen=True)
class Undecided:
    """No condition fails, but some ask for facts that are unknown; `because` names those."""

    because: tuple[Because, ...]
    name = "undecided"


@dataclass(frozen=True)
class Blocked:
    """The situation is there, but the machine lacks what the change requires; `because` names what."""

    because: tuple[Because, ...]
    name = "blocked"


Verdict = Fires | Silent | Undecided | Blocked
VERDICTS = ("fires", "silent", "undecided", "blocked")


@dataclass(frozen=True)
class Decision:
    """What one rule says about one machine, model, workload and setup."""

    rule: Rule
    verdict: Verdict
