"""The judge of the knob cases is judged: each way in which a knob can fail to be in force is told."""

from typing import Any

import pytest
import running

KnobCase = running.cases.knob_case.KnobCase
CASE = KnobCase({"use_cache": True}, ("seen.cache",), same_tokens=True)
MUST_FAIL = KnobCase({"attn_implementation": "x"}, fails="not there")
ROWS = [[1, 2, 3, 4], [5, 6, 7, 8]]
PLAIN = running.plain_name(CASE, "cpu")


def answered(tokens: Any = ROWS, holds: bool = True) -> dict[str, Any]:
    return {"tokens": tokens, "looks": {"seen.cache": holds}, "seen": {}}


@pytest.mark.parametrize(
    ("answer", "plain", "told"),
    [
        (answered(), answered(), None),
        (answered(holds=False), answered(), "not so: seen.cache"),
        (answered(tokens=ROWS[:1]), answered(tokens=ROWS[:1]), "did not get their tokens"),
        (answered(tokens=[[1, 2], [5, 6]]), answered(), "did not get their tokens"),
        (answered(), answered(tokens=ROWS[::-1]), "other tokens than without"),
        (answered(), {"error": "ValueError: no"}, "other tokens than without"),
        ({"error": "ValueError: no"}, answered(), "ValueError: no"),
    ],
)
def test_what_does_not_hold_is_told(answer: dict[str, Any], plain: dict[str, Any], told: str | None) -> None:
    found = running.wrong(CASE, {CASE.name: answer, PLAIN: plain}, "cpu")
    assert found == [] if told is None else told in found[0]


def test_what_must_fail_must_fail_for_its_reason() -> None:
    assert running.wrong(MUST_FAIL, {MUST_FAIL.name: {"error": "ValueError: it is not there"}}, "cpu") == []
    assert running.wrong(MUST_FAIL, {MUST_FAIL.name: {"error": "OSError: disk"}}, "cpu")
    assert running.wrong(MUST_FAIL, {MUST_FAIL.name: answered()}, "cpu")


def test_weights_that_are_spread_on_a_gpu_are_drawn_on_the_cpu_in_both_runs() -> None:
    spread = KnobCase({"device_map": "balanced"}, same_tokens=True)
    assert running.plain_setup(spread, "cuda")["device_map"] == "auto"
    assert "device_map" not in running.plain_setup(spread, "cpu")
    assert "device_map" not in running.plain_setup(CASE, "cuda")
