"""Where in a text the failing call is told: the lines of the traceback nearest to the decisive message."""

import re
from collections.abc import Sequence

from advisor.patterns import when_used
from advisor.reading.cleaning import Line

ABOVE = 60
"""Lines of a traceback that are looked at: about thirty calls, innermost last."""
BELOW_MESSAGE = 5
"""Lines after the message that still belong to it: graph nodes, notes, wrapped figures."""
BELOW = 60

_TOP = when_used(r"Traceback \(most recent call|^-{30,}$|another exception occurred|direct cause of the following")
_CODE = when_used(
    r"File \S|\.py[:\"']|\bin \w+\(|^-+>|^\s*\d+ |[\w\])]\(|^\w[\w.]* = |^>>> |^\.\.\. |^(?:for|with|def|return|self\.)"
)


def scope(lines: Sequence[Line], message: int) -> tuple[int, int]:
    """First line and the line after the last of what tells where the failure happened.

    The message stands below its traceback, save in logs that are cut or mixed; then what follows it is looked at.
    """
    top = message
    while top > 0 and message - top < ABOVE:
        top -= 1
        if _TOP.search(lines[top].bare):
            break
    if any(_CODE.search(line.bare) for line in lines[top:message]):
        return top, min(len(lines), message + BELOW_MESSAGE)
    return top, min(len(lines), message + BELOW)


_LIBRARY = when_used(r"site-packages|dist-packages|/lib/python|\\lib\\|<frozen|<string>|importlib", re.IGNORECASE)
_CELL = when_used(r"In ?\[\d{1,5}\]:\s*")
_FRAME = when_used(
    r"File \"?([^\",]{1,300})\"?, line \d+|^([\w./\\~<>-]{1,300}\.py)[:(]\d+|(?:^|\b)(?:Cell|Input) In ?\["
)


def own_code(lines: Sequence[Line], first: int, last: int) -> tuple[str, ...]:
    """Code lines of the user's own files, notebook cells and prompts in a stretch of lines, outermost first."""
    found: list[str] = []
    inside_library = False
    for line in lines[first:last]:
        frame = _FRAME.search(line.bare)
        if frame:
            inside_library = bool(_LIBRARY.search(line.bare))
        elif line.bare.startswith((">>>", "...")):
            found.append(line.bare[3:].strip())
        elif cell := _CELL.match(line.bare):
            found.append(line.bare[cell.end() :])
        elif not inside_library:
            found.append(re.sub(r"^-*>?\s*\d+\s+", "", line.bare))
    return tuple(found)
