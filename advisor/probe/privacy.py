"""Text of other programs, made fit for output that people paste in public: no folder, user or host in it."""

import contextlib
import getpass
import re
import socket
from collections.abc import Iterable
from pathlib import Path

PLACE = re.compile(
    r"""
      (?<![\w.])(?:
          \w+://[^\s'"<>]*                              # an address, with the name and password it may hold
        | (?:[A-Za-z]:[\\/]|~|\.{0,2}/|\\\\)            # a path from a drive, the home, the root or a share
          [^\s'"`,;:()\[\]<>]*
      )
    """,
    re.VERBOSE,
)
SHORTEST_NAME = 3
"""Shorter names of users and hosts are syllables of other words."""
NOBODY = {"root", "user", "localhost", "home"}


def without_places(text: str, names: Iterable[str] | None = None) -> str:
    """`text` as one line, each path as `(path)` and each of `names` (by default: this user and host) as `(name)`."""
    line = " ".join(text.split())
    for name in sorted(of_machine() if names is None else names, key=len, reverse=True):
        line = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", "(name)", line)
    return PLACE.sub("(path)", line)


def of_machine() -> set[str]:
    """Names that tell who or where this is; what the system does not know is left out."""
    host = socket.gethostname()
    found = {host, host.split(".")[0]}
    # A user without an entry in the system's list; Python up to 3.12 raises KeyError.
    with contextlib.suppress(OSError, KeyError, RuntimeError):
        found |= {getpass.getuser(), Path.home().name}
    return {name for name in found if len(name) >= SHORTEST_NAME and name.casefold() not in NOBODY}
