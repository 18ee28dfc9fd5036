"""Places in the library as lines: of a rule's page, and of `where`."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from advisor.probe.locate import Located, Missing, Place
from advisor.where import Answer


def place_line(located: Located) -> str:
    """One place: the file with its line and what stands there, or why it was not found."""
    match located:
        case Place(_, file, number, text):
            return f"{file}:{number}  {text}"
        case Missing(symbol, reason):
            return f"{symbol}: {reason}"


def answer(found: Answer) -> RenderableType:
    """What `where` says of one name."""
    version = f" (transformers {found.transformers})" if found.transformers else ""
    head = Text.assemble((found.asked, "bold"), f"   {found.what}: {found.status}{version}")
    return Group(head, *(Padding(Text(text), (0, 0, 0, 2)) for text in _lines(found)))


def _lines(found: Answer) -> Iterator[str]:
    if found.line:
        yield found.line
    if found.old:
        yield from _history(found)
    if found.library_says:
        yield f"the library says: {found.library_says}"
    for place in found.places:
        # What an old name's status says already is not said again.
        if found.old is None or isinstance(place, Place):
            yield place_line(place)


def _history(found: Answer) -> Iterator[str]:
    old = found.old
    assert old is not None
    since = [("deprecated from", old.deprecated_from), ("removed in", old.removed_in)]
    if past := ", ".join(f"{what} {version}" for what, version in since if version):
        yield past
    yield f"write instead: {old.instead}"
