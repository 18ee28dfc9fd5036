"""An estimate by closed formula: memory and speed of a setup from facts alone, without torch and in well under 1 ms."""

from advisor.estimate import drafting, training
from advisor.estimate import speed as speeds
from advisor.estimate.band import memory_band, speed_band
from advisor.estimate.memory import memory
from advisor.facts import Facts
from advisor.plan import Estimate, Speed
from advisor.setup import Setup
from advisor.workload import Workload


def estimate(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> Estimate:
    """Predicted memory and speed, with the bands of both and the basis `formula`. Of training only the memory."""
    needed = memory(model, machine, workload, setup)
    if workload.task == "train":
        return Estimate(needed, Speed(None, None, None), "formula", training.band(needed), None)
    predicted = speeds.speed(model, machine, workload, setup, needed)
    return Estimate(
        memory=needed,
        speed=predicted,
        basis="formula",
        memory_band=memory_band(model, machine, setup, needed),
        speed_band=None if predicted.total_tokens_per_second is None else speed_band(model, machine, setup),
    )


def break_even_calls(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> tuple[float, float] | None:
    """Requests after which compilation as in `setup` has paid back (least, most); None where nobody can say."""
    needed = memory(model, machine, workload, setup)
    return speeds.break_even_calls(model, machine, workload, setup, needed)


def break_even_acceptance(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> float | None:
    """The share of drafted tokens that must be right for drafting to pay; None where no speed is known."""
    needed = memory(model, machine, workload, setup)
    return drafting.break_even_acceptance(model, machine, workload, setup, needed)
