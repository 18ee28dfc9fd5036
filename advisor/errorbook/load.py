"""The error rules of folders, and the copy of them that is kept in the user's cache so that reading them takes no time.

The kept copy holds for exactly the files that it was made from (name, size and time of each). Damaged, outdated or
unwritable, it costs time and never an answer.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from advisor import kept as copies
from advisor.errorbook.rule import ErrorRule, from_json, to_json
from advisor.errors import Mistake, RulebookError

FORMAT = 2
KIND = "error-rules"


def load(*folders: Path, kept: bool = True) -> tuple[ErrorRule, ...]:
    """The error rules in each of the folders.

    `kept=False` reads the files themselves, cases included.

    Raises:
        RulebookError: every mistake in every file, and ids that stand twice.
    """
    files = [(path, folder) for folder in folders for path in sorted(folder.glob("*.yaml"))]
    stamp = _stamp(files)
    if kept and (found := _read_kept(stamp)) is not None:
        return found
    rules = _parse(files)
    if kept:
        _keep(stamp, rules)
    return rules


def _parse(files: list[tuple[Path, Path]]) -> tuple[ErrorRule, ...]:
    # Only needed where the kept copy does not do: the parser brings YAML and the vocabulary.
    from advisor.errorbook.parse import read_rule

    mistakes: list[Mistake] = []
    rules: dict[str, ErrorRule] = {}
    for path, folder in files:
        shown = f"{folder.parent.name}/{folder.name}/{path.name}"
        if not path.resolve().is_relative_to(folder.resolve()):
            mistakes.append(Mistake(shown, "leads outside the folder of rules"))
            continue
        rule = read_rule(path, shown, mistakes)
        if rule and rule.id in rules:
            mistakes.append(Mistake(shown, f"the id {rule.id} is taken by {rules[rule.id].path}"))
        elif rule:
            rules[rule.id] = rule
    mistakes.extend(_strangers(rules))
    if mistakes:
        raise RulebookError(*mistakes)
    return tuple(rules.values())


def _strangers(rules: dict[str, ErrorRule]) -> Iterator[Mistake]:
    """Names after `over` that no rule has."""
    for rule in rules.values():
        for sign in rule.signs:
            for name in sign.over:
                if name != "memory" and name not in rules:
                    yield Mistake(f"{rule.path}:{sign.line}", f"over: no rule is called {name}")


def _stamp(files: list[tuple[Path, Path]]) -> list[Any]:
    """The state of the files and of the code that reads them."""
    here = Path(__file__).parent
    code = [here / "parse.py", here / "rule.py", here.parent / "vocabulary.py"]
    return [FORMAT, *copies.state([*(path for path, _ in files), *code])]


def _read_kept(stamp: list[Any]) -> tuple[ErrorRule, ...] | None:
    """The kept rules of this state; None where there are none or they do not read like rules."""
    data = copies.read(KIND, "all")
    if data is None or data.get("stamp") != stamp:
        return None
    try:
        return tuple(from_json(rule) for rule in data["rules"])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def _keep(stamp: list[Any], rules: tuple[ErrorRule, ...]) -> None:
    copies.write(KIND, "all", {"stamp": stamp, "rules": [to_json(rule) for rule in rules]})
