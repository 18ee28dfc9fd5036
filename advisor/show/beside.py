"""What stands beside the steps of a plan on the screen: notes, and rules that matter here although they are no step."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from advisor.plan import Note, Plan
from advisor.rule import show

MOST_NOTES = 4
"""Notes that are written out; a screen that says everything says nothing. The others are named."""
NO_LONGER = "no longer holds with the steps taken"


def notes(plan: Plan, details: bool) -> Iterator[RenderableType]:
    """Advice that sets no knob, urgent first."""
    if not plan.notes:
        return
    written = len(plan.notes) if details else max(MOST_NOTES, sum(note.urgent for note in plan.notes))
    yield Text("Beside the steps:")
    for note in plan.notes[:written]:
        yield Padding(_note(note), (0, 0, 0, 2))
    if rest := plan.notes[written:]:
        names = ", ".join(note.rule for note in rest)
        yield Padding(Text(f"also: {names}   (perf-advisor rule ID, or --details)", style="dim"), (0, 0, 0, 2))
    yield ""


def _note(note: Note) -> Group:
    lines: list[RenderableType] = [Text.assemble((note.rule, "bold red" if note.urgent else "bold"))]
    lines.append(Padding(Text(f"Found: {note.summary}"), (0, 0, 0, 2)))
    lines += [Padding(Text(line, style="green"), (0, 0, 0, 4)) for line in note.advice]
    return Group(*lines)


def others(plan: Plan, details: bool) -> Iterator[RenderableType]:
    """Rules that were blocked, undecided or passed over, each with what settled it."""
    rows = [*_blocked(plan), *_undecided(plan), *_passed_over(plan), *(_silent(plan) if details else ())]
    for title, reason in rows:
        yield Text(title, style="dim")
        yield Padding(Text(reason, style="dim"), (0, 0, 0, 3))
    if rows:
        yield ""


def _blocked(plan: Plan) -> Iterator[tuple[str, str]]:
    for decision in _of(plan, "blocked"):
        yield f"blocked: {decision['rule']}", f"needs {_settled(decision)}"


def _undecided(plan: Plan) -> Iterator[tuple[str, str]]:
    """Rules that wait for the same facts stand together."""
    waiting: dict[str, list[str]] = {}
    for decision in _of(plan, "undecided"):
        missing = dict.fromkeys(_fact(reason) for reason in decision["because"])
        waiting.setdefault(", ".join(missing), []).append(str(decision["rule"]))
    for missing_facts, rules in waiting.items():
        yield f"undecided: {', '.join(rules)}", f"unknown: {missing_facts}"


def _passed_over(plan: Plan) -> Iterator[tuple[str, str]]:
    """Rules whose situation the steps have ended need no reason of their own."""
    ended = [entry["rule"] for entry in plan.passed_over if entry["reason"].startswith(NO_LONGER)]
    for entry in plan.passed_over:
        if entry["rule"] not in ended:
            yield f"passed over: {entry['rule']}", entry["reason"]
    if ended:
        yield f"settled by the steps: {', '.join(ended)}", NO_LONGER


def _silent(plan: Plan) -> Iterator[tuple[str, str]]:
    for decision in _of(plan, "silent"):
        yield f"silent: {decision['rule']}", f"not here: {_settled(decision)}"


def _of(plan: Plan, verdict: str) -> Iterator[Mapping[str, Any]]:
    return (decision for decision in plan.decisions if decision["verdict"] == verdict)


def _fact(reason: Mapping[str, Any]) -> str:
    """What has to be known, with why it is not."""
    words = str(reason["clause"]).split()
    name = words[1] if words[0] == "not" else words[0]
    return f"{name} ({str(reason['source']).removeprefix('unknown: ')})"


def _settled(decision: Mapping[str, Any]) -> str:
    parts = []
    for reason in decision["because"]:
        value = reason.get("value")
        found = "unknown" if value is None else ", ".join(value) if isinstance(value, list) else show(value)
        parts.append(f"{reason['clause']}, found {found}")
    return "; ".join(parts)
