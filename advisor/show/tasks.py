"""How a plan's sizes and speeds read, by the task of its workload."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from advisor.estimate import calls
from advisor.plan import Estimate, Plan
from advisor.setup import Setup
from advisor.show.terminal import rate, seconds
from advisor.workload import Workload


@dataclass(frozen=True)
class Row:
    """One line of predicted speed: its title, the field of `Speed` that it shows, and how that is written.

    `by_text` divides a rate of tokens by the mean length of a text; of a rate, more is better.
    """

    title: str
    field: str
    write: Callable[[float | None], str]
    is_rate: bool = True
    by_text: bool = False

    def value(self, estimate: Estimate, load: Workload) -> float | None:
        """The figure; None where it is not known."""
        found: float | None = getattr(estimate.speed, self.field)
        if found is None or not self.by_text:
            return found
        return found * load.batch * load.concurrency / calls.text_tokens(load)


def _texts(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} texts/s" if value >= 100 else f"{value:.3g} texts/s"


ROWS: dict[str, tuple[Row, ...]] = {
    "generate": (
        Row("time to first token", "ttft_seconds", seconds, is_rate=False),
        Row("decode", "decode_tokens_per_second", rate),
        Row("all requests", "total_tokens_per_second", rate),
    ),
    "encode": (
        Row("one batch", "ttft_seconds", seconds, is_rate=False),
        Row("tokens of text", "total_tokens_per_second", rate),
        Row("texts", "total_tokens_per_second", _texts, by_text=True),
    ),
    "train": (),
}
SEVERAL = (
    Row("first token, half within", "ttft_seconds", seconds, is_rate=False),
    Row("first token, all within", "last_ttft_seconds", seconds, is_rate=False),
)
"""Where prompts wait for one another, the time of the lucky half is not everybody's."""
ONE = {"encode": ("text", "text"), "train": ("sequence", "sequence")}
"""What one of the batch is called, and what is longest."""


def rows(plan: Plan) -> tuple[Row, ...]:
    """The lines of predicted speed for a plan; seconds of a batch with the texts in it, now and then. Of prompts that
    do not start at one time the last one's first token too."""
    found = ROWS.get(plan.workload.task, ROWS["generate"])
    if plan.workload.task == "generate" and any(map(_waits, (plan.baseline_estimate, plan.estimate))):
        return (*SEVERAL, *found[1:])
    if plan.workload.task != "encode":
        return found
    now, then = (calls.calls(plan.workload, setup)[0].rows for setup in (plan.baseline, plan.setup))
    sizes = f"{now}" if now == then else f"{now}, of {then}"
    return tuple(replace(row, title=f"one batch of {sizes}") if row.field == "ttft_seconds" else row for row in found)


def _waits(estimate: Estimate) -> bool:
    """Whether a prompt gets its first token after others had theirs."""
    speed, runs = estimate.speed, estimate.memory.fits is not False
    first, last = speed.ttft_seconds, speed.last_ttft_seconds
    return runs and first is not None and last is not None and last > first * 1.005


def sizes(load: Workload) -> str:
    """`8 prompts of 512 tokens, 128 new each`; `64 texts of 256 tokens`."""
    if load.task == "encode":
        return f"{_counted(load.batch, 'text')} of {load.prompt_tokens} tokens"
    if load.task == "train":
        return f"{_counted(load.batch, 'sequence')} of {load.prompt_tokens} tokens in one step of one device"
    return f"{_counted(load.batch, 'prompt')} of {load.prompt_tokens} tokens, {load.new_tokens} new each"


def at_a_time(load: Workload, now: Setup, then: Setup) -> str:
    """`, 8 in one pass now, 2 with the plan`, where a step of training adds the gradients of several passes up."""
    passes = [min(setup.batch_size or load.batch, load.batch) for setup in (now, then)]
    if load.task != "train" or passes == [load.batch, load.batch]:
        return ""
    return f", {passes[0]} in one pass" + (f" now, {passes[1]} with the plan" if passes[0] != passes[1] else "")


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def limits(load: Workload, batch: int | None, context: int | None) -> str:
    """What would fit where a setup does not."""
    one, longest = ONE.get(load.task, ("prompt", "prompt + answer"))
    if batch is None:
        return "What would fit is not known."
    if not batch:
        return f"Not even one {one} of this length fits."
    most = (
        f"Most sequences that fit in one pass: {batch:,}"
        if load.task == "train"
        else f"Largest batch that fits: {batch:,}"
    )
    # Where one fits, a batch of this size may not at any length.
    return f"{most}; longest {longest}: {context:,} tokens." if context else f"{most}."
