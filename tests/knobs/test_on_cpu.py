"""Every knob on the CPU: the recipe runs as it is written, every prompt gets its tokens, and the knob is in force."""

from typing import Any

import pytest
import running

pytestmark = pytest.mark.models
pytest.importorskip("transformers")


CASES = {case.name: case for case in running.cases.CASES}


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen of the cases that this run of pytest is about; imports are paid once for all of them."""
    found: dict[str, Any] = running.observed(
        [CASES[name] for name in running.asked_for(request)], "cpu", tmp_path_factory.mktemp("knobs")
    )
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_knob_is_in_force(name: str, request: pytest.FixtureRequest) -> None:
    case = CASES[name]
    if why := running.not_run(case, "cpu"):
        pytest.skip(why)
    assert running.wrong(case, request.getfixturevalue("answers"), "cpu") == []
