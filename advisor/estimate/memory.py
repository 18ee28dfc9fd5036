"""Predicted memory of a setup by a closed formula, without torch and in well under a millisecond.

    peak = weights + max(cache after the prompt + activations of the prompt, cache at the end + one step) + overhead

The terms stand in weights.py, cache.py and activations.py. Nothing unknown is replaced: a term that cannot be known
is None, and with it the total.
"""

from collections.abc import Callable
from dataclasses import replace

from advisor.estimate import encoding, training
from advisor.estimate.activations import Peaks, peaks
from advisor.estimate.attention import as_it_runs
from advisor.estimate.cache import Kept, kept, request
from advisor.estimate.offload import Placement, placement
from advisor.estimate.older_releases import with_older
from advisor.estimate.room import Room, device, room
from advisor.estimate.weights import BYTES, dtype, weights_bytes
from advisor.facts import Facts
from advisor.plan import Memory
from advisor.setup import Setup
from advisor.workload import LARGEST, Workload

RESIDENT_LAYERS = 2
"""Layers of an offloaded cache that are on the device at a time: the one in use and the one that is fetched."""


def memory(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> Memory:
    """Predicted bytes on the devices that run the model, for the largest call that answers the workload.

    With a device_map the devices are counted together, and weights that go to RAM count only while they do not fit
    there either. An offloaded cache counts whole in `kv_cache_bytes`, in the total with the layers on the device.
    """
    if workload.task == "train":
        return training.memory(model, machine, workload, setup)
    where = device(machine, setup)
    weights = weights_bytes(model, machine, setup, where)
    there = room(machine, setup)
    itemsize = BYTES.get(dtype(model, machine, setup) or "")
    cache, passes = _needed(model, machine, workload, setup, itemsize)
    if workload.task == "encode":
        weights = encoding.without_head(weights, model, itemsize)
    running = _running(setup, cache, passes, there)
    total = fits = available = None
    where_to = placement(model, machine, setup, weights)
    if weights is not None and running is not None and there.overhead_bytes is not None:
        total, available, fits = _placed(weights, where_to, running + there.overhead_bytes, there)
    return Memory(
        weights_bytes=weights,
        kv_cache_bytes=cache.end if cache else None,
        kv_cache_peak_bytes=cache.peak if cache else None,
        activation_peak_bytes=max(passes.prefill, passes.decode) if passes else None,
        overhead_bytes=there.overhead_bytes,
        total_bytes=total,
        available_bytes=there.available_bytes if available is None else available,
        fits=fits,
        fetched_bytes=where_to.away if where_to else None,
    )


def _needed(
    model: Facts, machine: Facts, workload: Workload, setup: Setup, itemsize: int | None
) -> tuple[Kept | None, Peaks | None]:
    """The cache and the activations of the largest call; None where they cannot be known."""
    if itemsize is None:
        return None, None
    call, runs = request(workload, setup), as_it_runs(model, machine, workload, setup)
    if workload.task == "encode":
        return encoding.needed(model, machine, workload, runs, call, itemsize)
    cache = kept(model, machine, setup, call, itemsize)
    passes = None if cache is None else peaks(model, workload, runs, call, cache, itemsize)
    if cache is None or passes is None:
        return cache, passes
    return cache, with_older(passes, model, machine, runs, call, cache, itemsize)


def _running(setup: Setup, cache: Kept | None, passes: Peaks | None, there: Room) -> int | None:
    """Bytes beside the weights at the worst moment: at the end of the prompt or at the last token."""
    if cache is None or passes is None:
        return None
    prefill, end = cache.prefill, cache.end
    if setup.cache_implementation in ("offloaded", "offloaded_static"):
        prefill = end = min(cache.peak, RESIDENT_LAYERS * cache.layer)
    # On several devices each holds activations of its own.
    return max(prefill + there.devices * passes.prefill, end + there.devices * passes.decode)


def _placed(weights: int, where: Placement | None, running: int, there: Room) -> tuple[int, int | None, bool | None]:
    """Total, available and whether it fits. What waits in RAM is no part of the total, but for what is fetched."""
    if there.available_bytes is None or where is None:
        return weights + running, there.available_bytes, None
    if where.on_disk:
        return weights + running, there.available_bytes + (there.spill_limit_bytes or 0), False
    total = where.staying + where.visiting + running
    return total, there.available_bytes, total + there.slack_bytes <= there.available_bytes


def largest_batch(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> int | None:
    """The most prompts of this workload that fit in one call; 0 when not even one does, None when nobody can say."""

    def fits(rows: int) -> bool | None:
        wide = replace(workload, batch=rows, concurrency=1)
        return memory(model, machine, wide, replace(setup, batch_size=rows)).fits

    return 1 if setup.batching == "loop" and fits(1) else _largest(fits)


def largest_context(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> int | None:
    """The most tokens of one sequence, prompt and new ones, that fit with this batch and these new tokens.

    Not more than the model was made for. 0 when not even one token of prompt fits, None when nobody can say.
    """

    def fits(prompt: int) -> bool | None:
        return memory(model, machine, replace(workload, prompt_tokens=prompt), setup).fits

    prompt = _largest(fits)
    if not prompt:
        return prompt
    longest = model.count("model.context_tokens")
    tokens = replace(workload, prompt_tokens=prompt).total_tokens
    return tokens if longest is None else min(tokens, longest)


def _largest(fits: Callable[[int], bool | None]) -> int | None:
    """The largest count that fits, by doubling and bisection; what fits is taken to grow no smaller with the count."""
    first = fits(1)
    if not first:
        return None if first is None else 0
    low, high = 1, 2
    while high < LARGEST and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
