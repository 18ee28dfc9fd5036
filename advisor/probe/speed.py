"""The constants of the speed formula, measured once in the target interpreter and kept until something changes."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor import child, kept
from advisor.errors import MachineError
from advisor.facts import Fact, Facts, Known, Unknown, Vocabulary, fact_to_json, from_json
from advisor.vocabulary import BY_SIZE, CALIBRATION

PROGRAM = Path(__file__).with_name("inside_speed.py")
LIMIT_SECONDS = 40.0
"""Nine to eleven seconds were seen on two cores, three of them imports and three of them measuring; a busy or slow
machine takes several times as long."""
DISTURBED_SECONDS = 600.0
"""How long constants are kept that were measured beside other programs."""
BUSY_SHARE = 0.1
QUIET_SECONDS, PATIENCE_SECONDS = 0.25, 4.0
KIND = "speed"
VERSION = 7
"""Of the way of measuring; kept constants of another are not used."""
DEPENDS_ON = (
    *("torch.version", "torch.build", "torch.threads", "transformers.version", "python.version"),
    *("host.cpu", "host.cores_usable", "gpu.name", "gpu.driver", "gpu.mig", "gpu.memory_clock_mhz"),
)
"""Facts whose change makes kept constants worthless."""
QUIET_ENVIRONMENT = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
TYPES = ("float32", "bfloat16", "float16")


class Clock:
    """How busy other programs keep the cores; Linux only.

    `read` gives the first line of /proc/stat: ticks of all cores by what they did.
    """

    def __init__(self, read: Callable[[], str | None] | None = None, cores: int | None = None) -> None:
        self._read = read or _first_line
        self._cores = cores or os.cpu_count() or 1
        self._started = self._now()

    def _now(self) -> tuple[float, float] | None:
        """Seconds of all cores so far, and those neither idle nor ours; our children count once they ended."""
        line = self._read()
        if line is None:
            return None
        ticks = [int(word) for word in line.split()[1:9]]
        busy = (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_SECOND
        return sum(ticks) / TICKS_PER_SECOND, busy - sum(os.times()[:4])

    def busy(self, threads: int) -> float | None:
        """Share of `threads` cores that others took since the start, 0 to 1; None where it cannot be told.

        Work of others counts only as far as the remaining cores do not suffice for it.
        """
        now = self._now()
        if now is None or self._started is None or now[0] <= self._started[0]:
            return None
        others = (now[1] - self._started[1]) / (now[0] - self._started[0]) * self._cores
        return min(1.0, max(0.0, others - self._cores + threads) / threads)


TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def _first_line() -> str | None:
    try:
        return Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    except OSError:
        return None


def constants(python: str, machine: Facts, heard: Callable[[str], None] = lambda _: None) -> Facts:
    """Facts `speed.*` of the device that torch uses first: kept ones, or measured now in a few seconds."""
    if machine.value("torch.installed") is False or machine.value("transformers.installed") is False:
        return _unknown("torch or transformers is not installed")
    name = machine_key(machine)
    found = _kept(name)
    if found is not None:
        return found
    heard("Measuring what this machine can do (once) ...")
    measured = _measured(python, machine)
    if measured.complete:
        until = time.time() + DISTURBED_SECONDS if measured.busy > BUSY_SHARE else None
        facts = {fact: fact_to_json(measured.facts.get(fact)) for fact in measured.facts}
        kept.write(KIND, name, {"facts": facts, "until": until})
    return measured.facts


def machine_key(machine: Facts) -> str:
    """The machine as far as constants depend on it: hardware, driver and versions, as a hash that tells neither."""
    return kept.question(VERSION, [fact_to_json(machine.get(fact)) for fact in DEPENDS_ON])


def _kept(name: str) -> Facts | None:
    """The kept constants; None where there are none, they are too old, or the file does not read like them."""
    match kept.read(KIND, name):
        case {"facts": facts, "until": None}:
            pass
        case {"facts": facts, "until": float(until)} if time.time() < until < time.time() + DISTURBED_SECONDS:
            pass
        case _:
            return None
    try:
        found = from_json(facts, Vocabulary(CALIBRATION), "kept constants")
    except MachineError:
        return None
    return found if found.text("speed.device") is not None else None


@dataclass(frozen=True)
class Measured:
    """Constants, the share of the cores that others took meanwhile, and whether nothing failed."""

    facts: Facts
    busy: float
    complete: bool


def _measured(python: str, machine: Facts) -> Measured:
    """The constants; measured twice when other programs disturb the first time."""
    clock = Clock()
    outcome = _asked(python, machine, disturbed=False)
    busy = _busy(clock, outcome)
    if busy > BUSY_SHARE:
        _wait_for_quiet()
        clock = Clock()
        outcome = _asked(python, machine, disturbed=True)
        busy = _busy(clock, outcome)
    match outcome:
        case child.Died(reason):
            return Measured(_unknown(reason), busy, complete=False)
        case child.Answered(answer):
            return Measured(read(answer, busy), busy, complete=not answer["missing"])


def _asked(python: str, machine: Facts, disturbed: bool) -> child.Outcome:
    request = {"cores": machine.count("host.cores_usable"), "disturbed": disturbed}
    # Threads that wait actively for each other come to a standstill when one of them has lost its core.
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"} if disturbed else {}
    return child.run(python, PROGRAM, request, LIMIT_SECONDS, {**QUIET_ENVIRONMENT, **waiting})


def _busy(clock: Clock, outcome: child.Outcome) -> float:
    """Share of the needed cores that others took; an accelerator needs one core, to launch."""
    match outcome:
        case child.Answered({"device": "cpu", "threads": int(threads)}):
            return clock.busy(threads) or 0.0
        case child.Answered():
            return clock.busy(1) or 0.0
        case child.Died():
            return clock.busy(os.cpu_count() or 1) or 0.0


def _wait_for_quiet() -> None:
    """Wait until other programs leave the cores alone, but not for long."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        clock = Clock()
        time.sleep(QUIET_SECONDS)
        if (clock.busy(os.cpu_count() or 1) or 0.0) < BUSY_SHARE:
            return


def read(answer: dict[str, Any], busy: float) -> Facts:
    """The child's answer as facts; what it could not measure is unknown with its reason."""
    source = f"measured on {answer['device']}"
    if busy > BUSY_SHARE:
        source += f" while other programs took {busy:.0%} of the cores: not reliable"
    facts: dict[str, Fact] = dict(_absent(answer["missing"], answer["device"]))
    for name, value in answer["values"].items():
        facts[f"speed.{name}"] = Known(value, source)
    facts["speed.device"] = Known(answer["device"], "torch")
    facts["speed.threads"] = Known(answer["threads"], "torch")
    return Facts(facts)


def _absent(missing: dict[str, str], device: str) -> Iterator[tuple[str, Fact]]:
    """Every constant that is measured on this device as unknown, with the reason that was noted for its part."""
    for declaration in CALIBRATION:
        if device != "cpu" and declaration.name in BY_SIZE:
            continue
        part = next((kind for kind in TYPES if kind in declaration.name), "host")
        yield declaration.name, Unknown(missing.get(part) or missing.get("host") or "not measured")


def _unknown(reason: str) -> Facts:
    return Facts({declaration.name: Unknown(reason) for declaration in CALIBRATION})
