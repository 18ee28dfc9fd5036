"""How long rules take: deciding them, and loading them.

    python bench/rules_speed.py

Copies of the shipped rules stand for a rulebook of 250 to 2,000. Every figure is the best of several runs in one
process; the ratio of a row to the first shows whether the time grows in proportion. Prints JSON.
"""

import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from advisor import baseline, derived, rulebook
from advisor.engine import decide
from advisor.facts import Facts, read_machine
from advisor.probe import model
from advisor.rule import Rule
from advisor.workload import Workload

MACHINES = Path(__file__).parents[1] / "tests" / "machines"
SIZES = (250, 500, 1000, 2000)
RUNS = 15


def facts(machine_name: str, shape: str) -> Facts:
    """What a rule sees in a diagnosis, without the estimate's facts, which are another bench's business."""
    machine = read_machine(MACHINES / f"{machine_name}.json", rulebook.full_vocabulary())
    _, described = model.find(shape, sys.executable, None, False)
    setup, sources = baseline.baseline({}, machine, described)
    device = baseline.device_facts(machine, setup) | derived.of_device(machine, setup)
    return machine | described | Workload().facts() | setup.facts(sources) | device


def copies(rules: tuple[Rule, ...], count: int) -> list[Rule]:
    """`count` rules of different ids."""
    return [replace(rules[i % len(rules)], id=f"{rules[i % len(rules)].id}-{i}") for i in range(count)]


def best_seconds(work: Callable[[], object]) -> float:
    """The shortest of several runs: the one that nobody disturbed."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    shipped = rulebook.load(rulebook.shipped())
    rows: list[dict[str, Any]] = []
    for machine in ("t4", "h100-80gb", "cpu-only"):
        known = facts(machine, "llama-3.1-8b")
        for count in SIZES:
            rules = copies(shipped, count)
            seconds = best_seconds(lambda rules=rules, known=known: decide(rules, known))  # type: ignore[misc]
            rows.append({"machine": machine, "rules": count, "milliseconds": round(1e3 * seconds, 2)})
    loading = {
        "parsed_milliseconds": round(1e3 * best_seconds(lambda: rulebook.load(rulebook.shipped())), 1),
        "rules": len(shipped),
    }
    where = {"python": platform.python_version(), "system": platform.system(), "cores": psutil.cpu_count()}
    print(json.dumps({"machine": where, "decide": rows, "load": loading}, indent=2))


if __name__ == "__main__":
    main()
