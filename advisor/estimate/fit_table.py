"""Does it fit: the memory of one setup over types of weights and lengths of context, by the formula."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from advisor.estimate.band import memory_band
from advisor.estimate.memory import memory
from advisor.estimate.offload import placement
from advisor.facts import Facts, Value
from advisor.plan import Memory
from advisor.setup import Setup
from advisor.workload import Workload

SHORTEST_TOKENS = 2048
MOST_COLUMNS = 6
SIXTEEN_BITS = ("bfloat16", "float16")
ROWS: dict[str, tuple[str | None, str | None]] = {
    "int8": ("bnb_int8", "bitsandbytes"),
    "nf4": ("bnb_nf4", "bitsandbytes"),
}
"""The quantizations that a row stands for, each with the package that it needs."""

Sized = Callable[[Facts, Facts, Workload, Setup], Memory]


@dataclass(frozen=True)
class Cell:
    """One length of context, prompt and answer together, and what it takes; None where that is not known.

    `spills` says that a part of the weights lies in RAM, of which `total_bytes` counts only what is fetched.
    """

    context_tokens: int
    total_bytes: int | None
    available_bytes: int | None
    fits: bool | None
    spills: bool = False


@dataclass(frozen=True)
class Row:
    """One type of weights. `change` leads to it from the setup of the plan, `needs` is a package that is missing.

    `band` holds the factors on a total between which it should lie.
    """

    weights: str
    change: dict[str, Value]
    needs: str | None
    band: tuple[float, float] | None
    cells: tuple[Cell, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def fit_table(
    model: Facts, machine: Facts, workload: Workload, setup: Setup, sized: Sized = memory
) -> tuple[Row, ...] | None:
    """Rows over types of weights, each with a cell for every length; None for what does not generate."""
    if workload.task != "generate":
        return None
    lengths = contexts(model.count("model.context_tokens"), workload.new_tokens)
    rows = []
    for weights, change in _changes(model, setup).items():
        cells = tuple(_cell(model, machine, workload, setup.changed(change), length, sized) for length in lengths)
        package = ROWS.get(weights, (None, None))[1]
        missing = package is not None and not machine.is_true(f"{package}.installed")
        reached = setup.changed(change)
        band = memory_band(model, machine, reached, sized(model, machine, workload, reached))
        rows.append(Row(weights, change, package if missing else None, band, cells))
    return tuple(rows)


def contexts(longest: int | None, new_tokens: int) -> tuple[int, ...]:
    """Lengths from 2048 tokens by doubling, the model's own context last; every other one where they are too many."""
    end = longest or SHORTEST_TOKENS
    found = [SHORTEST_TOKENS]
    while 2 * found[-1] < end:
        found.append(2 * found[-1])
    while len(found) >= MOST_COLUMNS:
        found = found[::2]
    kept = [length for length in found if new_tokens < length < end]
    return (*kept, end) if new_tokens < end else ()


def _changes(model: Facts, setup: Setup) -> dict[str, dict[str, Value]]:
    """The rows by name. A checkpoint that is quantized already has one, as it is."""
    method = model.text("model.checkpoint_quantization")
    if method not in (None, "none"):
        return {method: {}}
    sixteen = setup.dtype if setup.dtype in SIXTEEN_BITS else "bfloat16"
    plain: dict[str, Value] = {"dtype": sixteen, "quantization": "none"}
    quantized: dict[str, dict[str, Value]] = {
        name: {**plain, "quantization": scheme} for name, (scheme, _) in ROWS.items() if scheme is not None
    }
    return {sixteen: plain, **quantized}


def _cell(model: Facts, machine: Facts, workload: Workload, setup: Setup, context: int, sized: Sized) -> Cell:
    longer = replace(workload, prompt_tokens=context - workload.new_tokens)
    found = sized(model, machine, longer, setup)
    where = placement(model, machine, setup, found.weights_bytes)
    spills = where is not None and where.in_ram > 0 and not where.on_disk
    return Cell(context, found.total_bytes, found.available_bytes, found.fits, spills)
