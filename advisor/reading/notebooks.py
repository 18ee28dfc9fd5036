"""A notebook file as the text that a person sees in it: the code of its cells and what they put out, errors too."""

import json
from collections.abc import Iterator
from typing import Any

MOST_CELLS = 10_000


def as_seen(text: str) -> str:
    """The text of a notebook's cells, in their order; any other text as it is."""
    start = text[:4096].lstrip("\ufeff \t\r\n")
    if not start.startswith("{") or '"cells"' not in text:
        return text
    try:
        found = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return text
    cells = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(cells, list):
        return text
    return "\n".join(piece for cell in cells[:MOST_CELLS] if isinstance(cell, dict) for piece in _cell(cell))


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    """The code, then the outputs. Prose of the author's is left out: it tells of no run."""
    if cell.get("cell_type") == "code":
        yield _joined(cell.get("source"))
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        if not isinstance(output, dict):
            continue
        if output.get("output_type") == "error":
            trace = output.get("traceback")
            yield "\n".join(map(str, trace)) if isinstance(trace, list) and trace else _named(output)
        else:
            data = output.get("data")
            yield _joined(output.get("text") or (data.get("text/plain") if isinstance(data, dict) else ""))


def _named(output: dict[str, Any]) -> str:
    return f"{output.get('ename', '')}: {output.get('evalue', '')}"


def _joined(lines: object) -> str:
    return "".join(map(str, lines)) if isinstance(lines, list) else str(lines or "")
