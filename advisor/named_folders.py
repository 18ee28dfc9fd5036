"""Local folders that this user named in a diagnosis, so that a plan may be applied without naming them again.

A plan file travels: someone may edit the place of the model in it. `apply` therefore follows a path only if it lies
below the plan's own folder, if the user names it again, or if it stands in this list, which only `diagnose` writes.
The list is a plain text file in the user's data folder, one path a line, and may be deleted at any time.
"""

from pathlib import Path

import platformdirs

from advisor.files import write_whole

MOST = 500


def _list() -> Path:
    return Path(platformdirs.user_data_dir("perf-advisor", appauthor=False)) / "named-folders.txt"


def remember(path: Path) -> None:
    """Note that the user named `path`. A data folder that cannot be written to is no reason to fail."""
    place = str(path.resolve())
    known = [line for line in _lines() if line != place][-MOST:]
    target = _list()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, "\n".join([*known, place]) + "\n")
    except OSError:
        return


def settled(name: str) -> str:
    """A model's name as a plan keeps it: that of a folder becomes its whole path, which the user has now named."""
    place = Path(name)
    if not place.is_dir():
        return name
    remember(place)
    return str(place.resolve())


def was_named(path: Path) -> bool:
    """Whether the user named `path` in a diagnosis on this machine."""
    return str(path.resolve()) in _lines()


def _lines() -> list[str]:
    try:
        return _list().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
