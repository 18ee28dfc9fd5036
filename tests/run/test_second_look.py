"""A step that went for another one's sake comes back where it pays, and nothing else is measured again."""

from collections.abc import Callable, Mapping

from advisor.facts import Value
from advisor.plan import Effect, Step
from advisor.run.choices import Choice, setup_of
from advisor.run.fallback import search
from advisor.run.figures import Failed, Measured, Measurement, Peak, Run
from advisor.run.second_look import second_look
from advisor.run.verify import Aim, Comparison, verify
from advisor.setup import Setup

NOW = Setup(dtype="float32", batching="loop", cache_implementation="dynamic", compile="none", quantization="none")
SPEED = Aim("throughput", True, False)


def choice(rung: str, change: Mapping[str, Value]) -> Choice:
    step = Step(f"rule-{rung}", rung, rung, dict(change), Effect(None, None, None), "measured", (), (), 1)
    return Choice(step, 0, rung)


HALF = choice("2-precision", {"dtype": "bfloat16"})
COMPILE = choice("4-compile", {"cache_implementation": "static", "compile": "generate"})
BATCH = choice("6-serve", {"batching": "padded", "batch_size": 8})
PLAN = (HALF, COMPILE, BATCH)


def side(seconds: float) -> Measured:
    peak = Peak(100, None, None, None, None, None)
    runs = (Run(seconds, None, None, 1.0, None, False),) * 2
    return Measured(runs, (1.0,), (seconds,), peak, peak, (), None, {}, "cpu", 1)


def looked(machine: Callable[[Setup], Measurement], most: int = 8) -> tuple[Setup, list[Setup]]:
    """Where search and second look end on a machine, and what the second look measured."""
    seen: list[Setup] = []

    def try_out(setup: Setup) -> Measurement:
        seen.append(setup)
        return machine(setup)

    def compare(setup: Setup, known: Measurement | None) -> Comparison:
        return verify(NOW, setup, SPEED, try_out, known)

    found = search(NOW, PLAN, compare, lambda tried: tried < most)
    del seen[:]
    found = second_look(NOW, found, PLAN, SPEED, try_out, compare, lambda tried: tried < most)
    return setup_of(NOW, found.choices), seen


def seconds(setup: Setup) -> float:
    """Batches help, and so do narrow weights; compiling shapes that change is slow, in batches all the more."""
    slow = {"none": 1.0, "generate": 3.0 if setup.batching == "loop" else 9.0}[str(setup.compile)]
    return slow / (1.3 if setup.dtype == "bfloat16" else 1.0) / (2.0 if setup.batching == "padded" else 1.0)


def test_a_step_that_was_blamed_for_another_comes_back() -> None:
    setup, seen = looked(lambda setup: side(seconds(setup)))
    assert (setup.compile, setup.batching, setup.dtype) == ("none", "padded", "bfloat16")
    assert seen[0] == setup


def test_what_pays_no_better_stays_out_after_one_process() -> None:
    setup, seen = looked(lambda setup: side(seconds(setup) * (2.2 if setup.batching == "padded" else 1.0)))
    assert (setup.compile, setup.batching, setup.dtype) == ("none", "loop", "bfloat16")
    assert len(seen) == 1


def test_what_fails_stays_out() -> None:
    def machine(setup: Setup) -> Measurement:
        odd = setup.batching == "padded" and setup.compile == "none"
        return Failed("generate", "no", "") if odd else side(seconds(setup))

    assert looked(machine)[0].batching == "loop"


def test_a_plan_that_holds_whole_or_not_at_all_is_not_looked_at_again() -> None:
    assert looked(lambda setup: side(1.0 if setup == NOW else 0.5))[1] == []
    assert looked(lambda setup: side(1.0 if setup == NOW else 2.0))[1] == []


def test_without_time_left_there_is_no_second_look() -> None:
    setup, seen = looked(lambda setup: side(seconds(setup)), most=3)
    assert (setup.batching, seen) == ("loop", [])
