"""Where a knob, a symbol or a name stands in the target environment's library, and what became of an old name."""

from dataclasses import dataclass
from typing import Any

from packaging.version import Version

from advisor.errors import Mistake, RequestError, nearest
from advisor.knob_places import KNOB_PLACES
from advisor.old_names import OLD_NAMES, OldName
from advisor.probe import locate
from advisor.probe.locate import Found, Located, Missing, Place
from advisor.setup import knobs

SCHEMA = 1
LONGEST_NAME = 80
HERE, DEPRECATED, GONE = "in your version", "deprecated", "not in your version"


@dataclass(frozen=True)
class Answer:
    """What is known of one name: what it is, how it stands with it, where, and what to write instead.

    `line` is a knob's own line. `library_says` is a warning in the library's source; `transformers` the version asked.
    """

    asked: str
    what: str
    status: str
    places: tuple[Located, ...]
    transformers: str | None
    line: str | None = None
    old: OldName | None = None
    library_says: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As scripts see it."""
        old = self.old
        return {
            "schema": SCHEMA,
            "asked": self.asked,
            "what": self.what,
            "status": self.status,
            "line": self.line,
            "deprecated_from": old.deprecated_from if old else None,
            "removed_in": old.removed_in if old else None,
            "instead": old.instead if old else None,
            "library_says": self.library_says,
            "transformers": self.transformers,
            "locate": [locate.to_json(place) for place in self.places],
        }


def where(asked: str, python: str) -> Answer:
    """What there is to know of `asked` in the environment of the interpreter `python`.

    Raises:
        RequestError: nothing is called so; with the names that look most like it.
    """
    knob = asked.removeprefix("setup.")
    if knob in KNOB_PLACES:
        found = locate.look(python, KNOB_PLACES[knob])
        return Answer(asked, "knob", _standing(found.symbols), found.symbols, found.transformers, knobs()[knob].line)
    if ":" in asked:
        return _symbol(asked, locate.look(python, [asked]))
    if asked in OLD_NAMES:
        return _old(OLD_NAMES[asked], locate.look(python, OLD_NAMES[asked].places, [asked]))
    return _word(asked, locate.look(python, [], [asked]))


def _standing(symbols: tuple[Located, ...]) -> str:
    """`in your version` where one of the symbols is there, else the reason of the first."""
    reasons = [one.reason for one in symbols if isinstance(one, Missing)]
    return reasons[0] if len(reasons) == len(symbols) else HERE


def _symbol(asked: str, found: Found) -> Answer:
    match found.symbols[0]:
        case Missing(_, reason) if reason.startswith("no symbol"):
            raise RequestError(Mistake(asked, reason))
        case _:
            return Answer(asked, "symbol", _standing(found.symbols), found.symbols, found.transformers)


def _old(old: OldName, found: Found) -> Answer:
    """How it stands with an old name: the source says whether it is there, its warnings and the table say the rest."""
    stands = next((one for one in found.symbols if isinstance(one, Place)), found.symbols[0])
    said = found.said.get(old.name)
    match stands:
        case Missing(_, reason):
            status = reason
        case Place():
            status = DEPRECATED if said or _reached(old.deprecated_from, found.transformers) else HERE
    others = tuple(place for place in found.words.get(old.name, ()) if isinstance(stands, Missing))
    kind = f"old {old.kind.value}"
    return Answer(old.name, kind, status, (stands, *others), found.transformers, None, old, said)


def _reached(since: str | None, version: str | None) -> bool:
    return since is not None and version is not None and Version(version) >= Version(since)


def _word(asked: str, found: Found) -> Answer:
    places, said = found.words.get(asked, ()), found.said.get(asked)
    if places:
        return Answer(asked, "name", DEPRECATED if said else HERE, places, found.transformers, library_says=said)
    shown = "".join(letter for letter in asked if letter.isprintable())[:LONGEST_NAME]
    if found.transformers is None:
        no_library = "the target environment has no transformers that could be asked"
        raise RequestError(Mistake(shown, f"is no knob and no old name, and {no_library}"))
    close = nearest(asked, (*KNOB_PLACES, *OLD_NAMES))
    names = dict.fromkeys([*([close] if close else []), *found.near.get(asked, ())])
    hint = f"did you mean {' or '.join(names)}?" if names else "knobs: perf-advisor diagnose --list-knobs"
    raise RequestError(Mistake(shown, f"stands nowhere in transformers {found.transformers}", hint))
