"""`perf-advisor apply --install`: what is missing is named with its command, and installed after a typed yes."""

import argparse
import sys

from advisor import installing
from advisor.commands import options as common
from advisor.errors import Mistake, RequestError
from advisor.plan import Plan
from advisor.show import terminal


def offer(plan: Plan, python: str, options: argparse.Namespace) -> None:
    """Name what the plan needs and this environment lacks; install it where that is asked for and agreed to.

    Raises:
        RequestError: --yes without --install; pip finds no way or would change what is installed.
    """
    if options.yes and not options.install:
        raise RequestError(Mistake("--yes", "agrees to --install, which is not given", "add --install"))
    found = installing.missing(plan, python)
    if found is None:
        return
    _say(f"This plan needs {', '.join(found.names)}, not installed here. To install: {found.command}")
    if not options.install:
        _say("Going on without; --install installs it. Steps that need it fall back.")
        return
    found = installing.tried(found, _say)
    _say("pip would add " + ", ".join(f"{name} {version}" for name, version in found.adds) + " and change nothing.")
    if options.yes or (common.may_ask(options) and _typed_yes()):
        installing.install(found, _say)
        _say(f"Installed: {', '.join(found.names)}")
    else:
        _say("Nothing was installed: nobody said yes (--yes says so in scripts). Going on without.")


def _typed_yes() -> bool:
    terminal.talk().print("Install? Type yes: ", end="")
    return sys.stdin.readline().strip().lower() == "yes"


def _say(line: str) -> None:
    terminal.talk().print(line, markup=False, soft_wrap=True)
