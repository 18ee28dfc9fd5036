"""The screen of a diagnosis."""

from pathlib import Path

from rich.console import Console

from advisor import errorbook, rulebook
from advisor.explaining import explain
from advisor.facts import Facts, Known
from advisor.show.diagnosis import screen

TEXTS = Path(__file__).parents[1] / "errors"
RULES = errorbook.load(rulebook.shipped() / "errors", kept=False)


def shown(text: str, machine: Facts | None = None, source: str = "paste.txt") -> str:
    console = Console(width=80, record=True, file=None, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(screen(explain(text, source, machine, RULES)))
    return capture.get()


def test_it_says_what_was_found_what_it_costs_and_what_to_type() -> None:
    text = shown((TEXTS / "torch-1.12.txt").read_text(), Facts({"host.os": Known("windows", "test")}))
    assert "GPU memory ran out" in text
    assert "You asked for 3.00 GiB" in text
    assert "torch.cuda.empty_cache()" in text
    assert "no: needs host.os == linux, found windows" in " ".join(text.split())
    assert "expandable_segments:True\n" not in text, "what cannot be done here is not offered for typing"
    assert max(len(line) for line in text.splitlines()) <= 80


def test_what_applies_stands_before_what_does_not() -> None:
    text = shown((TEXTS / "torch-1.12.txt").read_text(), Facts({"host.os": Known("windows", "test")}))
    assert text.index("Give cached blocks back") < text.index("Let the allocator grow")


def test_an_unknown_text() -> None:
    assert "paste.txt: no rule knows this text" in shown((TEXTS / "key-error.txt").read_text())
    assert "standard input: no rule knows this text" in shown("", source="-")


def test_markup_in_a_text_stays_text() -> None:
    assert "[bold red]" in shown("[bold red]CUDA out of memory.[/bold red] [/nothing]")
