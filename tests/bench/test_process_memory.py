"""The bands on a CPU hold what was measured of whole processes."""

import json
from pathlib import Path

import pytest

from advisor.estimate.band import CPU_LOW, CPU_REST, DRY_RUN_ON_CPU_LOW, HEAP_KEPT

RESULT = Path(__file__).parents[2] / "bench" / "results" / "process-memory-cpu-2-cores.json"


@pytest.mark.parametrize(("way", "low"), [("formula", CPU_LOW), ("dry run", DRY_RUN_ON_CPU_LOW)])
def test_every_process_lies_within_the_band(way: str, low: float) -> None:
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    done = [row for row in rows if "measured_over_predicted" in row]
    assert len(done) >= 8
    for row in done:
        factor = row["measured_over_predicted"][way]
        share = row["moving_bytes"] / (row["measured_bytes"] / factor)
        assert low <= factor <= 1 + CPU_REST + HEAP_KEPT * share, row


def test_the_worst_process_needs_most_of_the_band() -> None:
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    kept = [
        (row["measured_bytes"] - row["measured_bytes"] / row["measured_over_predicted"]["formula"])
        / row["moving_bytes"]
        for row in rows
        if "measured_over_predicted" in row
    ]
    assert max(kept) > 0.8 * HEAP_KEPT
