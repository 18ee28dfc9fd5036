"""Which observations the prose around a memory failure tells, and what a table of processes in it shows."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from advisor.patterns import when_used
from advisor.reading.cleaning import Line
from advisor.reading.observations import OF_THE_RUN
from advisor.reading.observed_machine import OF_THE_MACHINE
from advisor.reading.situations import SITUATIONS

LONGEST = 3_000
"""Characters of prose that are looked at, at the beginning and again at the end."""
_NO_PROSE = when_used(r"^File \S|site-packages|dist-packages|^\s*[\^~]+\s*$|^Traceback \(")
_FIGURES = when_used(
    r"tried to allocate [\d.]{1,12} \w{1,5}(?:\. gpu| \(gpu).{0,900}"
    r"(?:fragmentation|environment-variables\)|by pytorch\)?|cached\)|unallocated\.|is free\b)"
)
"""A message of PyTorch with its figures, which tells nothing in anybody's own words."""

OBSERVATIONS = OF_THE_RUN + OF_THE_MACHINE
# A row of nvidia-smi: device, process, type, name, size.
_PROCESS_ROW = when_used(
    r"\|?\s{0,8}(\d{1,2})\s{1,12}(?:\S{1,4}\s{1,8}\S{1,4}\s{1,12})?(\d{1,8})\s{1,12}(?:M\+)?(?:C\+G|C)\s{1,8}\S.{0,120}?\s(\d{1,6})\s?MiB"
)
MUCH_MIB = 2048


def tells(lines: Sequence[Line], account: bool) -> tuple[str, ...]:
    """The names of what the text tells: every observation, and of an account without figures its situation."""
    story = _story(_both(lines))
    found = [
        name
        for name, words, written in OBSERVATIONS
        if any(word in story for word in words.split("|")) and _pattern(written).search(story)
    ]
    if "held_elsewhere" not in found and _crowded(lines):
        found.append("held_elsewhere")
    within = situation(lines) if account else None
    return tuple(dict.fromkeys(found if within is None else [*found, within]))


def situation(lines: Sequence[Line]) -> str | None:
    """The most particular situation that an account tells of."""
    return _situation(" ".join(line.bare for line in lines)[: 2 * LONGEST])


@lru_cache(maxsize=2)
def _situation(story: str) -> str | None:
    return next((name for name, *signs in SITUATIONS if all(_stands(sign, story) for sign in signs)), None)


def _stands(sign: str, story: str) -> bool:
    return re.search(sign, story, re.IGNORECASE) is not None


def _both(lines: Sequence[Line]) -> Iterator[str]:
    """The lines, and what of them was put into English as it was pasted: observations know their own words for it."""
    for line in lines:
        yield line.bare
        if not line.shown.isascii() and line.bare not in line.shown:
            yield line.shown


def _crowded(lines: Sequence[Line]) -> bool:
    """Whether a table of nvidia-smi lists several processes on one device, one of them with much memory."""
    rows = [row.groups() for line in lines if "MiB" in line.bare and (row := _PROCESS_ROW.match(line.bare))]
    sizes: dict[str, dict[str, int]] = {}
    for device, number, size in rows:
        sizes.setdefault(device, {})[number] = int(size)
    return any(len(held) > 1 and max(held.values()) >= MUCH_MIB for held in sizes.values())


@lru_cache(maxsize=len(OBSERVATIONS))
def _pattern(written: str) -> re.Pattern[str]:
    return re.compile(written)


def _story(lines: Iterable[str]) -> str:
    """What is no traceback, in small letters: the beginning, and of a long text the end as well."""
    told: list[str] = []
    below_frame = False
    for line in lines:
        if line and not below_frame and not _NO_PROSE.search(line):
            told.append(line.lower())
        below_frame = line.startswith("File ")
    text = _FIGURES.sub(" ", " ".join(told))
    return text if len(text) <= 2 * LONGEST else f"{text[:LONGEST]}. {text[-LONGEST:]}"
