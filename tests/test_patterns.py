"""Patterns that are compiled when they are first used."""

import re

import pytest

from advisor.patterns import when_used


def test_it_does_what_the_pattern_does() -> None:
    later, now = when_used(r"(\d+) gib", re.IGNORECASE), re.compile(r"(\d+) gib", re.IGNORECASE)
    for text in ("12 GiB of 24 gib", "none"):
        assert later.findall(text) == now.findall(text)
        assert bool(later.search(text)) == bool(now.search(text))
    assert (later.pattern, later.flags, later.sub("x", "12 GiB")) == (now.pattern, now.flags, "x")


def test_nothing_is_compiled_before() -> None:
    wrong = when_used("(")
    with pytest.raises(re.error):
        wrong.search("x")
