"""Memory that ran out and was caught, before the program failed in another way: the last failure is what ended it."""

from collections.abc import Sequence

from advisor.patterns import when_used
from advisor.reading.cleaning import Line

NEXT = 3
"""Lines below a shortage in which a program says that it deals with it."""
FARTHEST = 400
"""Lines below a shortage in which progress is looked for."""
_TRACEBACK = "Traceback (most recent call last"
_CHAINED = when_used(r"another exception occurred|direct cause of the following")
_RAISED = when_used(r"^(?:[a-z_]\w{0,40}\.){0,6}[A-Z]\w{0,60}(?:Error|Exception|Iteration|Exceeded)\b\s{0,2}(?::|$)")
_DEALT_WITH = when_used(
    r"\bcaught\b(?! \w{1,60} in (?:replica|dataloader|process|worker))|\bskipp(?:ed|ing)\b|\bretr(?:y|ying|ied)\b"
    r"|\bignor(?:ed|ing)\b|\brecover(?:ed|ing)\b|\bhandled\b|\bcontinu(?:e|es|ed|ing)\b|\bhalv(?:ed|ing)\b"
    r"|\bfalling back\b|\bfell back\b"
)
_PROGRESS = when_used(
    r"\b(?:step|iter|iteration|epoch|batch)\b[\s:=#\[(]{0,3}\d|\b\d{1,9}/\d{1,9} \[|\bloss\b['\"]?\s?[:=]?\s?\d"
)
# What other processes, engines and launchers say when the one that ran out of memory is gone.
_FOLLOWS = when_used(
    r"memory|\boom\b|nccl|gloo|\bcuda|\bhip\b|cublas|cudnn|childfailed|connection|broken pipe|eoferror|timeout"
    r"|timed out|\bdist\w|store\b|engine|worker|\bexit|died|dead|killed|terminat|abort|rank"
    r"|actor|remote|server|process|http|socket|keyboard|alloc"
)


def overtaken(lines: Sequence[Line], failed: int) -> bool:
    """Whether the shortage on line `failed` was dealt with, and an unrelated exception ended the program later."""
    ended = None if lines[failed].shown.startswith("[rank") else last_exception(lines, failed)
    if ended is None:
        return False
    top, final = ended
    if _FOLLOWS.search(lines[final].bare.lower()):
        return False
    between = [line.bare for line in lines[failed + 1 : min(top, failed + FARTHEST)]]
    if any(_CHAINED.search(bare) for bare in between):
        return False
    said = (bare.lower() for bare in (lines[failed].bare, *between[:NEXT]))
    return any(_DEALT_WITH.search(bare) for bare in said) or any(_PROGRESS.search(bare.lower()) for bare in between)


def last_exception(lines: Sequence[Line], failed: int) -> tuple[int, int] | None:
    """Of the last traceback below line `failed`, its first line and that of the exception."""
    for top in range(len(lines) - 1, failed, -1):
        if lines[top].bare.startswith(_TRACEBACK):
            below = range(top + 1, len(lines))
            return next(((top, number) for number in below if _RAISED.search(lines[number].bare)), None)
    return None
