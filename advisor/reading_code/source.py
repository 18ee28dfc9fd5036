"""A user's script or notebook -> its syntax tree. It is parsed and never run, and nothing of it is imported."""

import ast
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from advisor.errors import Mistake, RequestError

LARGEST_BYTES = 2_000_000
"""More than any script that a person writes; bounds the time that reading takes."""
NO_PYTHON = re.compile(r"\s*([\w, ]+=\s*)?(%%?[A-Za-z]|!|\?)|\s*[\w.]+\?{1,2}\s*$")
"""A line of a notebook cell that is a magic, a shell command or a question: not Python."""

TIMING = re.compile(r"%%(time|timeit|capture|prun)\b")
"""Magics of a whole cell that is Python all the same; under others (%%bash, %%writefile) it is something else."""


@dataclass(frozen=True)
class Source:
    """A parsed script. `name` is the file's own name, without its folder, as places are written: `name:line`.

    The lines of a notebook count through its code cells, one after the other; `cells` holds the first line of each.
    """

    name: str
    tree: ast.Module
    cells: tuple[int, ...] = ()

    def place(self, line: int | None) -> str:
        """Where a finding stands: `use.py:12`, or in a notebook `use.ipynb cell 3:2`."""
        if line is None:
            return self.name
        if not self.cells:
            return f"{self.name}:{line}"
        cell = sum(first <= line for first in self.cells)
        return f"{self.name} cell {cell}:{line - self.cells[cell - 1] + 1}"


def read(path: Path) -> Source:
    """The script at `path`.

    Raises:
        RequestError: the file is missing, too large, not UTF-8, no notebook or no Python; the message has the place.
    """
    text = _text(path)
    return parse(text, path.name)


def parse(text: str, name: str) -> Source:
    """The script in `text`; a name that ends in `.ipynb` makes it a notebook.

    Raises:
        RequestError: it is no notebook or no Python; the message has the place.
    """
    name = "".join(part if part.isprintable() else "?" for part in name)
    cells: tuple[int, ...] = ()
    if name.endswith(".ipynb"):
        text, cells = _code_cells(text, name)
    source = Source(name, ast.Module([], []), cells)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own remarks about the user's escapes are not ours to print.
            return Source(name, ast.parse(text), cells)
    except SyntaxError as error:
        what = f"this is no Python that Python can read: {error.msg}"
        raise RequestError(Mistake(source.place(error.lineno), what, "mend it, or leave --code out")) from None
    except (ValueError, RecursionError, MemoryError):
        what = "this is no Python that can be read: a null byte, or an expression nested too deep"
        raise RequestError(Mistake(name, what, "leave --code out")) from None


def _text(path: Path) -> str:
    shown = str(path)
    try:
        if not path.is_file():
            raise RequestError(Mistake(shown, "no such file", "name a script or a notebook after --code"))
        with path.open("rb") as opened:
            data = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise RequestError(Mistake(shown, error.strerror or "cannot be read")) from None
    if len(data) > LARGEST_BYTES:
        hint = "name the script that loads and calls the model"
        raise RequestError(Mistake(shown, f"larger than {LARGEST_BYTES:,} bytes", hint))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RequestError(Mistake(f"{shown}:{line}", "not UTF-8", "save it as UTF-8")) from None


def _code_cells(text: str, name: str) -> tuple[str, tuple[int, ...]]:
    """The code of a notebook, and the line at which each code cell begins in it."""
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        raise RequestError(Mistake(name, "no notebook: not JSON", "save it again, or export it as a script")) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise RequestError(Mistake(name, "no notebook: it has no list of cells", "export it as a script"))
    lines: list[str] = []
    firsts: list[int] = []
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            firsts.append(len(lines) + 1)
            lines += _python_lines(cell.get("source")) or [""]
    return "\n".join(lines) + "\n", tuple(firsts)


def _python_lines(source: object) -> list[str]:
    """A cell's lines; what is a magic is replaced by a line that does nothing, so that numbers stay."""
    text = "".join(part for part in source if isinstance(part, str)) if isinstance(source, list) else source
    if not isinstance(text, str):
        return []
    lines = text.splitlines()
    if text.lstrip().startswith("%%"):
        return [""] * len(lines) if not TIMING.match(text.lstrip()) else ["", *map(_without_magic, lines[1:])]
    return [_without_magic(line) for line in lines]


def _without_magic(line: str) -> str:
    """A magic keeps its indentation: it may be all that a block holds."""
    if NO_PYTHON.match(line):
        return line[: len(line) - len(line.lstrip())] + "pass"
    return line
