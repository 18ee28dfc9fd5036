"""Files that are written whole or not at all."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write to a temporary file beside `path`, then put it in its place: a reader never sees half of it.

    Raises:
        OSError: the place cannot be written to; nothing is left behind.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def why_unwritable(path: Path) -> str | None:
    """Why `write_whole` would fail here as things are now, or None. Nothing is left behind."""
    trial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        trial.touch()
        trial.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return "is a folder" if path.is_dir() else None
