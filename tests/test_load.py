"""`apply --request-rate R --requests N`: what cannot be made is one line and exit code 2."""

import pytest

from advisor import cli
from advisor.commands.load import under_load
from advisor.errors import RequestError
from advisor.facts import Facts
from advisor.plan import Estimate, Memory, ModelReference, Plan, Speed
from advisor.setup import Setup
from advisor.workload import Arrivals, Workload

NOTHING = Estimate(Memory(*[None] * 8), Speed(None, None, None), "formula", None, None)
PLAN = Plan(
    ModelReference("folder", "m", None, False), Facts(), Workload(repeats=False), Facts(), Setup(), {}, NOTHING,
    Setup(), NOTHING, (), (), (), (), {}, (),
)  # fmt: skip


def test_a_rate_makes_requests_of_the_prompts_at_hand() -> None:
    loaded = under_load(PLAN, 2.0, None)
    assert loaded.workload.arrivals == Arrivals(32, 2.0)
    assert loaded.workload.repeats, "a process that serves arrivals is no process for one request"
    assert "arrivals" not in loaded.workload.to_json(), "no plan file holds them"
    assert under_load(PLAN, None, None) is PLAN


def test_a_number_without_a_rate_is_refused() -> None:
    with pytest.raises(RequestError, match="add --request-rate"):
        under_load(PLAN, None, 8)
    with pytest.raises(RequestError, match="not between 1 and 1000"):
        under_load(PLAN, 2.0, 5000)


@pytest.mark.parametrize("text", ["0", "-1", "fast", "1e9", "999999", "nan"])
def test_an_odd_rate_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["apply", "--plan", "x", f"--request-rate={text}"])
    assert ended.value.code == 2
    assert "like 2 or 0.5" in capsys.readouterr().err
