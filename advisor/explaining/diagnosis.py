"""What `explain` says about one text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from advisor.explaining.doubt import Candidate
from advisor.facts import Value

FIGURES = (
    "requested_bytes", "total_bytes", "free_bytes", "allocated_bytes", "reserved_bytes", "reserved_unallocated_bytes",
    "process_bytes", "other_process_bytes", "device_index",
)  # fmt: skip
"""The figures that every memory diagnosis names, null where the text does not give them; others are added."""


@dataclass(frozen=True)
class FixFound:
    """A remedy, and whether it applies here: `yes`, `already`, `unknown`, or `no: reason`."""

    id: str
    summary: str
    change: Mapping[str, Value] | None
    command: str | None
    applies: str

    def to_json(self) -> dict[str, Any]:
        change: dict[str, Any] | None = None
        if self.change is not None:
            change = {k: list(v) if isinstance(v, tuple) else v for k, v in self.change.items()}
        return {"id": self.id, "summary": self.summary, "change": change, "command": self.command,
                "applies": self.applies}  # fmt: skip


@dataclass(frozen=True)
class Diagnosis:
    """The failure in a text: kind and cause by their ids, what was found, why, and what helps. A text that is not
    recognized has no kind and no cause. `confidence` is high, medium or low; where it is low, `candidates` are the two
    causes that the text allows and `question` separates them. `missing` says what should have been pasted, `training`
    whether a step of training failed, in whose words a batch is then told."""

    source: str
    recognized: bool
    kind: str | None = None
    cause: str | None = None
    phase: str | None = None
    rule: str | None = None
    summary: str = ""
    figures: Mapping[str, int | float] = field(default_factory=dict)
    what: str = ""
    why: str = ""
    quoted_line: str = ""
    fixes: tuple[FixFound, ...] = ()
    arithmetic: tuple[str, ...] = ()
    confidence: str | None = None
    candidates: tuple[Candidate, ...] = ()
    question: str | None = None
    missing: str | None = None
    training: bool = False

    @property
    def is_memory(self) -> bool:
        return self.kind not in (None, "error")

    def to_json(self) -> dict[str, Any]:
        """The object of the contract. Figures that the text does not give are null."""
        memory = {**dict.fromkeys(FIGURES), **self.figures} if self.is_memory else {}
        return {
            "source": self.source, "recognized": self.recognized, "kind": self.kind, "cause": self.cause,
            "phase": self.phase, "rule": self.rule, "summary": self.summary, "memory": memory, "what": self.what,
            "why": self.why, "quoted_line": self.quoted_line, "fixes": [fix.to_json() for fix in self.fixes],
            "arithmetic": list(self.arithmetic), "confidence": self.confidence,
            "candidates": [each.to_json() for each in self.candidates], "question": self.question,
            "missing": self.missing,
        }  # fmt: skip
