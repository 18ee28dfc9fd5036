"""A shell's word for a program that was killed, in other languages."""

import pytest

from advisor.reading.cleaning import clean
from advisor.reading.shells import KILLED, killed_at


@pytest.mark.parametrize("word", sorted(KILLED))
def test_every_word_is_read_in_every_form_of_the_line(word: str) -> None:
    for line in (
        word,
        f"[1]+  {word}                 python run.py",
        f"./a.sh: Zeile 3: 4711 {word}   python run.py",
    ):
        assert killed_at(clean(f"python run.py\n{line}\n$")) == 1, line


@pytest.mark.parametrize("line", ["Morto de rir", "o processo foi Morto", "Getötet wurde niemand", "Killed", ""])
def test_a_word_within_a_sentence_is_none(line: str) -> None:
    assert killed_at(clean(line)) is None
