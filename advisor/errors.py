"""What a person is told when a request cannot be carried out.

    AdvisorError            exit code 2; carries one or more mistakes
    ├── RequestError        an option or argument on the command line
    ├── MachineError        a recorded machine file
    ├── ModelError          a model that cannot be found or read
    ├── RulebookError       rule files
    └── PlanError           a plan file

Anything else that escapes is a bug of this program and keeps its traceback.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: the place, what was found there, and the remedy (may be empty)."""

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"; {self.hint}" if self.hint else "")


class AdvisorError(Exception):
    """A mistake in what the user asked for or handed over. All mistakes are reported together."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


class RequestError(AdvisorError):
    """An option or argument cannot be used."""


class MachineError(AdvisorError):
    """A recorded machine cannot be read."""


class ModelError(AdvisorError):
    """A model cannot be found, read or understood."""


class RulebookError(AdvisorError):
    """Rule files contain mistakes."""


class PlanError(AdvisorError):
    """A plan file cannot be used."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that looks most like `word`, for "did you mean"; None when none is close."""
    import difflib  # only mistakes need it

    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return found[0] if found else None
