"""What is known of a program's end beyond what it printed: the signal, the kernel's counters, its peak of memory."""

import signal
from dataclasses import dataclass

from advisor.amounts import size
from advisor.passing import Ended
from advisor.probe.kills import Killed

WANTED = frozenset(
    found
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGALRM")
    if (found := getattr(signal, name, None)) is not None
)
"""Signals by which people and other programs end a program on purpose."""
WORTH_TELLING_BYTES = 2**28
"""A peak below a quarter GiB explains no shortage, and the count begins with what this program itself holds."""
BARRIER = "-" * 40
"""Ends the stretch that tells where something failed: the options of the command are in force, but its name, like
`train.py`, must not pass for a call on the stack."""
SIGKILL = getattr(signal, "SIGKILL", 9)
EXPLAINED = "read from this process"
"""Ends the explanation of a program that explains itself (`advisor.install`)."""
SHELL_SIGNALS = 128
"""A shell adds this to the number of the signal that ended its command."""


@dataclass(frozen=True)
class Ending:
    """How a program ended. `text` is what it printed, with a line for a signal that it could not tell of itself;
    `remarks` are sentences about the end; `wanted` where somebody ended it on purpose, `explained` where the program
    has explained it already."""

    failed: bool
    wanted: bool
    explained: bool
    text: str
    remarks: tuple[str, ...]


def ending(command: str, ended: Ended, killed: Killed) -> Ending:
    """The end of `command`, as it was typed: what stands there is in force."""
    number = ended.signal or _signal_of(ended.code)
    remarks: list[str] = []
    lines = [f"$ {command}", BARRIER, ended.said]
    if number == SIGKILL:
        remarks.append(_of_kill(killed))
    elif killed.by_kernel:
        remarks.append(f"While it ran, {_by_kernel(killed)}")
    if number is not None and not (number == SIGKILL and killed.by_kernel is False):
        lines.append(f"the program is killed by signal: {signal.strsignal(number)}")
    if ended.peak_bytes is not None and ended.peak_bytes >= WORTH_TELLING_BYTES:
        remarks.append(f"Its largest process held {size(ended.peak_bytes)} of host memory at its peak.")
    if ended.address_limit_bytes is not None:
        remarks.append(f"It was allowed {size(ended.address_limit_bytes)} of addresses (ulimit -v).")
    return Ending(ended.code != 0, number in WANTED, EXPLAINED in ended.said, "\n".join(lines), tuple(remarks))


def _signal_of(code: int) -> int | None:
    """The signal that a shell's exit code tells of, or None."""
    number = code - SHELL_SIGNALS
    return number if number > 0 and number in signal.valid_signals() else None


def _of_kill(killed: Killed) -> str:
    match killed.by_kernel:
        case True:
            return f"It was killed: {_by_kernel(killed)}"
        case False:
            return (
                "It was killed (SIGKILL) by somebody else: the kernel counts no process that it ended for lack of "
                "memory meanwhile. Schedulers and container managers do that when a limit of theirs is passed."
            )
        case _:
            return "It was killed (SIGKILL); whether by the kernel for lack of memory cannot be read here."


def _by_kernel(killed: Killed) -> str:
    whose = "this control group" if killed.group else "this machine"
    limit = f", whose limit is {size(killed.limit_bytes)}" if killed.group and killed.limit_bytes else ""
    times = killed.group or killed.machine or 0
    processes = "a process" if times == 1 else f"{times} processes"
    return f"the kernel's out-of-memory killer ended {processes} of {whose}{limit}."
