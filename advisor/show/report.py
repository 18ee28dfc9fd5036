"""A screen as a page of HTML that stands alone: what the terminal shows, for sending on."""

import io
from pathlib import Path

from rich.console import Console, RenderableType

from advisor.errors import Mistake, RequestError
from advisor.files import write_whole

WIDTH = 100


def page(screen: RenderableType) -> str:
    """The screen as HTML with its styles inside; no script, nothing fetched."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False, force_terminal=True)
    console.print(screen)
    return console.export_html(inline_styles=True)


def write(path: Path, screen: RenderableType) -> None:
    """Write the page whole or not at all.

    Raises:
        RequestError: the place cannot be written to.
    """
    try:
        write_whole(path, page(screen))
    except OSError as error:
        raise RequestError(Mistake("--report", f"{path} cannot be written: {error.strerror}")) from error
