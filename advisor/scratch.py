"""A temporary folder for one child's files. It goes when we end; what a kill leaves lying goes at the next start.

Who still lives is told by a lock and not by a number: the kernel lets go of the lock when its process ends, and no
other process of any container or machine that shares the folder can be taken for it.
"""

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: nothing is swept there
    fcntl = None  # type: ignore[assignment]

PREFIX = "perf-advisor-"
ALIVE = ".alive"
_OURS = re.compile(re.escape(PREFIX) + r"\d+-\w+")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone afterwards, whatever becomes of it meanwhile.

    Raises:
        OSError: there is no place for temporary files, or it is full.
    """
    sweep(tempfile.gettempdir())
    made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    lock = None
    try:
        lock = _locked(made)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked(made: Path) -> int | None:
    """Mark the folder as in use. The mark appears under its name only once it is locked, so no sweep comes between."""
    if fcntl is None:
        return None
    unmarked = made / f"{ALIVE}.new"
    lock = os.open(unmarked, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    # A file system without locks: the folder is then never swept, for its mark is missing.
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unmarked.rename(made / ALIVE)
    return lock


@cache
def sweep(place: str) -> None:
    """Remove our folders in `place` whose processes have ended; once in a process is enough."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for found in Path(place).iterdir():
            if _OURS.fullmatch(found.name):
                _remove_if_left(found)


def _remove_if_left(found: Path) -> None:
    """Remove a folder of this user's if nobody holds its lock. A link, and what has no mark, is left alone."""
    with contextlib.suppress(OSError):
        about = found.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
            return
        lock = os.open(found / ALIVE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(found, ignore_errors=True)
        finally:
            os.close(lock)
