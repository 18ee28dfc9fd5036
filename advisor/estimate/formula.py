"""An estimate by closed formula: memory and speed of a setup from facts alone, without torch and in well under 1 ms."""

from dataclasses import replace

from advisor import learnt as own
from advisor.estimate import drafting, training
from advisor.estimate import speed as speeds
from advisor.estimate.band import memory_band, speed_band
from advisor.estimate.calls import calls
from advisor.estimate.memory import memory
from advisor.estimate.quantized import scheme_of
from advisor.estimate.room import device
from advisor.estimate.weights import dtype
from advisor.facts import Facts, Unknown
from advisor.plan import Estimate, Speed
from advisor.setup import Setup
from advisor.workload import Workload


def estimate(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> Estimate:
    """Predicted memory and speed, with the bands of both and the basis `formula`. Of training only the memory."""
    needed = memory(model, machine, workload, setup)
    if workload.task == "train":
        return Estimate(needed, Speed(None, None, None), "formula", training.band(needed), None)
    predicted = speeds.speed(model, machine, workload, setup, needed)
    spread = memory_band(model, machine, setup, needed)
    if predicted.total_tokens_per_second is None:
        return Estimate(needed, predicted, "formula", spread, None)
    learnt = own.of_kind(machine, own_kind(model, machine, workload, setup))
    usual = speed_band(model, machine, setup)
    return Estimate(
        memory=needed,
        speed=predicted if learnt is None else _corrected(predicted, learnt),
        basis="formula",
        memory_band=spread,
        speed_band=usual if learnt is None or usual is None else learnt.band(usual),
        speed_basis=_speed_basis(machine, setup, learnt),
    )


def uncorrected(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> Estimate:
    """The same without what own runs taught: what they are compared with."""
    return estimate(model, machine | Facts({own.FACT: Unknown("left out")}), workload, setup)


def own_kind(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> str:
    """The kind under which own runs of this setup count."""
    together = any(call.rows > 1 for call in calls(workload, setup))
    return own.kind(setup, dtype(model, machine, setup) or "unknown", scheme_of(model, setup), together)


def _corrected(speed: Speed, learnt: own.Learnt) -> Speed:
    """The last first token follows the one in the middle: of a single call they are the same."""
    found = {name: getattr(speed, name) for name in own.FIGURES}
    told = {name: value and value * learnt.factors.get(name, 1.0) for name, value in found.items()}
    last = speed.last_ttft_seconds
    return replace(speed, last_ttft_seconds=last and last * learnt.factors.get("ttft_seconds", 1.0), **told)


def _speed_basis(machine: Facts, setup: Setup, learnt: own.Learnt | None) -> str:
    found = "constants measured on this machine" if _is_measured(machine, setup) else "figures of the device's name"
    if learnt is None:
        return found
    return f"{found}, corrected by {learnt.runs} of your own runs"


def _is_measured(machine: Facts, setup: Setup) -> bool:
    timed = machine.text("speed.device")
    return timed is not None and (timed == "cpu") == (device(machine, setup) == "cpu")


def break_even_calls(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> tuple[float, float] | None:
    """Requests after which compilation as in `setup` has paid back (least, most); None where nobody can say."""
    needed = memory(model, machine, workload, setup)
    return speeds.break_even_calls(model, machine, workload, setup, needed)


def break_even_acceptance(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> float | None:
    """The share of drafted tokens that must be right for drafting to pay; None where no speed is known."""
    needed = memory(model, machine, workload, setup)
    return drafting.break_even_acceptance(model, machine, workload, setup, needed)
