"""A pasted text without what terminals, loggers, launchers and notebooks put around each line.

Every step takes time linear in the length of the text: prefixes are peeled off one at a time, and no pattern nests a
repetition in another.
"""

from dataclasses import dataclass

from advisor.patterns import when_used

LONGEST_TEXT = 2_000_000
"""Characters; of a longer text the first eighth and the end are read: what failed is told last."""
LONGEST_LINE = 4_000
MOST_PREFIXES = 12

_ESCAPES = when_used(r"\x1b(?:\[[0-9;:?]{0,40}[ -/]{0,4}[@-~]|\][^\x07\x1b\n]{0,400}(?:\x07|\x1b\\)?|[@-Z\\^_])")
_DRAWN = {**dict.fromkeys(range(0x2500, 0x25A0), " "), **dict.fromkeys(range(0x2800, 0x2900), " ")}
_ODD = {
    0x00A0: " ", 0x200B: "", 0xFEFF: "", 0xFFFD: "", 0x3000: " ", 0x2026: "...",
    0xFF0C: ",", 0xFF1A: ":", 0xFF1B: ";", 0xFF08: "(", 0xFF09: ")", 0x3002: ".",
    0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2192: "->", 0x276F: ">", 0x2771: ">",
}  # fmt: skip
_CONTROL = dict.fromkeys([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F], "")
_TABLE = {**_DRAWN, **_ODD, **_CONTROL}

_TIME = r"\d\d:\d\d:\d\d(?:[.,]\d{1,12})?"
_LEVEL = r"(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL|ERRO)"
_PREFIXES = when_used(
    "|".join(
        (
            r">(?!>)\s?",  # quoted mail, but no Python prompt
            r"\|\s",
            rf"\[?\d{{4}}[-/]\d\d[-/]\d\d[T ]{_TIME}(?:Z|\s?[+-]\d\d:?\d\d)?\]?(?:\s*[|:-]\s)?",
            rf"\[?\d\d-\d\d {_TIME}\]?",
            rf"\[?{_TIME}\]?(?=\s)",
            r"\d{6,9}Z\s",  # the end of a cut timestamp
            rf"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d {_TIME} \S{{1,60}} [\w.\[\]-]{{1,40}}:\s",
            rf"[IWEFV]\d{{4}} {_TIME}\s+\d{{1,20}}\s+[\w./\\-]{{1,120}}:\d+\]",
            r"\[\s*\d+\.\d{6}\]\s",  # kernel log
            r"\[(?:rank|Rank |RANK )?\d{1,5}\]:\s?",
            r"\[\d+,\d+\]<std(?:err|out)>:",
            r"\((?:\w{1,40}\s)?(?:pid|rank)=[^()\n]{1,80}\)",
            r"\[task [^\]\n]{1,60}\]",
            rf"\[{_LEVEL}\s*\]",
            rf"{_LEVEL}\s*\|(?:\s*\w{{1,20}}\s*\|)?",
            rf"{_LEVEL}:?\s(?=\s*(?:\[?\d\d[-:]\d\d|\d{{4}}-\d\d))",
            r"\[?[\w./\\-]{1,80}\.(?:py|cc|cpp|cu|rs|go):\d{1,6}\]",
            r"[A-Za-z][\w.]*-[\w.-]{1,40}\s{1,8}\|\s",  # a container's name before its output
        )
    )
)


@dataclass(frozen=True)
class Line:
    """One line: as it stands, and without prefixes and borders."""

    shown: str
    bare: str


def clean(text: str) -> tuple[Line, ...]:
    """The lines of `text`. Progress bars that were drawn over one another become lines of their own."""
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT // 8] + "\n" + text[-(LONGEST_TEXT // 8) * 7 :]
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n").translate(_TABLE)
    return tuple(line for raw in text.split("\n") for line in _lines(raw))


def _lines(raw: str) -> list[Line]:
    """One line, or several where it is longer than any person would write: cut between words, because half a secret is
    not known for one."""
    pieces, start = [], 0
    while len(raw) - start > LONGEST_LINE:
        blank = raw.rfind(" ", start + LONGEST_LINE // 2, start + LONGEST_LINE)
        stop = blank if blank > 0 else start + LONGEST_LINE
        pieces.append(raw[start:stop])
        start = stop
    pieces.append(raw[start:])
    return [Line(shown := piece.strip(), without_prefixes(shown)) for piece in pieces]


def without_prefixes(line: str) -> str:
    """The line without timestamps, ranks, log levels and the like, and without spaces around."""
    line = line.strip()
    for _ in range(MOST_PREFIXES):
        found = _PREFIXES.match(line)
        if found is None or not found.end():
            break
        line = line[found.end() :].lstrip()
    return line
