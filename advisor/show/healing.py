"""What was tried when something failed: the reason, what it means, and what was done about it."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from advisor.run.applied import Applied
from advisor.run.fallback import Attempt
from advisor.run.healing import Explained
from advisor.run.verify import FAILS
from advisor.show.terminal import settings


def meaning(explained: Explained | None) -> Iterator[RenderableType]:
    """What `explain` says, with the command that shows its whole page."""
    if explained is not None:
        said = Text(f"{explained.what} ({explained.cause})", style="dim")
        yield Padding(said, (0, 0, 0, 3), expand=False)


def tried(applied: Applied) -> Iterator[RenderableType]:
    """Every attempt that failed on the way to the last one, and what was tried instead."""
    for attempt in applied.attempts[:-1]:
        if attempt.verdict.word == FAILS and attempt.remedy is not None:
            yield Text(f"failed {attempt.verdict.reason}", style="yellow")
            yield from meaning(attempt.explained)
            yield Padding(_next(attempt), (0, 0, 1, 3), expand=False)


def _next(attempt: Attempt) -> RenderableType:
    return f"tried next: {settings(attempt.remedy)}" if attempt.remedy else "tried next: without that step"
