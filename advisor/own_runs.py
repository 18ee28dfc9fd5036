"""The user's own runs: a plain file in the user's data folder, one JSON object a line, which may be deleted any time.

`apply` adds a line for each setup that it measured undisturbed; `probe` reads what they teach about this machine. A
line holds the date, the machine as a hash of hardware and versions, the model's type and size, the sizes of the
workload, the knobs that speed depends on, and predicted and measured figures: no name and no path.
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs

from advisor.facts import Fact, Facts, Known
from advisor.files import write_whole
from advisor.learnt import COUNT, FACT, FIGURES, LARGEST, Ratios, summarized

MOST_LINES, LARGEST_BYTES = 2000, 5_000_000
NEWEST = 200
"""Runs of one machine that count: what was measured long ago says less."""


def place() -> Path:
    """The file."""
    return Path(platformdirs.user_data_dir("perf-advisor", appauthor=False)) / "own-runs.jsonl"


def note(
    machine: str, kind: str, about: Mapping[str, Any], predicted: Mapping[str, Any], measured: Mapping[str, Any]
) -> None:
    """Add a run. A data folder that cannot be written to is no reason to fail."""
    line = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine,
        "kind": kind,
        **about,
        "predicted": {name: predicted.get(name) for name in FIGURES},
        "measured": {name: measured.get(name) for name in FIGURES},
    }
    target = place()
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, "\n".join([*_lines()[-MOST_LINES + 1 :], json.dumps(line)]) + "\n")


def facts(machine: str) -> Facts:
    """What the runs on this machine teach, as facts of it; none where there are no runs."""
    runs = [run for line in _lines() if (run := _run(line, machine)) is not None][-NEWEST:]
    if not runs:
        return Facts()
    found: dict[str, Fact] = {
        FACT: Known(tuple(one.text() for one in summarized(runs)), "own runs of apply"),
        COUNT: Known(len(runs), "own runs of apply"),
    }
    return Facts(found)


def _run(line: str, machine: str) -> Ratios | None:
    """The ratios of one line; None where it is of another machine or not as `note` writes it."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match found:
        case {"machine": str(name), "kind": str(kind), "predicted": dict(predicted), "measured": dict(measured)}:
            ratios = dict(_ratios(predicted, measured))
            plain = kind.count("/") == 3 and not any(character.isspace() for character in kind) and len(kind) < 100
            return Ratios(kind, ratios) if name == machine and plain and ratios else None
    return None


def _ratios(predicted: Mapping[str, Any], measured: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name in FIGURES:
        told, real = predicted.get(name), measured.get(name)
        if not all(isinstance(one, int | float) and math.isfinite(one) and 0 < one < 1e12 for one in (told, real)):
            continue
        ratio = float(real) / float(told)  # type: ignore[arg-type]
        if 1 / LARGEST < ratio < LARGEST:
            yield name, ratio


def _lines() -> list[str]:
    target = place()
    try:
        if target.stat().st_size > LARGEST_BYTES:
            return []
        return [line for line in target.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return []
