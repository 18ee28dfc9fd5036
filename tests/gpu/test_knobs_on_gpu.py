"""Every knob on a CUDA device, those included that are possible only there: the bodies of tests/knobs.

Run with: pytest -m gpu
"""

from typing import Any

import pytest
import running

pytestmark = pytest.mark.gpu


CASES = {case.name: case for case in running.cases.CASES}


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen of the cases that this run of pytest is about."""
    found: dict[str, Any] = running.observed(
        [CASES[name] for name in running.asked_for(request)], "cuda", tmp_path_factory.mktemp("knobs")
    )
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_knob_is_in_force(name: str, request: pytest.FixtureRequest) -> None:
    case = CASES[name]
    if why := running.not_run(case, "cuda"):
        pytest.skip(why)
    assert running.wrong(case, request.getfixturevalue("answers"), "cuda") == []
