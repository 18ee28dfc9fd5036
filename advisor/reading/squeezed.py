"""A text without spaces, quotes and capitals, so that what was wrapped, indented or quoted is still found.

Positions in it lead back to lines.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

WITHIN = 160
"""Most characters (without spaces) that `...` in a phrase may stand for."""

_QUOTES = {ord(mark): None for mark in "`'\"*"}
_TOKENS = {"<n>": r"[\d.,]{1,24}", "<word>": r"[\w.:/\\-]{1,80}"}


def squeeze(text: str) -> str:
    """The text as it is compared: no white space, no quotes, no capitals."""
    return "".join(text.split()).translate(_QUOTES).lower()


@dataclass(frozen=True)
class Phrase:
    """What an error rule looks for: pieces that follow one another within a short distance."""

    pieces: tuple[str | re.Pattern[str], ...]

    def last(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        """Begin and end of the last place in text[start:end] where the phrase stands."""
        first, *rest = self.pieces
        if not rest and isinstance(first, str):
            at = text.rfind(first, start, end)
            return (at, at + len(first)) if at >= 0 else None
        found = None
        for begin, stop in _places(first, text, start, end):
            last = _follow(rest, text, stop, end)
            if last is not None:
                found = begin, last
        return found


@lru_cache(maxsize=4096)
def phrase(written: str) -> Phrase:
    """A phrase as rule files write it: `...` skips a few words, `<n>` is a number, `<word>` a name without spaces.

    Raises:
        ValueError: nothing that could be looked for.
    """
    pieces = [_piece(part) for part in written.split("...")]
    if not all(pieces) or len(squeeze(written)) < 4:
        raise ValueError("a phrase needs at least four letters, and words on both sides of `...`")
    return Phrase(tuple(piece for piece in pieces if piece))


def _piece(part: str) -> str | re.Pattern[str] | None:
    if not any(token in part for token in _TOKENS):
        return squeeze(part) or None
    split = re.split("(<n>|<word>)", part)
    return re.compile("".join(_TOKENS.get(bit) or re.escape(squeeze(bit)) for bit in split))


def _places(piece: str | re.Pattern[str], text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if isinstance(piece, re.Pattern):
        yield from (found.span() for found in piece.finditer(text, start, end))
        return
    at = text.find(piece, start, end)
    while at >= 0:
        yield at, at + len(piece)
        at = text.find(piece, at + len(piece), end)


def _follow(rest: Sequence[str | re.Pattern[str]], text: str, stop: int, end: int) -> int | None:
    """The end of the last piece when each stands within reach of the one before it."""
    for piece in rest:
        reach = min(end, stop + WITHIN)
        following = next(_places(piece, text, stop, reach), None)
        if following is None:
            return None
        stop = following[1]
    return stop


@dataclass(frozen=True)
class Squeezed:
    """The squeezed text of several lines, and where each begins."""

    text: str
    starts: tuple[int, ...]

    @staticmethod
    def of(lines: Sequence[str]) -> "Squeezed":
        parts = [squeeze(line) for line in lines]
        starts = tuple(accumulate((len(part) for part in parts), initial=0))
        return Squeezed("".join(parts), starts)

    def line_at(self, position: int) -> int:
        """The index of the line in which a position lies."""
        return max(0, min(bisect_right(self.starts, position) - 1, len(self.starts) - 2))

    def start(self, line: int) -> int:
        """Where a line begins; the length of the text for lines beyond the last."""
        return self.starts[min(max(line, 0), len(self.starts) - 1)]
