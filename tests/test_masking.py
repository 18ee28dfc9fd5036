"""Masking asks for a word before it tries a pattern: whatever a pattern finds must hold one of its words."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.reading import masked, masking

Step = tuple[tuple[str, ...], re.Pattern[str], object]

STEPS = masking._STEPS
# Hypothesis does not look behind; what stands there is put before by hand.
BEHIND = {r"(?<=wandb login )": "wandb login ", r"(?<=login --token )": "login --token ", r"(?<![\d.])": ""}


def _written(pattern: re.Pattern[str]) -> str:
    written = pattern.pattern
    for look, words in BEHIND.items():
        written = written.replace(look, words)
    return re.sub(r"\(\?[=!](?:[^()\[\]]|\[[^\]]*\])*\)", "", written)


@pytest.mark.parametrize("step", STEPS, ids=range(len(STEPS)))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_a_pattern_finds_holds_a_word_of_it(step: Step, data: st.DataObject) -> None:
    words, pattern, _ = step
    found = data.draw(st.from_regex(re.compile(_written(pattern), pattern.flags)))
    if pattern.search(found) and found.isascii():
        assert any(word in found.lower() for word in words)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([
            "hf_abcdefgh1234", "token=abcdef", "Authorization: Bearer abcdefghij", "https://anna:geheim@host/", "for-",
            "anna@host.example.org", "anna@host:~", "10.0.0.7", "C:\\Users\\Anna B\\x", "/home/anna/x", "pwd: x9y8z7",
            "PAſſWORD=geheim", "ſecret=abcdef", "\u212aey_token=abcdef", "  ", "\n", "=", "é", "wandb login abcdef",
        ])
    ).map("".join)
)  # fmt: skip
def test_the_words_change_nothing(text: str) -> None:
    every = text
    for _, pattern, put in STEPS:
        every = pattern.sub(put, every)
    assert masked(text) == every
