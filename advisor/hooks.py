"""`advisor.install()`: in this process, an uncaught error is followed by what it means, with the figures of the moment.

Whatever goes wrong in here stays in here: the program's own traceback has been printed, and nothing is added to it.
torch is never imported, and nothing of the program is kept.
"""

import contextlib
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from typing import Any

from advisor import errorbook, live, rulebook
from advisor.commands import options
from advisor.errorbook import ErrorRule
from advisor.explaining import explain
from advisor.facts import Fact, Facts, Known
from advisor.probe import cgroup
from advisor.show import diagnosis as screen
from advisor.show import live as live_screen
from advisor.show import terminal

Hook = Callable[..., Any]
LONGEST_TEXT = 400_000
"""Characters of a traceback that are read: repeated frames can make it endless."""
WHOLE_TEXT = "full_traceback"
"""The fix of rules/errors that asks for the rest of a text."""
RESERVE_BYTES = 32 * 2**20
"""Given up before anything is explained, so that there is room to do so where host memory ran out. Until then it is
asked for but never touched, which takes addresses and no memory."""


@dataclass
class _Installed:
    """What was there before, and what is needed to explain; loaded before anything has failed."""

    rules: Sequence[ErrorRule]
    machine: Facts | None
    excepthook: Hook
    thread_hook: Hook
    shell: Any
    show_traceback: Hook | None
    busy: threading.Lock
    reserve: bytearray | None


_installed: _Installed | None = None
_BOOTSTRAP: Hook = BaseProcess._bootstrap  # type: ignore[attr-defined]
"""What a child of multiprocessing runs in."""


def install() -> None:
    """Explain uncaught errors of this process, its threads, the children that multiprocessing forks and, in a notebook,
    its cells. Once is enough."""
    global _installed
    if _installed is not None:
        return
    shell = _shell()
    _installed = _Installed(
        rules=errorbook.load(rulebook.shipped() / "errors"),
        machine=options.last_machine(),
        excepthook=sys.excepthook,
        thread_hook=threading.excepthook,
        shell=shell,
        show_traceback=shell.showtraceback if shell is not None else None,
        busy=threading.Lock(),
        reserve=bytearray(RESERVE_BYTES),
    )
    BaseProcess._bootstrap = _in_child  # type: ignore[attr-defined]
    sys.excepthook, threading.excepthook = _on_error, _on_thread_error
    if shell is not None:
        shell.showtraceback = _on_cell_error


def uninstall() -> None:
    """As it was before `install()`. A hook that somebody set since then is left alone."""
    global _installed
    before, _installed = _installed, None
    if before is None:
        return
    if sys.excepthook is _on_error:
        sys.excepthook = before.excepthook
    if BaseProcess._bootstrap is _in_child:  # type: ignore[attr-defined]
        BaseProcess._bootstrap = _BOOTSTRAP  # type: ignore[attr-defined]
    if threading.excepthook is _on_thread_error:
        threading.excepthook = before.thread_hook
    if before.shell is not None and vars(before.shell).get("showtraceback") is _on_cell_error:
        del before.shell.showtraceback
    _left.append((before.excepthook, before.thread_hook))


_left: list[tuple[Hook, Hook]] = []
"""Whom our hooks call once they are uninstalled but somebody else's hook still calls them."""


def _shell() -> Any:
    """The notebook or IPython prompt that this runs in, or None."""
    ipython = sys.modules.get("IPython")
    with contextlib.suppress(Exception):
        return ipython.get_ipython() if ipython else None
    return None


def _on_error(kind: Any, error: Any, trace: Any) -> None:
    before = _installed.excepthook if _installed else _left[-1][0] if _left else sys.__excepthook__
    before(kind, error, trace)
    _explain(error)


def _on_thread_error(found: Any) -> None:
    before = _installed.thread_hook if _installed else _left[-1][1] if _left else threading.__excepthook__
    before(found)
    _explain(found.exc_value)


def _in_child(process: Any, *arguments: Any, **named: Any) -> Any:
    """A forked child of multiprocessing prints its error itself and asks no hook. Its `run` is watched, in the child
    alone."""
    current = _installed
    if current is None:
        return _BOOTSTRAP(process, *arguments, **named)
    run, failed = process.run, []

    def watched() -> Any:
        try:
            return run()
        except Exception as error:
            failed.append(error)
            raise

    process.run = watched
    code = _BOOTSTRAP(process, *arguments, **named)
    for error in failed:
        # Another thread may have held it at the fork, and nobody is left to give it back.
        current.busy = threading.Lock()
        _explain(error)
    return code


def _on_cell_error(*arguments: Any, **named: Any) -> Any:
    current = _installed
    if current is None or current.show_traceback is None:
        return None
    error = _of_cell(arguments, named)
    try:
        return current.show_traceback(*arguments, **named)
    finally:
        _explain(error)


def _of_cell(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    given = arguments[0] if arguments else named.get("exc_tuple")
    return given[1] if isinstance(given, tuple) and len(given) > 1 else sys.exc_info()[1]


def _explain(error: Any) -> None:
    """Print what an error means. Nothing leaves this function, not even a shortage of memory of our own."""
    current = _installed
    if current is None or not isinstance(error, Exception) or not current.busy.acquire(blocking=False):
        return
    current.reserve = None
    try:
        _print_explanation(error, current)
    except BaseException:  # noqa: S110  # see above; a person who presses Ctrl-C here wants it to end
        pass
    finally:
        with contextlib.suppress(MemoryError):
            current.reserve = bytearray(RESERVE_BYTES)
        current.busy.release()


def _print_explanation(error: Exception, current: _Installed) -> None:
    text = "".join(traceback.format_exception(error))[-LONGEST_TEXT:]
    devices, host = live.devices(), _host()
    diagnosis = explain(text, "this process", (current.machine or Facts()) | _facts(devices, host), current.rules)
    if not diagnosis.recognized:
        return
    # What a paste might lack, an exception at hand does not.
    fixes = tuple(fix for fix in diagnosis.fixes if fix.id != WHOLE_TEXT)
    talk = terminal.talk()
    talk.print()
    talk.print(screen.screen(replace(diagnosis, fixes=fixes, missing=None)))
    if diagnosis.is_memory:
        talk.print()
        known, largest = live.Owners({}, ()), live.Tensors((), {}, {})
        # Each of the two takes memory; what is known without them is shown in any case.
        with contextlib.suppress(Exception):
            known = live.owners(error)
            largest = live.tensors(known.names)
        talk.print(live_screen.screen(devices, host, known.models, largest))


def _host() -> live.HostNow:
    """The host's figures; in a container, what is left of its limit is all that can be had."""
    host, left = live.host(), cgroup.limits().memory_left_bytes
    return host if left is None or host.available is None else replace(host, available=min(left, host.available))


def _facts(devices: tuple[live.DeviceNow, ...], host: live.HostNow) -> Facts:
    """What is free now counts more than what was when the machine was probed."""
    found: dict[str, Fact] = {}
    if host.available is not None:
        found["host.ram_available_bytes"] = Known(host.available, "now")
    if devices and devices[0].free is not None:
        found["gpu.memory_free_bytes"] = Known(devices[0].free, "now")
    return Facts(found)
