"""`perf-advisor probe`: the machine, as a card or as JSON."""

import argparse

from advisor import child, own_runs, probe
from advisor.commands.options import print_json, recorded_machine, remember_machine
from advisor.facts import Facts
from advisor.probe import speed
from advisor.show import machine as screen
from advisor.show import terminal


def run(options: argparse.Namespace) -> int:
    """Print the machine; 0."""
    facts = recorded_machine(options) or look(options, with_speed=not options.no_speed, anew=True)
    if options.json:
        print_json(screen.machine_json(facts))
    else:
        terminal.out().print(screen.card(facts))
    return 0


def look(options: argparse.Namespace, with_speed: bool, anew: bool = False) -> Facts:
    """Probe this machine, with progress on stderr; the result is kept for commands that must answer at once.

    Unless `anew`, the target environment is not asked again while it is what it was (probe/kept_software.py).
    """
    talk = terminal.talk()
    python = child.target_python(options.python)

    def heard(line: str) -> None:
        talk.print(line, style="dim", markup=False, soft_wrap=True)

    heard("Looking at this machine ...")
    facts = probe.machine(python, anew=anew)
    if with_speed:
        facts = facts | speed.constants(python, facts, heard) | own_runs.facts(speed.machine_key(facts))
    remember_machine(facts)
    return facts
