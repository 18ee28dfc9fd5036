"""The user's own script: its text is parsed, never run, and gives facts `code.*`, stated knobs and workload fields."""

from dataclasses import dataclass
from pathlib import Path

from advisor import code_facts
from advisor.facts import Fact, Facts, Unknown, Value
from advisor.reading_code import knobs
from advisor.reading_code.findings import Reading, compiling, flags
from advisor.reading_code.habits import habits
from advisor.reading_code.loading import loading
from advisor.reading_code.names import names
from advisor.reading_code.source import Source, read


@dataclass(frozen=True)
class Code:
    """What a script says: facts, and with their places the knobs and the fields of the workload that it states."""

    facts: Facts
    knobs: dict[str, tuple[Value, str]]
    workload: dict[str, tuple[Value, str]]


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
    return Code(Facts(found), knobs.stated(reading), knobs.workload(reading))


def none_given() -> Code:
    """Every fact unknown, nothing stated."""
    return Code(
        Facts({declaration.name: Unknown(code_facts.NOT_GIVEN) for declaration in code_facts.DECLARATIONS}), {}, {}
    )
