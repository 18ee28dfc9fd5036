"""Seconds of a request that continuous batching answers: those of the passes that the scheduler would make."""

from collections.abc import Iterator
from functools import lru_cache
from math import ceil

from advisor.estimate import flowing
from advisor.estimate.activations import MOST_BATCH_TOKENS
from advisor.estimate.cache import ACCELERATOR_PAGE_TOKENS, PAGE_TOKENS
from advisor.estimate.running import Running
from advisor.estimate.terms import Packed, Terms, Timed
from advisor.setup import Setup
from advisor.workload import Workload

CALL_SECONDS, PASS_SECONDS = 0.5, 1.5e-3
"""What generate_batch takes on a CPU outside the model: once for a call (its thread, cache and tables: 0.51 to 0.55 s
in four of four) and for each pass (scheduling and indices: 0.9 to 2.0 ms; 20M model, 8 and 16 prompts, two types,
transformers 5.22). On accelerators nobody measured it, and nothing is added."""

TURNOVERS = 4
"""Requests that are simulated, in units of those in flight at a time."""


def timed(found: Running, workload: Workload) -> Timed | None:
    """The request as `found` runs it; None where the passes cannot be told."""
    prompts = workload.batch * workload.concurrency
    # What comes after goes on as it began.
    groups, size = flowing.grouped(min(prompts, max(flowing.MOST_REQUESTS, TURNOVERS * _in_flight(workload, found))))
    more = prompts / (groups * size)
    limits = flowing.shared_out(_limits(workload, found), size)
    plan = _scheduled(groups, workload.prompt_tokens, workload.mixed_lengths, workload.new_tokens, limits)
    call, around = (CALL_SECONDS, PASS_SECONDS) if found.on_cpu else (0.0, 0.0)
    seconds = last = decoding = made = 0.0
    ttft: float | None = None
    begun = 0
    for passes, terms in _told(found, plan, size):
        if terms is None:
            return None
        taken = passes.count * (terms.total + around)
        seconds += taken
        if passes.decoding:
            decoding += taken
            made += size * (passes.count * passes.decoding + passes.begun)
        begun += passes.first
        last = seconds if passes.first else last
        ttft = seconds if ttft is None and 2 * begun >= groups else ttft
    step = found.step(prompts, workload.prompt_tokens)
    if ttft is None or step is None:
        return None
    # One new token a prompt decodes nothing: the rate is that of the steps that would follow.
    rate = made / decoding if decoding else prompts / step.total
    return Timed(call + more * ttft, call + more * last, call + more * seconds, rate, step.bound)


def _told(found: Running, plan: tuple[flowing.Pass, ...], size: int) -> Iterator[tuple[flowing.Pass, Terms | None]]:
    """Each run of passes with the terms of one of them, each sequence standing for `size` ones."""
    for one in plan:
        counts = (one.decoding, one.reading, one.begun / one.count, one.sequences, one.held, one.pairs)
        yield one, found.packed(Packed(*(size * count for count in counts)))


def _in_flight(workload: Workload, found: Running) -> int:
    prompts = workload.batch * workload.concurrency
    return min(found.setup.batch_size or prompts, prompts)


def _limits(workload: Workload, found: Running) -> flowing.Limits:
    """Limits as a recipe sets them where the setup does not: pages for the longest requests of all in flight."""
    setup: Setup = found.setup
    rows = _in_flight(workload, found)
    longest = workload.prompt_tokens + workload.new_tokens
    page = setup.page_size or (PAGE_TOKENS["cpu"] if found.on_cpu else ACCELERATOR_PAGE_TOKENS)
    most = setup.max_batch_tokens or min(MOST_BATCH_TOKENS, max(longest, rows * workload.prompt_tokens))
    return flowing.Limits(most, page, rows * (ceil(longest / page) + 1))


@lru_cache(maxsize=256)
def _scheduled(
    requests: int, prompt_tokens: int, mixed: bool, new_tokens: int, limits: flowing.Limits
) -> tuple[flowing.Pass, ...]:
    """The passes; a planner asks for the same ones with many setups."""
    lengths = flowing.drawn_lengths(requests, prompt_tokens, mixed)
    return tuple(flowing.passes(lengths, new_tokens, limits))
