"""Facts about how many prompts go into one call, or are in flight at a time, as memory allows. Pure."""

import math
from collections.abc import Callable
from dataclasses import replace

from advisor.facts import Deferred, Fact, Known, Unknown, Value
from advisor.plan import Estimate
from advisor.setup import Setup
from advisor.workload import Workload

LargestBatch = Callable[[Setup], int | None]

SORTED_BATCHES, LEAST_SORTED_BATCH = 8, 8
"""Batches into which sorted texts are cut, and the least in one: with lengths spread evenly between a
quarter and the whole, 7 % of what is computed is then padding, against 37 % in a single batch (counted)."""
MOST_BATCH_TOKENS, LEAST_BATCH_TOKENS = 2048, 256
"""Tokens of one step of continuous batching: larger steps gain nothing (products are bound by arithmetic long before),
and SDPA's mask grows with tokens x cache; smaller ones stretch prefill over many steps."""
CONTINUOUS: dict[str, Value] = {"batching": "continuous", "cache_implementation": "dynamic", "compile": "none"}


def batches(largest_batch: LargestBatch, load: Workload, setup: Setup) -> dict[str, Deferred]:
    """How many prompts of the workload go into one call."""
    padded = setup.changed({"batching": "padded"})
    prompts = load.batch * load.concurrency

    def largest() -> Fact:
        found = largest_batch(padded if setup.batching == "loop" else setup)
        return _known(_even(load.batch, found) if found else None, "not even one prompt fits, or no size")

    def shared() -> Fact:
        found = largest_batch(padded)
        return _known(_even(prompts, found) if found else None, "not even one prompt fits, or no size")

    def sorted_batch() -> Fact:
        found = largest_batch(padded)
        wanted = setup.batch_size or max(LEAST_SORTED_BATCH, math.ceil(prompts / SORTED_BATCHES))
        fitting = wanted if found and wanted <= found else _even(prompts, found) if found else None
        return _known(fitting, "not even one text fits, or no size")

    def leaves_room() -> Fact:
        found = largest_batch(setup)
        rows = 1 if setup.batching == "loop" else setup.batch_size or load.batch
        return _known(None if found is None else found > 0 and rows < _even(load.batch, found), "no size is known")

    return {
        "estimate.largest_batch": Deferred(largest),
        "estimate.largest_shared_batch": Deferred(shared),
        "estimate.sorted_batch": Deferred(sorted_batch),
        "estimate.batch_leaves_room": Deferred(leaves_room),
    }


def leanest(load: Workload, setup: Setup) -> Setup:
    """`setup` with one prompt in a call, where a call takes several of them."""
    several = setup.batching in ("padded", "sorted") and (setup.batch_size or load.batch) > 1
    return setup.changed({"batch_size": 1}) if several and load.task != "train" else setup


def _even(prompts: int, most: int) -> int:
    """Prompts in one call when all are shared out evenly over as few calls as possible.

    A call of 62 and one of 2 take the memory of 62, and more time than two of 32.
    """
    return math.ceil(prompts / math.ceil(prompts / most))


def passes(largest_batch: LargestBatch, load: Workload, setup: Setup, wide: Setup) -> dict[str, Deferred]:
    """How many sequences of a training step go through in one pass, so that the step stays what it is; `wide` is the
    setup with float32 weights."""

    def divisor(stated: Setup) -> int | None:
        """The most that fit and divide the step: gradients of equal parts add up to the gradient of the whole."""
        # How prompts reach generate is nothing to training.
        if (found := largest_batch(stated.changed({"batching": "padded"}))) is None:
            return None
        return next((n for n in range(min(found, load.batch), 0, -1) if load.batch % n == 0), 0)

    def sequences() -> Fact:
        return _known(divisor(setup), "no size is known")

    def tokens() -> Fact:
        found = divisor(setup)
        return _known(None if found is None else found * load.prompt_tokens, "no size is known")

    def float32_sequences() -> Fact:
        return _known(divisor(wide), "no size is known")

    def float32_passes() -> Fact:
        found = divisor(wide)
        return _known(load.batch // found if found else None, "not even one sequence fits, or no size")

    return {
        "estimate.micro_batch": Deferred(sequences),
        "estimate.micro_batch_tokens": Deferred(tokens),
        "estimate.float32_micro_batch": Deferred(float32_sequences),
        "estimate.float32_passes": Deferred(float32_passes),
    }


def in_flight(
    largest_batch: LargestBatch, estimate: Callable[[Setup], Estimate], load: Workload, setup: Setup
) -> dict[str, Deferred]:
    """What continuous batching holds at a time: requests, where they are not all, and tokens of one step."""
    paged = replace(setup.changed(CONTINUOUS), batch_size=None)

    def limit() -> Fact:
        found = largest_batch(replace(paged, max_batch_tokens=LEAST_BATCH_TOKENS))
        if found and found < load.batch * load.concurrency:
            return Known(found, "estimate")
        return Unknown("all fit" if found else "not even one fits, or no size")

    def tokens() -> Fact:
        """The most tokens that fit, as a power of two."""
        rows = limit()
        limited = paged.changed({"batch_size": rows.value}) if isinstance(rows, Known) else paged
        size = MOST_BATCH_TOKENS
        while size >= LEAST_BATCH_TOKENS:
            if estimate(replace(limited, max_batch_tokens=size)).memory.fits:
                return Known(size, "estimate")
            size //= 2
        return Unknown("no step of continuous batching is known to fit")

    return {"estimate.in_flight_limit": Deferred(limit), "estimate.batch_tokens": Deferred(tokens)}


def _known(value: Value | None, reason: str) -> Fact:
    return Unknown(reason) if value is None else Known(value, "estimate")
