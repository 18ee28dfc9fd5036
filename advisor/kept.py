"""What was found out once and is kept between runs: one JSON file for each question, named by the question's hash.

The folder is the user's cache folder. A file that is damaged or cannot be read counts as absent, and a folder that
cannot be written to costs time, never an answer.
"""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import platformdirs

from advisor.files import write_whole

LARGEST_BYTES = 50_000_000


def question(*parts: Any) -> str:
    """The name under which an answer is kept: a hash of everything that the answer depends on."""
    import hashlib  # loads OpenSSL: not for what is looked up by its name

    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()[:40]


def state(paths: Iterable[Path]) -> list[Any]:
    """The state of files: name, size and time of change of each; what is missing is left out. As JSON gives it back."""
    found: list[Any] = []
    for path in paths:
        with contextlib.suppress(OSError):
            seen = path.stat()
            found.append([str(path), seen.st_size, seen.st_mtime_ns])
    return found


def read(kind: str, name: str) -> dict[str, Any] | None:
    """The kept answer, or None."""
    path = _path(kind, name)
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write(kind: str, name: str, answer: dict[str, Any]) -> None:
    """Keep `answer`, replacing the file whole, so that a reader never sees half of it."""
    path = _path(kind, name)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(answer))


def _path(kind: str, name: str) -> Path:
    return Path(platformdirs.user_cache_dir("perf-advisor")) / f"{kind}-{name}.json"
