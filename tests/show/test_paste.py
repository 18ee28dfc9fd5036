"""The prompt for pasting, on a terminal that is played."""

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from advisor.show.paste import read_pasted

PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"


def pasted(keys: str) -> str:
    with create_pipe_input() as source:
        source.send_text(keys)
        return read_pasted(source, DummyOutput())


def test_two_empty_lines_end_it() -> None:
    assert pasted("CUDA out of memory.\r\r\r").strip() == "CUDA out of memory."


def test_control_d_ends_it() -> None:
    assert pasted("CUDA out of memory.\x04") == "CUDA out of memory."


def test_control_d_at_once_gives_nothing() -> None:
    assert pasted("\x04") == ""


def test_a_bracketed_paste_of_300_lines_keeps_its_empty_lines() -> None:
    text = "\n".join(f"line {number}" if number % 3 else "" for number in range(300)) + "\n\n\nlast"
    assert pasted(f"{PASTE_BEGINS}{text}{PASTE_ENDS}\r\r\r").strip("\n") == text.strip("\n")


def test_one_empty_line_ends_nothing() -> None:
    assert pasted("first\r\rsecond\x04") == "first\n\nsecond"


def test_control_c_interrupts() -> None:
    with pytest.raises(KeyboardInterrupt):
        pasted("something\x03")
