"""What a failing measurement means, by the same rules as `perf-advisor explain`."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from advisor import errorbook, explaining, rulebook
from advisor.commands import options as common
from advisor.run.figures import Failed
from advisor.run.healing import Explained

LOG_CHARACTERS = 20_000


def explainer(rules: Sequence[str] = ()) -> Callable[[Failed], Explained | None]:
    """A function that explains failures; `rules` are the user's own folders. Rules are read at the first failure."""
    own = [folder for path in rules if (folder := Path(path) / "errors").is_dir()]

    @cache
    def explained(failed: Failed) -> Explained | None:
        text = f"{failed.log[-LOG_CHARACTERS:]}\n{failed.reason}"
        book = errorbook.load(rulebook.shipped() / "errors", *own)
        found = explaining.explain(text, "log", common.last_machine(), book)
        if not found.recognized or found.kind is None or found.cause is None or found.rule is None:
            return None
        changes = tuple(fix.change for fix in found.fixes if fix.change and fix.applies in ("yes", "unknown"))
        return Explained(found.kind, found.cause, found.rule, found.what, found.why, changes)

    return explained
