"""`perf-advisor run -- COMMAND ...`: the command as if started without us; if it fails, what that means, on stderr.

Standard output belongs to the program. `--json FILE` writes the end and its diagnosis to a file.
"""

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from advisor import passing
from advisor.errors import Mistake, RequestError
from advisor.files import write_whole
from advisor.passing import Ended
from advisor.probe import kills

if TYPE_CHECKING:
    from advisor.explaining import Diagnosis
    from advisor.explaining.ended import Ending

# What explains is imported only once a program has failed: until then every tenth of a second is the program's.
SCHEMA = 1


def run(options: argparse.Namespace) -> int:
    """The program's own exit code; 128 and the signal's number where a signal ended it."""
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        raise RequestError(Mistake("COMMAND", "what is to be run?", "perf-advisor run -- python train.py"))
    report = _report_file(options)
    _refuse_absent(options)
    before = kills.count()
    outcome = passing.run(words)
    if isinstance(outcome, passing.NotStarted):
        print(f"perf-advisor: {outcome.reason}", file=sys.stderr)
        return outcome.code
    if outcome.code == 0 and report is None:
        return 0
    from advisor.explaining import ended

    end = ended.ending(shlex.join(words), outcome, kills.between(before, kills.count()))
    diagnosis = _explained(options, end) if end.failed and not end.wanted else None
    if report:
        _write(report, words, outcome, end, diagnosis)
    if diagnosis is not None and not end.explained:
        _show(outcome, end, diagnosis)
    return _as_it_ended(outcome)


def _report_file(options: argparse.Namespace) -> Path | None:
    """The file of --json, checked before the program runs."""
    if not options.json:
        return None
    path = Path(options.json)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise RequestError(
            Mistake("--json", f"{options.json} cannot be written", "name a file in a folder that is there")
        )
    return path


def _refuse_absent(options: argparse.Namespace) -> None:
    """A slip in an option must not come to light only after hours of a program's work."""
    for option, name in (("--machine", options.machine), *(("--rules", folder) for folder in options.rules or ())):
        if name and not Path(name).exists():
            raise RequestError(Mistake(option, f"{name} does not exist"))


def _explained(options: argparse.Namespace, end: "Ending") -> "Diagnosis":
    from advisor import errorbook, rulebook
    from advisor.commands import explain as command
    from advisor.explaining import explain

    rules = errorbook.load(rulebook.shipped() / "errors", *command.own_folders(options))
    return explain(end.text, "the program's output", command.machine(options), rules)


def _write(report: Path, words: Sequence[str], outcome: Ended, end: "Ending", diagnosis: "Diagnosis | None") -> None:
    """One object. A full disk must not hide the program's exit code."""
    from advisor.reading import masked_words

    data = {
        "schema": SCHEMA,
        "command": masked_words(words),
        "exit_code": outcome.code,
        "signal": outcome.signal,
        "seconds": round(outcome.seconds, 3),
        "peak_bytes": outcome.peak_bytes,
        "remarks": list(end.remarks),
        "diagnosis": diagnosis.to_json() if diagnosis else None,
    }
    try:
        write_whole(report, json.dumps(data, indent=2) + "\n")
    except OSError as error:
        print(f"perf-advisor: {report} cannot be written: {error.strerror}", file=sys.stderr)


def _show(outcome: Ended, end: "Ending", diagnosis: "Diagnosis") -> None:
    if sys.stderr is None:
        return
    from advisor.show import diagnosis as screen
    from advisor.show import terminal

    talk = terminal.talk()
    talk.print(f"\nperf-advisor: the program ended with exit code {outcome.code}.", style="bold", markup=False)
    for remark in end.remarks:
        talk.print(remark, markup=False)
    if diagnosis.recognized:
        talk.print(screen.screen(diagnosis))
    else:
        talk.print("No rule knows what it printed.", style="dim")


def _as_it_ended(outcome: Ended) -> int:
    """A shell's loop ends at Ctrl-C only if its command died of it, so then this program does too."""
    if outcome.signal == signal.SIGINT and os.isatty(0):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGINT)
    return outcome.code
