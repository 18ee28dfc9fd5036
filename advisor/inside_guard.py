"""Stands between perf-advisor and a child: ends the child and all that it started when perf-advisor is gone.

Runs as `python -I -S inside_guard.py PARENT FOLDER PROGRAM ARGUMENT ...` in a session of its own, on POSIX systems.
Standard input is a pipe: a byte asks for the end, and its own end means that perf-advisor ended, of whatever. Then
everything is killed, and FOLDER removed where nobody else does. Otherwise the guard ends as the program did: with its
exit code, or by the same signal.

Uses the standard library alone, and little of it: it is started once for every child.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

PARENT_DEATH_SIGNAL, CHILD_SUBREAPER = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER of linux/prctl.h
LOOK_SECONDS = 2.0
KILLING_SECONDS = 3.0
NOT_STARTED = 127
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def prctl(option: int, value: int) -> None:
    """Ask the Linux kernel for something; other systems do without."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def start(words: list[str]) -> int:
    """Start the program in this process group without standard input; it is killed if the guard is."""
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *ENDING):
            signal.signal(number, signal.SIG_DFL)
        prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if os.getppid() == guard:
            os.execvp(words[0], words)  # noqa: S606
    except OSError as error:
        text = (error.strerror or str(error)).replace('"', "'")
        os.write(1, f'{{"not_started": "{text}"}}\n'.encode())
    os._exit(NOT_STARTED)


def ended(child: int) -> int | None:
    """How the child ended, else None. Whatever else was left to the guard is waited for as well."""
    found = None
    while True:
        try:
            number, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if number == 0:
            return found
        if number == child:
            found = os.waitstatus_to_exitcode(status)


def own_children() -> list[int]:
    """The children of this process, orphans that the kernel left to it included (Linux)."""
    me, found = os.getpid(), []
    for name in os.listdir("/proc"):  # noqa: PTH208  # pathlib would double the time that starting takes
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == me:
                found.append(int(name))
    return found


def kill_all() -> None:
    """Kill children until there are none: those of a killed one become the guard's, sessions of their own or not."""
    deadline = time.monotonic() + KILLING_SECONDS
    while sys.platform == "linux" and time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for child in own_children():
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


ASKED, ALONE = "asked", "alone"


def watch(parent: int, child: int, woken: int) -> int | str:
    """The child's exit code; or, if that comes first, whether the end was asked for or perf-advisor is gone."""
    while True:
        ready = select.select([0, woken], [], [], LOOK_SECONDS)[0]
        if woken in ready and any(number in ENDING for number in os.read(woken, 512)):
            return ASKED
        code = ended(child)
        if code is not None:
            return code
        if 0 in ready:
            return ASKED if os.read(0, 1) else ALONE
        # A process that shares the pipe's other end would keep it open: the parent's number counts as well.
        if os.getppid() != parent:
            return ALONE


def end_as(code: int) -> None:
    """End with this exit code, or by this signal if it is negative."""
    if code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def main(parent: str, folder: str, *words: str) -> None:
    prctl(CHILD_SUBREAPER, 1)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *ENDING):
        signal.signal(number, lambda *_: None)
    how = watch(int(parent), start(list(words)), woken)
    kill_all()
    if isinstance(how, int):
        end_as(how)
    if how == ALONE:
        remove(folder)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
