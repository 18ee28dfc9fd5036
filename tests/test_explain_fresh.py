"""Texts of every cause, written from the libraries' sources (and a second set of what people paste): the share that
`explain` reads right. `errors/fresh/README.md` says how they came about, `bench/results/explain-fresh.json` what the
first look at each gave."""

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from advisor import errorbook, rulebook
from advisor.errorbook import MEMORY_KINDS
from advisor.explaining import explain

FRESH = Path(__file__).parent / "errors" / "fresh"
SETS = (
    "first",
    "second",
    "third",
    "fourth",
    "heard",
    "independent",
    "independent-2",
    "independent-3",
    "independent-4",
    "told",
)
PARTS = ("oom", "oom-negatives", "errors", "errors-negatives")
BARS = {"kind": 1.0, "cause": 1.0, "figures": 1.0, "error": 1.0, "symptom": 0.98, "quiet": 1.0}
RULES = errorbook.load(rulebook.shipped() / "errors", kept=False)


def cases(name: str, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FRESH / name / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()]


def close(found: object, wanted: float) -> bool:
    return isinstance(found, (int, float)) and abs(found - wanted) <= max(1, abs(wanted) * 1e-3)


def judged(part: str, case: dict[str, Any]) -> list[tuple[str, bool]]:
    """What of a case is scored, and whether it is right."""
    want, found = case["expect"], explain(case["text"], case["id"], None, RULES).to_json()
    right = found["cause"] in {want["cause"], *want.get("also_plausible", ())} if "cause" in want else False
    if part == "oom":
        scores = [("kind", found["kind"] == want["kind"])]
        scores += [("cause", right)] if want["cause_scored"] else []
        return scores + [("figures", close(found["memory"].get(name), value)) for name, value in want["memory"].items()]
    if part == "errors":
        return [("symptom" if want["category"] == "slow_symptom" else "error", right)]
    quiet = found["kind"] not in MEMORY_KINDS if part == "oom-negatives" else not found["recognized"]
    return [("quiet", quiet)]


@cache
def scored(name: str) -> dict[str, float]:
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for part in PARTS:
        for case in cases(name, part):
            for score, ok in judged(part, case):
                total[score] += 1
                right[score] += ok
    return {score: right[score] / total[score] for score in total}


@pytest.mark.parametrize("name", SETS)
def test_fresh_texts_are_read_right(name: str) -> None:
    reached = scored(name)
    assert {score: share for score, share in reached.items() if share < BARS[score]} == {}
    assert reached


def test_every_cause_has_a_fresh_text() -> None:
    shown = {case["expect"]["cause"] for name in SETS for part in ("oom", "errors") for case in cases(name, part)}
    assert {rule.id for rule in RULES} <= shown


def test_no_text_stands_twice() -> None:
    texts = [case["text"] for name in SETS for part in PARTS for case in cases(name, part)]
    assert len(texts) == len(set(texts)) >= 300
