"""The user's own script: its text is parsed, never run, and gives facts `code.*`, stated knobs and workload fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from advisor import code_facts
from advisor.facts import Fact, Facts, Unknown, Value
from advisor.reading_code import engines, knobs, training
from advisor.reading_code.findings import Reading, compiling, flags
from advisor.reading_code.habits import habits
from advisor.reading_code.loading import loading
from advisor.reading_code.names import names
from advisor.reading_code.source import Source, read

Stated = Mapping[str, tuple[Value, str]]
"""Values by name, each with its place."""
OF_CALLS = ("batching",)
"""Knobs about how prompts are put to generate: they say nothing of training in the same script."""


@dataclass(frozen=True)
class Code:
    """What a script says: facts, and with their places the knobs and the fields of the workload that it states.

    `embedding` holds where it embeds texts, `training` and `training_sizes` where it trains. `other_engine` is what it
    runs beside or instead of transformers, with the place; `seen` is false where it neither loads nor calls a model of
    transformers.
    """

    facts: Facts
    knobs: Stated
    workload: Stated
    embedding: Stated = field(default_factory=dict)
    training: Stated = field(default_factory=dict)
    training_sizes: Stated = field(default_factory=dict)
    other_engine: tuple[str, str] | None = None
    seen: bool = True

    def knobs_for(self, task: str) -> Stated:
        """The knobs that the script states for a task."""
        if task != "train":
            return {**self.knobs, **(self.embedding if task == "encode" else {})}
        return {**{name: pair for name, pair in self.knobs.items() if name not in OF_CALLS}, **self.training}

    def sizes_for(self, task: str) -> Stated:
        """The fields of the workload that the script states for a task."""
        return {**self.workload, **self.training_sizes} if task == "train" else self.workload

    @property
    def trains_at(self) -> str | None:
        """Where the script trains."""
        trains = self.facts.get("code.trains")
        return trains.source if self.facts.is_true("code.trains") and not isinstance(trains, Unknown) else None


def of_file(path: Path) -> Code:
    """What the script at `path` says.

    Raises:
        RequestError: it cannot be read as Python or as a notebook.
    """
    return of_source(read(path))


def of_source(source: Source) -> Code:
    """What a parsed script says."""
    reading = Reading.of(source)
    found: dict[str, Fact] = {}
    for find in (names, flags, compiling, habits, loading):
        found |= find(reading)
    told = training.training(reading)
    found |= training.facts(reading, told.unread)
    runs = engines.runs_transformers(reading, training.trains(reading) is not None)
    other = engines.other_engine(reading)
    return Code(
        Facts(found),
        knobs.stated(reading),
        knobs.workload(reading),
        knobs.embedding(reading),
        knobs.agreed(reading, told.knobs, lambda _, __: True),
        knobs.agreed(reading, told.sizes, knobs.usable_size),
        other,
        runs or (other is None and engines.calls_a_model(reading)),
    )


def none_given() -> Code:
    """Every fact unknown, nothing stated."""
    return Code(
        Facts({declaration.name: Unknown(code_facts.NOT_GIVEN) for declaration in code_facts.DECLARATIONS}), {}, {}
    )
