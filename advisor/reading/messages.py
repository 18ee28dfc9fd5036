"""The message of a text that says what failed, among all the forms that stand in it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from advisor.patterns import when_used
from advisor.reading.cleaning import Line
from advisor.reading.forms import FORMS, Form
from advisor.reading.overtaken import overtaken
from advisor.reading.quantities import AMOUNT
from advisor.reading.shells import killed_at
from advisor.reading.squeezed import Squeezed, phrase
from advisor.reading.talk import is_code

# Which kind explains the others when several stand in one text: a refused budget names its own cause, a library that
# finds no memory follows from the allocation that took the last of it, and a kill follows from a failure that was told.
_RANK = {
    "kv_cache_budget": 0, "quant_dispatch": 0, "gpu_oom": 1, "cpu_oom": 1, "disk_or_shm": 1,
    "host_pinned": 2, "alloc_failed_library": 3, "killed": 4,
}  # fmt: skip


_AMOUNT = when_used(AMOUNT)
_TRIES = 20

# Lines that speak of a failure without one having happened: code that handles it, advice, remarks of a recovery.
_NO_FAILURE = when_used(
    r"^(?:[-=]*>?\s*\d*\s*)?(?:except\b|(?:el)?if\b(?=.{0,300}[:{]\s*(?:#.{0,200})?$)|if\s?\(|assert\b|#\s|//"
    r"|import\b|from\s\S{1,80}\simport\b|raise\b|def\b|class\b|catch\b)"
    r"|\bretry(?:ing)?\b|\brecovered from\b|\bfalling back\b|\bfall back\b|\battempting to recover\b"
    r"|\bskipping (?:\w+ )?(?:batch|update)"
    r"|\b(?:if|when|in case) you (?:are|run|get|encounter|see|hit|face|still|experience)|\bthis is not a failure\b"
    r"|\bnothing fail(?:s|ed)\b|\btrying (?:with |batch\S{0,10} )?(?:size )?\d{1,5}\b(?! ?[kmg]?i?b)|\bhalving\b"
    r"|\bbacking off\b|\breducing (?:the )?batch"
    r"|\bto avoid\b(?:(?!\bstill\b)[^.]){0,60}out of memory(?!.{0,80}\bstill\b)"
    r"|\b(?:print\(|help=|log(?:ger|ging)?\.\w{1,12}\(|warnings\.warn\()f?[\"']"
    r"|\bcan lead to out.of.memory|\bmay (?:run|result|lead)\b|\bwithout running out|\bin str\("
    r"|\boom(?:s|_kill|-kills)?\W{1,3}0\b|(?<!more than )\b\d+\s?[EZ]B\b",
    re.IGNORECASE,
)
# Lines that tell, below a failure, that the program goes another way; and what shows that it failed there too.
_GOES_ON = when_used(
    r"\bretrying (?:without|with|in|on|using)\b|\b(?:falling|fall) back (?:to|on)\b|\battempting to recover\b"
    r"|\bskipping (?:\w+ )?(?:batch|update|sample)|\bwill (?:try|be tried) again\b",
    re.IGNORECASE,
)
_FAILS = when_used(r"\berror\b|\bfail|\babort|\bexit|\btraceback\b|\bout of memory\b|\bkilled\b", re.IGNORECASE)
_RAISED = when_used(r"(?:[\w.]{1,80}\.)?\w{0,60}(?:Error|Exception)\b\s?:")
NEXT = 6
"""Lines below a failure in which a program announces that it goes another way."""
# Forms that mean something only as a whole line: the shell's own word, and Python's bare exception.
_KILLED = when_used(
    r"(?:.{0,4000}(?:it/s|s/it|\d/\d+)[\])]?\s?)?(?:\S{1,60}:\s(?:line\s)?\d+:\s+\d+\s+)?"
    r"(?:\[\d+\]\s*[+-]?\s*)?(?:\d{1,8}\s)?Killed(?:\s{2,}\S.{0,200}|\s\S{1,60}\.(?:sh|py).{0,100}|:\s?9)?[.)\"'\s]*",
    re.IGNORECASE,
)
_LINE_FORMS = (
    (
        Form("torch_bare", "gpu_oom", (), weak=True),
        "outofmemory",
        when_used(r"(?:\w+\.){0,3}(?:RuntimeError|Exception): out of memory\.?", re.IGNORECASE),
    ),
    (Form("signal", "killed", ()), "killed", _KILLED),
    (
        Form("python", "cpu_oom", (), weak=True),
        "memoryerror",
        when_used(r"(?:builtins\.)?MemoryError(?::.{0,200}|\(.{0,200})?"),
    ),
)
_SIBLING = phrase("Sending process <n> closing signal SIGTERM")
_ABOUT = 120
"""Characters (squeezed) after a message in which its figures begin."""


@dataclass(frozen=True)
class Said:
    """A form that was found: where it stands in the squeezed text, and the line it stands on."""

    form: Form
    start: int
    end: int
    line: int
    times: int


def decisive(lines: Sequence[Line], squeezed: Squeezed) -> Said | None:
    """The message that says what failed, or None where nothing does: the last one of the kind that explains the
    others, and of those one that gives figures."""

    def order(said: Said) -> tuple[bool, int, bool, int]:
        told = _AMOUNT.search(squeezed.text, said.end, said.end + _ABOUT) is not None
        return said.form.weak, _RANK[said.form.kind], not told, -said.start

    return min(_found(lines, squeezed), key=order, default=None)


def _found(lines: Sequence[Line], squeezed: Squeezed) -> Iterator[Said]:
    for form in FORMS:
        for written in form.phrases:
            word = phrase(written).needed
            if not squeezed.lacks(word) and squeezed.text.rfind(word) >= 0:
                yield from _last_real(form, written, lines, squeezed)
    for form, word, pattern in _LINE_FORMS:
        yield from _last_line(form, word, pattern, lines, squeezed)
    if (number := killed_at(lines)) is not None:
        yield Said(Form("signal", "killed", ()), squeezed.start(number), squeezed.start(number + 1), number, 1)
    place = _SIBLING.last(squeezed.text, 0, len(squeezed.text))
    if place and "loadingcheckpointshards" in squeezed.text and "traceback" not in squeezed.text:
        # Launchers end the siblings in order when one rank dies; the rank that died is cut off here.
        yield Said(Form("signal", "killed", (), weak=True), *place, squeezed.line_at(place[0]), 1)


def _last_real(form: Form, written: str, lines: Sequence[Line], squeezed: Squeezed) -> Iterator[Said]:
    """The last place where the phrase stands and the line tells of a failure; where no figures follow there, also the
    last one with figures: engines repeat the bare message in a summary below."""
    wanted = phrase(written)
    end = len(squeezed.text)
    bare, plain = False, len(wanted.pieces) == 1 and isinstance(wanted.pieces[0], str)
    for _ in range(_TRIES):
        place = wanted.last(squeezed.text, 0, end)
        if place is None:
            return
        line = squeezed.line_at(place[0])
        told = _AMOUNT.search(squeezed.text, place[1], place[1] + _ABOUT) is not None
        if (told or not bare) and not _spoken(lines, line):
            first = wanted.pieces[0]
            times = squeezed.text.count(first) if isinstance(first, str) else 1
            yield Said(form, *place, line, times)
            if told or not plain:
                return
            bare = True
        end = place[0]


def _spoken(lines: Sequence[Line], number: int) -> bool:
    """Whether the words on a line tell of no failure, or of one that the program recovered from."""
    told = (tells_no_failure(lines[number]), is_code(lines, number), recovered(lines, number))
    return any(told) or overtaken(lines, number)


def tells_no_failure(line: Line) -> bool:
    """Whether a line only speaks of a failure: code that handles it, advice, a remark of a recovery."""
    return _NO_FAILURE.search(line.bare) is not None


def recovered(lines: Sequence[Line], failed: int) -> bool:
    """Whether the program says that it goes another way, and nothing fails from there on."""
    if _RAISED.match(lines[failed].bare):
        return False
    for number in range(failed + 1, min(len(lines), failed + NEXT)):
        if _GOES_ON.search(lines[number].bare):
            return not any(_FAILS.search(line.bare) for line in lines[number + 1 :])
    return False


def _last_line(
    form: Form, word: str, pattern: re.Pattern[str], lines: Sequence[Line], squeezed: Squeezed
) -> Iterator[Said]:
    if word not in squeezed.text:
        return
    for number in range(len(lines) - 1, -1, -1):
        bare = lines[number].bare
        if word in bare.lower().replace(" ", "") and pattern.fullmatch(bare):
            yield Said(form, squeezed.start(number), squeezed.start(number + 1), number, 1)
            return
