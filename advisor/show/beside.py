"""What stands beside the steps of a plan on the screen: notes, and rules that matter here although they are no step."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from advisor.code_facts import NOT_GIVEN
from advisor.facts import NOT_LOOKED_UP
from advisor.plan import Note, Plan
from advisor.rule import show

MOST_NOTES = 4
"""Notes that are written out; a screen that says everything says nothing. The others are named."""
SCRIPT_LINE = re.compile(r"[^/]+\.(py|ipynb( cell \d+)?):\d+")
"""A place in a script, as reading_code writes it."""
SCRIPT_FILE = re.compile(r"[^/]+?\.(py|ipynb)")
NO_LONGER, UNDOES = "no longer holds with the steps taken", "would undo "


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
    for place in script_places(note.because)[:1]:
        # Without the second line the advice would read as a quotation of the script.
        lines += [Padding(Text(line), (0, 0, 0, 2)) for line in (f"In your script: {place}", "To do:")]
    lines += [Padding(Text(line, style="green"), (0, 0, 0, 4)) for line in note.advice]
    return Group(*lines)


def script_places(because: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the user's script that settled a rule, as one text; nothing where no line did."""
    places = [place for reason in because for place in _places(str(reason["clause"]), str(reason["source"]))]
    return [", ".join(dict.fromkeys(places))] if places else []


def _places(clause: str, source: str) -> Iterator[str]:
    """A list of names has a line for each, a knob or a flag of the script has one; all else has none."""
    if clause.startswith("code.names has "):
        name = clause.removeprefix("code.names has ")
        yield from (place.removesuffix(f" {name}") for place in source.split(", ") if place.endswith(f" {name}"))
    elif SCRIPT_LINE.fullmatch(source):
        yield source


def read_in_script(plan: Plan) -> Iterator[RenderableType]:
    """The knobs of the present setup that were read from the user's script, each with its line."""
    read = {name: place for name, place in plan.baseline_sources.items() if SCRIPT_LINE.fullmatch(place)}
    if read:
        file = SCRIPT_FILE.match(next(iter(read.values())))
        name_of_file = file[0] if file else ""
        told = (
            f"{name}={show(getattr(plan.baseline, name))} ({place.removeprefix(name_of_file).lstrip(': ')})"
            for name, place in read.items()
        )
        yield Text(f"Read in {name_of_file}, by line: {', '.join(told)}", style="dim")
        yield ""


def others(plan: Plan, details: bool) -> Iterator[RenderableType]:
    """Rules that were blocked, undecided or passed over, each with what settled it."""
    more = (*_unread(plan), *_silent(plan)) if details else ()
    rows = [*_blocked(plan), *_undecided(plan), *_passed_over(plan), *more]
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
        if _waits_for_script(decision):
            continue
        missing = dict.fromkeys(_fact(reason) for reason in decision["because"])
        waiting.setdefault(", ".join(missing), []).append(str(decision["rule"]))
    for missing_facts, rules in waiting.items():
        yield f"undecided: {', '.join(rules)}", f"unknown: {missing_facts}"


def _waits_for_script(decision: Mapping[str, Any]) -> bool:
    """A rule about a script that nobody named: no news, and shown with the details only."""
    unread = (f"unknown: {NOT_GIVEN}", f"unknown: {NOT_LOOKED_UP.reason}")
    return any(" code." in f" {reason['clause']}" and reason["source"] in unread for reason in decision["because"])


def _unread(plan: Plan) -> Iterator[tuple[str, str]]:
    if rules := [str(decision["rule"]) for decision in _of(plan, "undecided") if _waits_for_script(decision)]:
        yield f"undecided: {', '.join(rules)}", "unknown: what your script does (--code FILE reads it)"


def _passed_over(plan: Plan) -> Iterator[tuple[str, str]]:
    """Rules whose situation the steps have ended need no reason of their own."""
    ended = [entry["rule"] for entry in plan.passed_over if entry["reason"].startswith(NO_LONGER)]
    for entry in plan.passed_over:
        if entry["rule"] not in ended and not entry["reason"].startswith(UNDOES):
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
    return "; ".join(f"{reason['clause']}, {_found(reason)}" for reason in decision["because"])


def _found(reason: Mapping[str, Any]) -> str:
    """What is there instead. Of a list it is enough that the name is not in it."""
    match reason.get("value"):
        case None:
            return "found unknown"
        case list(names):
            return "not in its list" if names else "found none"
        case value:
            return f"found {show(value)}"
