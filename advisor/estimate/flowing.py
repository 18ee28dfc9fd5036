"""Continuous batching as the library schedules it: the forward passes that answer requests of different lengths.

Follows `FIFOScheduler` (transformers 5.22, generation/continuous_batching/scheduler.py): sequences that decode come
first with one token each; then prompts are read, in chunks where a pass has no room for the whole. The cache holds
pages; no prompt is begun or read on while less than a share of them is free, and who finds no page starts anew. Pure:
no seconds in here.
"""

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

SAFETY_MARGIN = 0.15
"""Share of the pages below which nothing more is read beside sequences that decode (`FIFOScheduler`)."""
MOST_REQUESTS, GROUPS = 64, 32
"""More requests than these are simulated as so many groups of equal ones."""
SEED = 0
"""With which a recipe draws prompts, and so the order of their lengths."""


@dataclass(frozen=True)
class Limits:
    """Tokens of one pass at most, tokens of a page, and pages of the cache."""

    pass_tokens: int
    page: int
    pages: int


@dataclass(frozen=True)
class Pass:
    """`count` alike passes one after another.

    In each, `decoding` sequences get one more token and `reading` tokens of prompts are read; `held` tokens of
    `sequences` are met by them on average. `pairs` counts the tokens of prompts each with every token before it in its
    own sequence. At the end of the last pass `begun` prompts get a token, of which `first` have had none before.
    """

    count: int
    decoding: int
    reading: int
    sequences: int
    held: float
    pairs: float
    begun: int = 0
    first: int = 0


class _Sequence:
    """One request on its way."""

    def __init__(self, tokens: int, wanted: int) -> None:
        self.unread, self.held, self.wanted, self.pages, self.answered = tokens, 0, wanted, 0, False

    def start_anew(self) -> None:
        """Lose the cache: what was held, and the token that was made last, is read again."""
        self.unread, self.held, self.pages = self.unread + self.held + (0 if self.unread else 1), 0, 0


def drawn_lengths(requests: int, prompt_tokens: int, mixed: bool) -> list[int]:
    """Tokens of each prompt, as a recipe draws them: of mixed lengths between a quarter and the whole."""
    if not mixed:
        return [prompt_tokens] * requests
    lengths = [max(1, prompt_tokens * (requests + 3 * i) // (4 * requests)) for i in range(1, requests + 1)]
    random.Random(SEED).shuffle(lengths)  # noqa: S311  # the order of a recipe, no secret
    return lengths


def passes(lengths: Sequence[int], new_tokens: int, limits: Limits) -> Iterator[Pass]:
    """The passes that make `new_tokens` for each prompt; all prompts wait from the beginning, in this order.

    A cache that is too small even for the longest request is taken as large enough for it.
    """
    longest = max(lengths) + new_tokens
    yield from _Scheduler(lengths, new_tokens, limits, max(limits.pages, ceil(longest / limits.page))).passes()


def grouped(requests: int) -> tuple[int, int]:
    """Groups to simulate, and requests in each (rounded)."""
    groups = requests if requests <= MOST_REQUESTS else GROUPS
    return groups, max(1, round(requests / groups))


def shared_out(limits: Limits, size: int) -> Limits:
    """The part of the limits that falls to each request of a group of `size`."""
    return Limits(max(1, limits.pass_tokens // size), limits.page, max(1, limits.pages // size))


class _Scheduler:
    def __init__(self, lengths: Sequence[int], new_tokens: int, limits: Limits, pages: int) -> None:
        self.waiting = deque(_Sequence(length, new_tokens) for length in lengths)
        self.active: list[_Sequence] = []
        self.budget, self.page, self.pages, self.free = limits.pass_tokens, limits.page, pages, pages
        self.blocked = False
        """Nothing new is begun after an eviction until a sequence ends (offloading_manager.py)."""

    def passes(self) -> Iterator[Pass]:
        while self.waiting or self.active:
            roomy = self.free >= SAFETY_MARGIN * self.pages
            decoding, starved = self._decoding()
            reading = self._reading(self.budget - len(decoding), roomy, bool(decoding), starved)
            if decoding or reading:
                yield self._carried_out(decoding, reading)
            # The newest of those that found no page makes room for the others.
            if starved and len(self.active) > 1:
                self._evict(starved[-1])

    def _decoding(self) -> tuple[list[_Sequence], list[_Sequence]]:
        """Sequences that get a token in the next pass, and those that find no page."""
        ready = [one for one in self.active if not one.unread][: self.budget]
        found: list[_Sequence] = []
        starved: list[_Sequence] = []
        for one in ready:
            (found if self._takes(one, one.held + 1) else starved).append(one)
        return found, starved

    def _reading(
        self, budget: int, roomy: bool, beside_others: bool, starved: list[_Sequence]
    ) -> list[tuple[_Sequence, int]]:
        """Prompts read in the next pass, each with the number of its tokens; who finds no page is added to `starved`.

        `roomy` says that pages above the margin were free before the pass.
        """
        chosen: list[tuple[_Sequence, int]] = []
        begun = (one for one in list(self.active) if one.unread)
        while budget > 0 and (roomy or not (beside_others or chosen)):
            one = next(begun, None) or (self.waiting[0] if self.waiting and not self.blocked else None)
            if one is None:
                break
            tokens = min(one.unread, budget)
            begins = bool(self.waiting) and one is self.waiting[0]
            if not self._takes(one, one.held + tokens):
                if begins:
                    break
                starved.append(one)
                continue
            if begins:
                self.active.append(self.waiting.popleft())
            chosen.append((one, tokens))
            budget -= tokens
        return chosen

    def _takes(self, one: _Sequence, tokens: int) -> bool:
        """Give `one` the pages for so many tokens, if they are free."""
        more = max(0, -(-tokens // self.page) - one.pages)
        if more > self.free:
            return False
        self.free -= more
        one.pages += more
        return True

    def _carried_out(self, decoding: list[_Sequence], reading: list[tuple[_Sequence, int]]) -> Pass:
        """One pass, and as many more as are alike: until a sequence ends, a prompt is read, or pages run short."""
        count = self._alike(decoding, reading)
        read = sum(tokens for _, tokens in reading)
        held = sum(one.held for one in decoding) + sum(one.held + count * tokens for one, tokens in reading)
        held_on_average = held + len(decoding) * (count + 1) / 2 - read * (count - 1) / 2
        pairs = sum(tokens * (one.held + count * tokens / 2) for one, tokens in reading)
        begun = [one for one, tokens in reading if one.unread == count * tokens]
        first = sum(not one.answered for one in begun)
        for one, tokens in [*((one, 1) for one in decoding), *reading]:
            one.held += count * tokens
            self._takes(one, one.held)
        for one, tokens in reading:
            one.unread -= count * tokens
        for one in (*decoding, *begun):
            one.wanted -= count if one in decoding else 1
            one.answered = True
        self._end([one for one in self.active if one.wanted == 0])
        sizes = (len(decoding), read, len(decoding) + len(reading))
        return Pass(count, *sizes, held_on_average, pairs, len(begun), first)

    def _alike(self, decoding: list[_Sequence], reading: list[tuple[_Sequence, int]]) -> int:
        """How many passes do the same work; at least one."""
        if len(reading) > 1 or (reading and reading[0][0].unread <= reading[0][1]):
            return 1
        # A prompt that fills every pass is read with the same number of tokens until its last ones.
        count = min([one.wanted for one in decoding] + [(one.unread - 1) // tokens for one, tokens in reading])
        kept = SAFETY_MARGIN * self.pages if reading else 0
        growing = [*((one, 1) for one in decoding), *reading]
        if count > 1 and self._needed(growing, count) > self.free - kept:
            count = bisect_right(range(count), self.free - kept, key=lambda passes: self._needed(growing, passes)) - 1
        return max(1, count)

    def _needed(self, growing: list[tuple[_Sequence, int]], count: int) -> int:
        """Pages that sequences lack which grow by so many tokens in each of `count` passes."""
        page = self.page
        return sum(-(-(one.held + count * tokens) // page) - one.pages for one, tokens in growing)

    def _end(self, ended: list[_Sequence]) -> None:
        for one in ended:
            self.free += one.pages
            self.active.remove(one)
            self.blocked = False

    def _evict(self, one: _Sequence) -> None:
        self.free += one.pages
        self.active.remove(one)
        one.start_anew()
        self.waiting.append(one)
        self.blocked = True
