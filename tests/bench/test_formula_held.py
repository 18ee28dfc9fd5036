"""The formula stays within 3 % of what the model's own code said of every shipped shape, or the reason stands here."""

import json
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import formula_held as bench

from advisor.estimate.band import AGAINST_DRY_RUN, COMPARED_TYPES
from advisor.estimate.dryrun.ask import DryRun, ask
from advisor.probe import shapes

RESULT = Path(__file__).parents[2] / "bench" / "results" / "formula-held.json"
MOST = 0.03
WHY = {
    (
        "deepseek-v2-lite",
        "sdpa",
    ): "on the CPU's plain path one more copy of keys and values counts than for DeepSeek-V3",
    ("phi-3-mini-4k", "sdpa"): "where its window ends within the prompt, the code holds half a mask more than is known",
}
"""Why a case is further off, by shape and attention. Their totals are within 3 % all the same."""
NOT_RUN = {"qwen3-next-80b-a3b": "a minute does not suffice for its Python loop over the prompt"}
LIVE = (("smollm2-135m", "eager"), ("gemma-3-1b", "sdpa"))


@cache
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    return found


def rows() -> list[dict[str, Any]]:
    return [row for row in recorded()["rows"] if "dry_run" in row]


def errors(row: dict[str, Any]) -> dict[str, float | None]:
    return bench.errors(row, recorded()["versions"]["transformers"])


def test_every_shape_that_generates_was_run() -> None:
    assert {row["shape"] for row in rows()} == set(bench.generating()) - set(NOT_RUN)


def test_every_case_is_within_three_per_cent_or_has_a_reason_that_is_still_needed() -> None:
    off = {
        (row["shape"], row["attn_implementation"])
        for row in rows()
        if any(error is None or abs(error) > MOST for error in errors(row).values())
    }
    assert off == set(WHY)


def test_weights_caches_and_totals_have_no_exceptions() -> None:
    for row in rows():
        found = errors(row)
        assert all(abs(found[name] or 0) <= MOST for name in bench.FIGURES if name != "activation_peak"), row["shape"]
        assert found["kv_cache"] is not None and abs(found["kv_cache"]) < 1e-3, row["shape"]


def test_the_band_between_formula_and_dry_run_holds_every_total() -> None:
    factors = [1 / (1 + (errors(row)["total"] or 0)) for row in rows()]
    assert AGAINST_DRY_RUN[0] <= min(factors) and max(factors) <= AGAINST_DRY_RUN[1]


def test_the_types_with_the_usual_band_are_those_that_were_compared() -> None:
    assert {shapes.load(row["shape"]).anatomy.text["model_type"] for row in rows()} == COMPARED_TYPES


@pytest.mark.models
@pytest.mark.parametrize(("shape", "attention"), LIVE)
def test_what_is_recorded_is_what_the_code_says_today(shape: str, attention: str) -> None:
    versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    cases = [case for case in bench.CASES if case.attn_implementation == attention and case.prompt_tokens == 512]
    for case, found in zip(cases, ask(shapes.load(shape).config, cases, sys.executable, versions), strict=True):
        assert isinstance(found, DryRun)
        before = next(
            row for row in rows() if all(row[key] == value for key, value in bench.row(shape, case, found).items()
                                         if key in ("shape", "attn_implementation", "rows", "prompt_tokens"))
        )  # fmt: skip
        now = bench.held(found)
        assert {name: now[name] / before["dry_run"][name] for name in now} == pytest.approx(
            dict.fromkeys(now, 1.0), abs=0.01
        )
