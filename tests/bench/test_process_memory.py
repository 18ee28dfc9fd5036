"""The bands on a CPU hold what was measured of whole processes."""

import json
from pathlib import Path

import pytest

from advisor.estimate.band import CPU_BAND, DRY_RUN_ON_CPU

RESULT = Path(__file__).parents[2] / "bench" / "results" / "process-memory-cpu-2-cores.json"


@pytest.mark.parametrize(("way", "band"), [("formula", CPU_BAND), ("dry run", DRY_RUN_ON_CPU)])
def test_every_process_lies_within_the_band(way: str, band: tuple[float, float]) -> None:
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    factors = [row["measured_over_predicted"][way] for row in rows if "measured_over_predicted" in row]
    assert len(factors) >= 8
    assert all(factor is not None and band[0] <= factor <= band[1] for factor in factors)
