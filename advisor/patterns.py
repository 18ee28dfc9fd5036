"""Patterns that are compiled when they are first used.

A program that reads texts knows hundreds of patterns, and one text needs few of them. Compiling all at the start would
take longer than the reading.
"""

import re
from typing import Any, cast


def when_used(written: str, flags: int = 0) -> re.Pattern[str]:
    """The pattern, not compiled yet."""
    return cast("re.Pattern[str]", _Later(written, flags))


class _Later:
    """Stands for a pattern. What is asked of it once (`search`, `match` ...) is its own from then on, so that later
    calls cost what they cost on the pattern itself."""

    def __init__(self, written: str, flags: int) -> None:
        self._written = written
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(self._written, self._flags), name)
        setattr(self, name, found)
        return found
