"""What several commands do with their common options."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor import kept
from advisor.errors import MachineError, Mistake, RequestError
from advisor.facts import Fact, Facts, Known, Unknown, Value, from_json, read_machine, to_json

# `explain` answers while a person looks on: what it does not need is imported where it is used.
if TYPE_CHECKING:
    from advisor.rule import Rule


def rules(options: argparse.Namespace) -> "tuple[Rule, ...]":
    """The shipped rules and those of each --rules folder."""
    from advisor import rulebook

    return rulebook.load(rulebook.shipped(), *(Path(folder) for folder in options.rules or ()))


def recorded_machine(options: argparse.Namespace) -> Facts | None:
    """The machine of --machine, or None where it is to be probed."""
    if not options.machine:
        return None
    from advisor import rulebook

    return read_machine(Path(options.machine), rulebook.full_vocabulary())


def target_python(options: argparse.Namespace) -> str:
    """The interpreter whose environment runs the model.

    Raises:
        RequestError: --python names no program. Without this, a slip of the pen would read as an empty environment.
    """
    import shutil

    from advisor import child

    if options.python and shutil.which(options.python) is None:
        inside = Path(options.python) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        hint = f"name its interpreter, {inside}" if inside.exists() else "name the interpreter, like env/bin/python"
        raise RequestError(Mistake("--python", f"{options.python} is no program that can be run", hint))
    return child.target_python(options.python)


def remember_machine(facts: Facts) -> None:
    """Keep what was probed, for commands that must answer at once."""
    kept.write("machine", "last", {"declared": _declared(), "facts": to_json(facts)})


def last_machine() -> Facts | None:
    """This machine as it was last probed; None where it never was, or the record is of another version."""
    record = kept.read("machine", "last")
    if record is None:
        return None
    declared = _declared()
    if declared and record.get("declared") == declared:
        return _restored(record.get("facts"))
    from advisor import rulebook

    try:
        facts = from_json(record.get("facts"), rulebook.full_vocabulary(), "last probe")
    except MachineError:
        return None
    remember_machine(facts)
    return facts


def _declared() -> list[Any]:
    """The state of the code that declares facts: what it wrote itself need not be checked against it."""
    package = Path(__file__).parents[1]
    names = ("facts.py", "vocabulary.py", "setup.py", "workload.py", "code_facts.py")
    return kept.state(package / name for name in names)


def _restored(data: object) -> Facts | None:
    """Facts from what this version wrote itself: only the form is looked at. None where it is another one."""
    facts: dict[str, Fact] = {}
    for name, entry in data.items() if isinstance(data, dict) else ():
        match entry:
            case {"value": bool() | int() | float() | str() | list() as value, "source": str(source)}:
                facts[name] = Known(tuple(value) if isinstance(value, list) else value, source)
            case {"unknown": str(reason)}:
                facts[name] = Unknown(reason)
            case _:
                return None
    return Facts(facts) if isinstance(data, dict) else None


def stated_knobs(options: argparse.Namespace) -> dict[str, Value]:
    """The knobs of all --set options.

    Raises:
        RequestError: each one that is no KNOB=VALUE, or that gives a knob a second value.
    """
    from advisor.setup import read_assignment

    mistakes: list[Mistake] = []
    told: dict[str, Value] = {}
    for text in options.set or ():
        found = read_assignment(text, "--set", mistakes)
        if found is None:
            continue
        name, value = found
        if told.setdefault(name, value) != value:
            mistakes.append(Mistake("--set", f"{name} is given twice, with two values", "leave one out"))
    if mistakes:
        raise RequestError(*mistakes)
    return told


def may_ask(options: argparse.Namespace) -> bool:
    """Whether a person sits at the terminal and wants to be asked."""
    return not options.no_input and not options.json and sys.stdin.isatty() and sys.stderr.isatty()


def print_json(data: Mapping[str, Any] | Sequence[Any], compact: bool = False) -> None:
    """One JSON value to stdout, and nothing else."""
    print(json.dumps(data, indent=None if compact else 2, ensure_ascii=True))
