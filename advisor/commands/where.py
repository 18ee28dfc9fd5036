"""`perf-advisor where NAME`: where a knob, a symbol or a name stands in the installed library."""

import argparse

from advisor import child
from advisor.commands.options import print_json
from advisor.show import places, terminal
from advisor.where import where


def run(options: argparse.Namespace) -> int:
    """Print the places; 0 also where the answer is that the installed version has it no more."""
    found = where(options.name, child.target_python(options.python))
    if options.json:
        print_json(found.to_json())
    else:
        terminal.out().print(places.answer(found))
    return 0
