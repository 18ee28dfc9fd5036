"""`perf-advisor explain [FILE ...]`: what a pasted failure means, why on this machine, and what to type."""

import argparse
import sys
from pathlib import Path

from advisor import errorbook
from advisor.commands import options as common
from advisor.errors import Mistake, RequestError
from advisor.explaining import Diagnosis, explain
from advisor.facts import Facts
from advisor.reading.notebooks import as_seen
from advisor.shipped import shipped

STDIN = "-"


def run(options: argparse.Namespace) -> int:
    """0 when every text was recognized, else 1. One JSON object a line with --json, in the order of the arguments."""
    if options.snapshot:
        from advisor.commands import snapshots

        snapshots.look(options.snapshot, options.json)
        if not options.files:
            return 0
    texts = [(source, text_from(source, options)) for source in options.files or [STDIN]]
    rules = errorbook.load(shipped() / "errors", *own_folders(options))
    here = machine(options)
    known = True
    for number, (source, text) in enumerate(texts):
        if number and not options.json:
            print()
        diagnosis = explain(text, source, here, rules)
        known = known and diagnosis.recognized
        _tell(text, diagnosis, options)
    return 0 if known else 1


def _tell(text: str, diagnosis: Diagnosis, options: argparse.Namespace) -> None:
    """Print one diagnosis, joined with the model where one is named."""
    joined = None
    if options.model or options.plan:
        # Imported here: only this needs the planner, and it takes a tenth of a second.
        from advisor.commands import remedies

        joined = remedies.join(text, diagnosis, options)
    if options.json:
        common.print_json(joined.to_json() if joined else diagnosis.to_json(), compact=True)
        return
    from advisor.show import diagnosis as screen
    from advisor.show import terminal

    terminal.out().print(screen.screen(joined.diagnosis if joined else diagnosis))
    if joined:
        from advisor.show import remedies as remedies_screen

        terminal.out().print(remedies_screen.screen(joined.remedies))


def own_folders(options: argparse.Namespace) -> list[Path]:
    """The errors/ folder of each --rules folder that has one."""
    return [folder for name in options.rules or () if (folder := Path(name) / "errors").is_dir()]


def text_from(source: str, options: argparse.Namespace) -> str:
    """The text of a file or of standard input; a person at a terminal is asked to paste it."""
    if source == STDIN:
        if sys.stdin.isatty() and not options.no_input:
            from advisor.show.paste import read_pasted

            return read_pasted()
        return as_seen(sys.stdin.buffer.read().decode("utf-8", errors="replace"))
    return text_of(source)


def text_of(source: str) -> str:
    """The text of a file, of a notebook what its cells show; what is no UTF-8 in it is replaced."""
    try:
        return as_seen(Path(source).read_bytes().decode("utf-8", errors="replace"))
    except OSError as error:
        raise RequestError(Mistake(source, error.strerror or str(error))) from error


def machine(options: argparse.Namespace) -> Facts | None:
    """The recorded machine, else this one as it was last probed: probing now would take seconds."""
    recorded = common.recorded_machine(options)
    return recorded if recorded is not None else common.last_machine()
