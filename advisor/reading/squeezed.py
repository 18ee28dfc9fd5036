"""A text without spaces, quotes and capitals, so that what was wrapped, indented or quoted is still found.

Positions in it lead back to lines.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

from advisor.patterns import when_used

WITHIN = 160
"""Most characters (without spaces) that `...` in a phrase may stand for."""

LONG = 20_000
"""Letters from which on a text is indexed before it is searched for more than a thousand phrases."""
GRAM = 6
SHORTEST = 4
"""Letters of a phrase; less would stand in many a text by chance."""

_BETWEEN = "\x00"
_TOKEN = when_used("(<n>|<word>)")
_TOKENS = {"<n>": r"[\d.,]{1,24}", "<word>": r"[\w.:/\\-]{1,80}"}


def squeeze(text: str) -> str:
    """The text as it is compared: no white space, no quotes, no capitals."""
    # One by one: a table of letters takes many times as long where a text goes beyond ASCII.
    return "".join(text.split()).replace("`", "").replace("'", "").replace('"', "").replace("*", "").lower()


@dataclass(frozen=True)
class Pattern:
    """A piece with `<n>` or `<word>` in it, and its longest word, without which there is nothing to look for."""

    word: str
    pattern: re.Pattern[str]

    def places(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Begin and end of each place, first to last."""
        if text.rfind(self.word, start, end) >= 0:
            yield from (found.span() for found in self.pattern.finditer(text, start, end))


Piece = str | Pattern


@dataclass(frozen=True)
class Phrase:
    """What an error rule looks for: pieces that follow one another within a short distance. `needed` is the longest
    word of them; where it is missing, and of most phrases it is, there is nothing to look for."""

    pieces: tuple[Piece, ...]
    needed: str

    def last(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        """Begin and end of the last place in text[start:end] where the phrase stands."""
        # Searching backwards is the faster way in long texts: what counts stands near the end, and CPython's forward
        # search prepares itself for each word.
        at = text.rfind(self.needed, start, end)
        if at < 0:
            return None
        first, *rest = self.pieces
        if first == self.needed and not rest:
            return at, at + len(first)
        if not all(text.rfind(_word(piece), start, end) >= 0 for piece in self.pieces):
            return None
        if isinstance(first, str):
            return next(_followed(_backwards(first, text, start, end), rest, text, end), None)
        return max(_followed(first.places(text, start, end), rest, text, end), default=None)


@lru_cache(maxsize=4096)
def phrase(written: str) -> Phrase:
    """A phrase as rule files write it: `...` skips a few words, `<n>` is a number, `<word>` a name without spaces.

    Raises:
        ValueError: nothing that could be looked for.
    """
    if "..." not in written and "<" not in written:
        plain = squeeze(written)
        if len(plain) >= SHORTEST:
            return Phrase((plain,), plain)
    pieces = [_piece(part) for part in written.split("...")]
    if not all(pieces) or len(squeeze(written)) < SHORTEST:
        raise ValueError("a phrase needs at least four letters, and words on both sides of `...`")
    found = tuple(piece for piece in pieces if piece)
    return Phrase(found, max((_word(piece) for piece in found), key=len))


def _piece(part: str) -> Piece | None:
    bits = _TOKEN.split(part) if "<" in part else [part]
    if len(bits) == 1:
        return squeeze(part) or None
    words = [bit if bit in _TOKENS else squeeze(bit) for bit in bits]
    longest = max((word for word in words if word not in _TOKENS), key=len)
    return Pattern(longest, when_used("".join(_TOKENS.get(word) or re.escape(word) for word in words)))


def _word(piece: Piece) -> str:
    """The longest word of a piece: where it does not stand, the piece does not."""
    return piece.word if isinstance(piece, Pattern) else piece


def _backwards(piece: str, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The places of a piece, last to first."""
    at = text.rfind(piece, start, end)
    while at >= 0:
        yield at, at + len(piece)
        at = text.rfind(piece, start, at)


def _places(piece: Piece, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if isinstance(piece, Pattern):
        yield from piece.places(text, start, end)
        return
    at = text.find(piece, start, end)
    while at >= 0:
        yield at, at + len(piece)
        at = text.find(piece, at + len(piece), end)


def _followed(
    places: Iterator[tuple[int, int]], rest: Sequence[Piece], text: str, end: int
) -> Iterator[tuple[int, int]]:
    """Begin of each place that the rest follows, and where the rest ends."""
    for begin, stop in places:
        last = _follow(rest, text, stop, end)
        if last is not None:
            yield begin, last


def _follow(rest: Sequence[Piece], text: str, stop: int, end: int) -> int | None:
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
        # All at once is several times as fast as one by one. Lines that were read hold no such letter.
        parts = squeeze(_BETWEEN.join(lines)).split(_BETWEEN)
        if len(parts) != len(lines):
            parts = [squeeze(line) for line in lines]
        starts = tuple(accumulate((len(part) for part in parts), initial=0))
        return Squeezed("".join(parts), starts)

    @cached_property
    def _grams(self) -> frozenset[str] | None:
        """The letters of a long text by sixes, each six once; a long log has few different ones."""
        if len(self.text) < LONG:
            return None
        return frozenset(self.text[at : at + GRAM] for at in range(0, len(self.text), GRAM))

    def lacks(self, word: str) -> bool:
        """Whether the word is known not to stand in the text, which for a long text is told without searching it:
        wherever it stood, whole sixes of it would be sixes of the text."""
        grams = self._grams
        if grams is None or len(word) < 2 * GRAM - 1:
            return False
        return not any(
            all(word[at : at + GRAM] in grams for at in range(offset, len(word) - GRAM + 1, GRAM))
            for offset in range(GRAM)
        )

    def line_at(self, position: int) -> int:
        """The index of the line in which a position lies."""
        return max(0, min(bisect_right(self.starts, position) - 1, len(self.starts) - 2))

    def start(self, line: int) -> int:
        """Where a line begins; the length of the text for lines beyond the last."""
        return self.starts[min(max(line, 0), len(self.starts) - 1)]
