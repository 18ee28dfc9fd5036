"""Packages that a plan needs and the target environment lacks: offered as a command, installed with consent only.

Pip of the target interpreter is asked first what it would do. Nothing that is installed is ever changed: a package
that asks for another torch or transformers is refused.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor import child
from advisor.errors import Mistake, RequestError
from advisor.plan import Plan
from advisor.run import packages

PROGRAM = Path(packages.__file__).with_name("inside_packages.py")
LOOK_SECONDS, INSTALL_SECONDS = 60.0, 1800.0
Heard = Callable[[str], None]


@dataclass(frozen=True)
class Offer:
    """Packages to add, and every distribution that comes with them, each with its version."""

    python: str
    names: tuple[str, ...]
    adds: tuple[tuple[str, str], ...] = ()

    @property
    def command(self) -> str:
        """What a person would type."""
        return f"{shlex.quote(self.python)} -m pip install {' '.join(self.names)}"


def missing(plan: Plan, python: str) -> Offer | None:
    """What the plan's setup needs and the environment of `python` lacks; None where nothing lacks or nobody knows."""
    names = packages.needed(plan.setup)
    if not names:
        return None
    answer = _ask(python, {"ask": "look", "names": names}, LOOK_SECONDS)
    if answer is None:
        return None
    lacking = tuple(name for name in names if name not in answer["installed"])
    return Offer(python, lacking) if lacking else None


def tried(offer: Offer, heard: Heard) -> Offer:
    """The offer with all that pip would add.

    Raises:
        RequestError: pip finds no way, or would change what is installed.
    """
    answer = _ask(offer.python, {"ask": "try", "names": offer.names}, INSTALL_SECONDS, heard)
    if answer is None or answer["problem"]:
        why = answer["problem"] if answer else "pip does not answer"
        raise RequestError(Mistake("--install", f"{', '.join(offer.names)}: {why}", GO_ON))
    adds = tuple((str(name), str(version)) for name, version in answer["would_install"])
    changed = [name for name, _ in adds if _normal(name) in answer["installed"]]
    if changed or not adds:
        what = f"would change {', '.join(changed)}" if changed else "would install nothing"
        raise RequestError(Mistake("--install", f"{', '.join(offer.names)}: pip {what}", GO_ON))
    return Offer(offer.python, offer.names, adds)


GO_ON = "leave --install out to go on without"


def install(offer: Offer, heard: Heard) -> None:
    """Install exactly what `tried` found.

    Raises:
        RequestError: pip failed; its own words.
    """
    request = {"ask": "install", "names": offer.names, "agreed": offer.adds}
    answer = _ask(offer.python, request, INSTALL_SECONDS, heard)
    if answer is None or answer["problem"]:
        raise RequestError(Mistake("--install", answer["problem"] if answer else "pip did not end well", GO_ON))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _ask(python: str, request: dict[str, Any], seconds: float, heard: Heard = lambda _: None) -> dict[str, Any] | None:
    assert set(request["names"]) <= set(packages.INSTALLABLE)
    match child.run(python, PROGRAM, request, seconds, heard=lambda told: heard(str(told.get("pip", "")))):
        case child.Answered(answer):
            return answer
    return None
