"""Memory that ran out although the program went on: no failure, and yet worth an answer."""

import re

from advisor.patterns import when_used
from advisor.reading import Passage, masked
from advisor.reading.messages import NEXT
from advisor.reading.overtaken import last_exception, overtaken

WENT_ON = "Memory ran out, and the program dealt with it and went on"
_SQUEEZED = ("outofmemory", "cannotallocatememory", "bad_alloc")
_RAN_OUT = when_used(r"out of memory|OutOfMemoryError|cannot allocate memory|\bbad_alloc\b|\boom\b", re.IGNORECASE)
_CODE = when_used(
    r"^(?:except|if|elif|assert|raise|import|from|def|class|catch|#|//|print|return)\b|[\"'`]\s*in\s|^[#/]"
    r"|\b(?:if|when|in case) (?:you|it|the)\b|\bto avoid\b|\bmay\b|\bcan\b|\bmight\b",
    re.IGNORECASE,
)
_DEALT_WITH = when_used(
    r"\bretr(?:y|ying|ied)\b|\bfalling back\b|\bfell back\b|\bfallback\b|\brecover(?:ing|ed)\b"
    r"|\battempting to recover\b"
    r"|\bskipp(?:ing|ed)\b|\bhalving\b|\bhalved\b|\bbacking off\b|\b(?:reducing|reduced|lowering) (?:the )?batch"
    r"|\btrying (?:again|with|batch)|\bwill (?:try|be tried) again\b|\bclearing (?:the )?cache\b|\bignor(?:ing|ed)\b",
    re.IGNORECASE,
)


def went_on(passage: Passage) -> str | None:
    """What to say of a text without a failure in which memory ran out and was dealt with; None for any other."""
    if passage.said is not None or not any(word in passage.squeezed.text for word in _SQUEEZED):
        return None
    lines = [line.bare for line in passage.lines]
    ran_out = [number for number, line in enumerate(lines) if _RAN_OUT.search(line)]
    times = sum(_is_dealt_with(lines, number) or overtaken(passage.lines, number) for number in ran_out)
    if not times:
        return None
    often = "" if times == 1 else f" ({times} times)"
    later = last_exception(passage.lines, ran_out[0])
    ended = (
        "If the program failed later, paste that error, from its 'Traceback' on."
        if later is None
        else f"What ended the program is another error, which no rule knows: {passage.lines[later[1]].shown.strip()}"
    )
    return masked(
        f"{WENT_ON}{often}: that is no failure. If it happens often, a smaller batch or shorter inputs save the time "
        f"of the tries. {ended}"
    )


def _is_dealt_with(lines: list[str], number: int) -> bool:
    """Whether a line that is no code, or one soon below it, says what the program does about the shortage."""
    if _CODE.search(lines[number]):
        return False
    return any(_DEALT_WITH.search(below) for below in lines[number : number + NEXT])
