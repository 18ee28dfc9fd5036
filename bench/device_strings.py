"""Which card a name stands for, and how fast its memory is: `python bench/device_strings.py [RESULT.json]`.

device_strings.csv holds names as nvidia-smi, torch, rocm-smi and Apple's tools print them, each with its memory as
programs see it (GiB), the maker's figures of the memory (bus in bits, half the data rate in MHz as NVML gives it,
bandwidth in 1e9 bytes a second; empty where the maker gives none or the name tells no single figure), and the row of
the device catalog that is right: a name from advisor/estimate/devices.csv, or `unknown` where no row may be taken.

Three questions are asked of each: the row; the bandwidth by name alone; the bandwidth with NVML's bus width and clock.
An answer is right, wrong, or unknown. Wrong must be 0; `unknown` is right where the table asks for it.
"""

import csv
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor import applying
from advisor.estimate import devices
from advisor.facts import Fact, Facts, Known, Unknown

TABLE = Path(__file__).with_name("device_strings.csv")
MOST_STRAY = 0.04
"""A bandwidth is right within 4 % of the maker's figure: B200 is given with 7.7 and 8.0 TB/s by NVIDIA itself, and the
clocks of HBM3e are rounded up by 2.5 %."""
ABSENT = "unknown"
QUESTIONS = ("row", "bandwidth_by_name", "bandwidth_by_clock")


@dataclass(frozen=True)
class Line:
    """A device as a program sees it, and what is right to say of it."""

    name: str
    facts: Facts
    bus_and_clock: Facts
    published: float | None
    """Bytes a second; None where nothing may be said."""
    expected: str
    part_of_a_card: bool


def table() -> list[Line]:
    """The table, in its order."""
    with TABLE.open(encoding="utf-8", newline="") as lines:
        return [_line(row) for row in csv.DictReader(lines)]


def _line(row: dict[str, str]) -> Line:
    facts: dict[str, Fact] = {
        "gpu.name": Known(row["name"], row["printed_by"]),
        "gpu.memory_total_bytes": Known(round(float(row["memory_gib"]) * 2**30), row["printed_by"]),
    }
    if row["capability"]:
        facts["gpu.capability"] = Known(float(row["capability"]), row["printed_by"])
    if row["mig"]:
        facts["gpu.mig"] = Known(True, row["printed_by"])
    memory: dict[str, Fact] = {}
    if row["bus_bits"]:
        memory["gpu.bus_width_bits"] = Known(int(row["bus_bits"]), "data sheet")
        memory["gpu.memory_clock_mhz"] = Known(int(row["clock_mhz"]), "data sheet")
    published = float(row["gb_per_second"]) * 1e9 if row["gb_per_second"] else None
    return Line(
        row["name"], Facts(facts), Facts(memory), published, row["expected"], bool(row["bus_bits"]) and not published
    )


def judged(line: Line) -> dict[str, str | None]:
    """`right`, `wrong` or `unknown` for each question; None where the table does not say what is right."""
    by_name = devices.rates(line.facts).get(devices.BANDWIDTH)
    by_clock = devices.rates(line.facts | line.bus_and_clock).get(devices.BANDWIDTH)
    clock = _bandwidth(line, by_clock) if line.bus_and_clock.value("gpu.bus_width_bits") is not None else None
    return {
        "row": _row(line),
        "bandwidth_by_name": _bandwidth(line, by_name),
        "bandwidth_by_clock": clock,
    }


def _row(line: Line) -> str:
    found = devices.identified(line.facts)
    if isinstance(found, Unknown):
        return "right" if line.expected == ABSENT else "unknown"
    if line.expected == ABSENT:
        return "wrong"
    return "right" if found == devices.catalog()[devices.normalized(line.expected)] else "wrong"


def _bandwidth(line: Line, found: Fact) -> str | None:
    if line.part_of_a_card:
        return "right" if isinstance(found, Unknown) else "wrong"
    if line.published is None:
        return None if isinstance(found, Unknown) else "wrong"
    if not (isinstance(found, Known) and isinstance(found.value, float)):
        return "unknown"
    return "right" if abs(found.value / line.published - 1) <= MOST_STRAY else "wrong"


def result() -> dict[str, Any]:
    """What there is to tell: counts for each question, and the names behind what is not right."""
    lines = table()
    answers = [(line, judged(line)) for line in lines]
    counts = {name: Counter(answer[name] for _, answer in answers if answer[name]) for name in QUESTIONS}
    return {
        "strings": len(lines),
        "rightly_without_a_row": sum(line.expected == ABSENT and answer["row"] == "right" for line, answer in answers),
        "most_stray": MOST_STRAY,
        "counts": {
            name: {word: found[word] for word in ("right", "wrong", "unknown")} for name, found in counts.items()
        },
        "wrong": {name: [line.name for line, answer in answers if answer[name] == "wrong"] for name in QUESTIONS},
        "unknown": {name: [line.name for line, answer in answers if answer[name] == "unknown"] for name in QUESTIONS},
    }


def main(arguments: list[str]) -> int:
    """Print the counts and what is wrong; write the result where a file is named. 1 if anything is wrong."""
    found = result()
    print(f"{found['strings']} strings, {found['rightly_without_a_row']} of which must have no row")
    for name in QUESTIONS:
        print(f"  {name:20} " + "   ".join(f"{word} {count}" for word, count in found["counts"][name].items()))
        for wrong in found["wrong"][name]:
            print(f"    wrong: {wrong}")
    if arguments:
        applying.write_export(Path(arguments[0]), json.dumps(found, indent=1) + "\n")
    return 1 if any(found["wrong"].values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
