"""Predicted speed of a request: every prompt of every request in flight, put at one moment.

    request = for each call of generate: prefill + (new tokens - 1) * step

Pure and quick: the planner asks about hundreds of setups. What is not known gives None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from advisor.estimate import calls, continuous, encoding
from advisor.estimate.attention import as_it_runs
from advisor.estimate.running import Running, running
from advisor.estimate.terms import Terms, Timed
from advisor.facts import Facts
from advisor.plan import Memory, Speed
from advisor.setup import Setup
from advisor.workload import Workload

COMPILE_SECONDS = (6.0, 28.0)
"""What the first call costs when generate compiles: 6 s with Inductor's cache filled, 17 to 28 s without (20M to 600M
models on two idle cores; a slower or busy machine takes longer)."""
COMPILE_FORWARD_SECONDS = (11.0, 47.0)
"""The same for torch.compile of forward with a growing cache."""


def speed(model: Facts, machine: Facts, workload: Workload, setup: Setup, memory: Memory) -> Speed:
    """Predicted speed of `workload`; None in every field that cannot be known. `Speed` says what the fields mean.

    A request that is not repeated pays for compilation itself.
    """
    if workload.task == "encode":
        return encoding.speed(model, machine, workload, setup, memory)
    # Nobody measured what the exchanges between ranks take.
    ranks = setup.tensor_parallel or 1
    timed = None if ranks > 1 else _timed(model, machine, workload, setup, memory)
    if timed is None:
        return Speed(None, None, None)
    seconds = timed.seconds
    if not workload.repeats and (compiling := compile_seconds(setup)):
        seconds += sum(compiling) / 2
    tokens = workload.batch * workload.concurrency * workload.new_tokens
    return Speed(timed.ttft, timed.decode_rate, tokens / seconds, timed.bound, timed.last_ttft)


def compile_seconds(setup: Setup) -> tuple[float, float] | None:
    """What the first call costs more because of compilation, in seconds (least, most); None when nothing compiles."""
    return {"generate": COMPILE_SECONDS, "forward": COMPILE_FORWARD_SECONDS}.get(setup.compile or "none")


def break_even_calls(
    model: Facts, machine: Facts, workload: Workload, setup: Setup, memory: Memory
) -> tuple[float, float] | None:
    """Requests of `workload` after which compilation as in `setup` has paid back (least, most).

    None when `setup` compiles nothing, when compilation saves nothing, or when the speed is unknown.
    """
    cost = compile_seconds(setup)
    plain = _timed(model, machine, workload, setup.changed({"compile": "none"}), memory)
    compiled = _timed(model, machine, workload, setup, memory)
    if cost is None or plain is None or compiled is None or plain.seconds <= compiled.seconds:
        return None
    saved = plain.seconds - compiled.seconds
    return cost[0] / saved, cost[1] / saved


@dataclass(frozen=True)
class Part:
    """Equal calls: how many, seconds to the first token of one, its average step after that, and seconds of one."""

    call: calls.Call
    first: float
    step: Terms
    seconds: float


def _timed(model: Facts, machine: Facts, workload: Workload, setup: Setup, memory: Memory) -> Timed | None:
    found = running(model, machine, as_it_runs(model, machine, workload, setup), memory)
    if found is None:
        return None
    if setup.batching == "continuous":
        return continuous.timed(found, workload)
    timed = [_call(found, workload, call) for call in calls.calls(workload, setup)]
    parts = [part for part in timed if part is not None]
    if len(parts) < len(timed):
        return None
    made = sum(part.call.count * part.call.rows for part in parts)
    decoding = sum(part.call.count * part.step.total for part in parts)
    seconds = sum(part.call.count * part.seconds for part in parts)
    return Timed(
        ttft=_half_way(parts),
        last_ttft=seconds - parts[-1].seconds + parts[-1].first,
        seconds=seconds,
        decode_rate=made / decoding,
        bound=parts[0].step.bound,
    )


def _half_way(parts: Sequence[Part]) -> float:
    """Seconds until half of the prompts have their first token; calls follow one another, each with its prompts."""
    half, before = ceil(sum(part.call.count * part.call.rows for part in parts) / 2), 0.0
    for part in parts:
        needed = ceil(half / part.call.rows)
        if needed <= part.call.count:
            return before + (needed - 1) * part.seconds + part.first
        half -= part.call.count * part.call.rows
        before += part.call.count * part.seconds
    raise AssertionError("the prompt in the middle is in one of the calls")


def _call(found: Running, workload: Workload, call: calls.Call) -> Part | None:
    """One call: its prompts read together, then a step for each further token."""
    first = found.prefill(call.rows, call.prompt_tokens)
    # A growing cache is half way through the new tokens on average; a static one is read whole from the start.
    grown = 1.0 if found.setup.cache_implementation in ("static", "offloaded_static") else 0.5
    tokens = call.prompt_tokens + grown * workload.new_tokens
    if found.setup.use_cache is False:
        step = found.recomputed(call.rows, call.prompt_tokens + 0.5 * workload.new_tokens)
    else:
        step = found.step(call.rows, tokens)
    if first is None or step is None:
        return None
    return Part(call, first, step, first + (workload.new_tokens - 1) * step.total)
