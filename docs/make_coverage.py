"""Writes docs/coverage.md from docs/coverage.yaml: `python docs/make_coverage.py`."""

from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
HEAD = """# What is covered

Four documents teach how to make transformers models fit and run fast. This table says for each of their headings and
bullets which rules say it here. It is written by `docs/make_coverage.py`; a test holds it against the rules.
`perf-advisor rule ID` shows a rule's page; `errors/ID` is a cause that `perf-advisor explain` names.
"""


def documents() -> list[dict[str, Any]]:
    """The documents with their lines, as coverage.yaml has them."""
    found: list[dict[str, Any]] = yaml.safe_load((HERE / "coverage.yaml").read_text(encoding="utf-8"))["documents"]
    return found


def page() -> str:
    """The whole of coverage.md."""
    return HEAD + "".join(_table(document) for document in documents())


def _table(document: dict[str, Any]) -> str:
    rows = [f"| {line['at']} | {line['says']} | {', '.join(map(_cell, line['by']))} |\n" for line in document["lines"]]
    return f"\n## {document['title']}\n\n| line | what it says | covered by |\n|---:|---|---|\n" + "".join(rows)


def _cell(name: str) -> str:
    return name if name.startswith("`") else f"`{name}`"


if __name__ == "__main__":
    (HERE / "coverage.md").write_text(page(), encoding="utf-8")
