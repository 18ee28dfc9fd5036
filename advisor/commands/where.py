"""`perf-advisor where NAME`: where a knob, a symbol or a name stands in the installed library."""

import argparse

from advisor.commands import options as common
from advisor.show import places, terminal
from advisor.where import where


def run(options: argparse.Namespace) -> int:
    """Print the places; 0 also where the answer is that the installed version has it no more."""
    found = where(options.name, common.target_python(options))
    if options.json:
        common.print_json(found.to_json())
    else:
        terminal.out().print(places.answer(found))
    return 0
