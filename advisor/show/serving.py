"""Requests that arrived one by one, as rows of the side-by-side table. Nothing predicts them: that column is empty."""

from collections.abc import Callable, Iterator
from typing import Any

from advisor.run.applied import Applied
from advisor.run.figures import Measured, Measurement
from advisor.show.terminal import factor, rate, seconds, size

_ROWS: tuple[tuple[str, str, Callable[[Any], str], bool], ...] = (
    ("first token, half within", "serving.ttft_p50_seconds", seconds, True),
    ("first token, 95 of 100", "serving.ttft_p95_seconds", seconds, True),
    ("answer, half within", "serving.latency_p50_seconds", seconds, True),
    ("answer, 95 of 100", "serving.latency_p95_seconds", seconds, True),
    ("all requests", "serving.tokens_per_second", rate, False),
    ("all answered in", "seconds", seconds, True),
    ("peak memory", "peak_bytes", size, True),
    ("load", "quickest_load_seconds", seconds, True),
)


def is_served(applied: Applied) -> bool:
    """Whether requests arrived one by one on a side that ran."""
    sides = (applied.baseline, applied.comparison.plan)
    return any(isinstance(side, Measured) and side.serving is not None for side in sides)


def rows(applied: Applied) -> Iterator[tuple[str, ...]]:
    """Title, now, nothing, plan, nothing, ratio; a dash where a side has no such figure."""
    for title, name, write, less_is_better in _ROWS:
        one, other = _figure(applied.baseline, name), _figure(applied.comparison.plan, name)
        ratio = (one / other if less_is_better else other / one) if one and other else None
        yield title, write(one), "", write(other), "", "" if ratio is None else factor(ratio)


def remark(applied: Applied) -> str | None:
    """What the verdict goes by; None where no requests arrived one by one."""
    if not is_served(applied) or applied.judged_by_memory:
        return None
    if applied.aim.goal == "latency":
        return "The verdict goes by the answers of 95 of 100 requests: the median hides a queue."
    return "The verdict goes by when all requests are answered; requests that come slowly leave no room for a gain."


def _figure(measurement: Measurement, name: str) -> Any:
    found: Any = measurement if isinstance(measurement, Measured) else None
    for part in name.split("."):
        found = None if found is None else getattr(found, part)
    return found
