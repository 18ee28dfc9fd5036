"""A plan, and the figures in it.

The JSON shapes are those that scripts rely on. A plan holds names, numbers and texts; nothing in it is ever executed,
and it names exactly one place on disk, the model. planfile.py reads and writes it.
"""

from dataclasses import asdict, dataclass
from typing import Any

from advisor.facts import Facts, Value, to_json
from advisor.setup import Setup
from advisor.workload import Workload

SCHEMA = 1


@dataclass(frozen=True)
class Memory:
    """Predicted bytes on the device that holds the model; None where it cannot be known.

    Gradients and optimizer states are those of training, and None for every other task. `fetched_bytes` are the weights
    that wait in RAM or on disk and are copied to the device for every pass.
    """

    weights_bytes: int | None
    kv_cache_bytes: int | None
    kv_cache_peak_bytes: int | None
    activation_peak_bytes: int | None
    overhead_bytes: int | None
    total_bytes: int | None
    available_bytes: int | None
    fits: bool | None
    gradients_bytes: int | None = None
    optimizer_bytes: int | None = None
    fetched_bytes: int | None = None


@dataclass(frozen=True)
class Speed:
    """Predicted speed of the workload: all prompts of all requests in flight, put at one moment; None where unknown.

    `ttft_seconds` runs from that moment until half of the prompts have their first token, waiting for earlier calls
    included, `last_ttft_seconds` until the last one has it. `decode_tokens_per_second` counts the new tokens of every
    prompt that is decoded at a time, after the first ones; `total_tokens_per_second` those of all prompts, over the
    whole time. `bound` names the term that dominates a decode step (`host`, `bandwidth` or `compute`).

    For the task encode `ttft_seconds` are those of one batch, `total_tokens_per_second` counts tokens of text, nothing
    is decoded, and `bound` is that of a batch.
    """

    ttft_seconds: float | None
    decode_tokens_per_second: float | None
    total_tokens_per_second: float | None
    bound: str | None = None
    last_ttft_seconds: float | None = None


@dataclass(frozen=True)
class Estimate:
    """Predicted memory and speed of a setup, with the basis and a band (factors on the figures: low, high).

    `basis` is that of the memory; `basis_note` says why it is no better one.
    """

    memory: Memory
    speed: Speed
    basis: str
    memory_band: tuple[float, float] | None
    speed_band: tuple[float, float] | None
    basis_note: str | None = None
    speed_basis: str | None = None
    """What the speed rests on, in a few words; None where none is predicted."""

    def to_json(self) -> dict[str, Any]:
        return {
            "memory": asdict(self.memory),
            "speed": asdict(self.speed),
            "basis": self.basis,
            "basis_note": self.basis_note,
            "speed_basis": self.speed_basis,
            "band": {
                "memory": list(self.memory_band) if self.memory_band else None,
                "speed": list(self.speed_band) if self.speed_band else None,
            },
        }


@dataclass(frozen=True)
class Effect:
    """One step's predicted share: a factor on the speed that the goal asks for, a change of total memory."""

    speed: float | None
    memory_bytes: int | None
    quality: str | None


@dataclass(frozen=True)
class Step:
    """A rule that fired and is part of the plan. `because` and `rank` are for reading; `change` is what counts."""

    rule: str
    rung: str
    summary: str
    change: dict[str, Value]
    effect: Effect
    evidence: str
    because: tuple[dict[str, Any], ...]
    fallbacks: tuple[dict[str, Value], ...]
    rank: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ModelReference:
    """Where the model is: a Hub id, a local folder, a config.json, or a shipped shape.

    `random_weights` is true where only a configuration is at hand, so that weights can only be random.
    """

    kind: str
    name: str
    revision: str | None
    random_weights: bool


@dataclass(frozen=True)
class Note:
    """Advice that sets no knob: what was found, and what to type. Nothing of it is ever carried out."""

    rule: str
    rung: str
    summary: str
    advice: tuple[str, ...]
    because: tuple[dict[str, Any], ...]
    evidence: str
    urgent: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


MODEL_KINDS = ("hub", "folder", "config", "shape")


@dataclass(frozen=True)
class Plan:
    """Everything that a diagnosis found and advises. `to_json` is the plan file."""

    model: ModelReference
    model_facts: Facts
    workload: Workload
    machine: Facts
    baseline: Setup
    baseline_sources: dict[str, str]
    baseline_estimate: Estimate
    setup: Setup
    estimate: Estimate
    steps: tuple[Step, ...]
    notes: tuple[Note, ...]
    decisions: tuple[dict[str, Any], ...]
    questions: tuple[dict[str, Any], ...]
    limits: dict[str, Any]
    passed_over: tuple[dict[str, str], ...]
    training_loop: str | None = None
    """What a training loop of the user's script is made with, where it has no Trainer; only for the screen."""

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "model": {**asdict(self.model), "facts": to_json(self.model_facts)},
            "workload": self.workload.to_json(),
            "machine": to_json(self.machine),
            "baseline": {
                "setup": self.baseline.to_json(),
                "sources": self.baseline_sources,
                "estimate": self.baseline_estimate.to_json(),
            },
            "plan": {"setup": self.setup.to_json(), "estimate": self.estimate.to_json()},
            "steps": [step.to_json() for step in self.steps],
            "notes": [note.to_json() for note in self.notes],
            "decisions": list(self.decisions),
            "passed_over": list(self.passed_over),
            "questions": list(self.questions),
            "limits": self.limits,
        }
