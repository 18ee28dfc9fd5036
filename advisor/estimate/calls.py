"""How a request is put to the model: how many calls, prompts in each, and the length that each is padded to."""

from dataclasses import dataclass
from math import ceil

from advisor.setup import Setup
from advisor.workload import Workload


@dataclass(frozen=True)
class Call:
    """`count` equal calls of `rows` prompts, each `prompt_tokens` long once it is padded."""

    count: int
    rows: int
    prompt_tokens: float


def calls(workload: Workload, setup: Setup) -> tuple[Call, ...]:
    """The calls that answer one request: all prompts of all requests that are in flight at a time."""
    prompts = workload.batch * workload.concurrency
    mean = _length(workload, (prompts + 1) / 2)
    if setup.batching == "loop":
        return (Call(prompts, 1, _rounded(mean, setup)),)
    if setup.batching == "continuous":
        rows, length = min(setup.batch_size or prompts, prompts), mean
    else:
        rows = min(setup.batch_size or workload.batch, prompts)
        length = _rounded(_padded_length(workload, setup, rows), setup)
    full, rest = divmod(prompts, rows)
    last = (Call(1, rest, length),) if rest else ()
    return (Call(full, rows, length), *last)


def text_tokens(workload: Workload) -> float:
    """Tokens of all prompts of all requests in flight together, without padding."""
    prompts = workload.batch * workload.concurrency
    return prompts * _length(workload, (prompts + 1) / 2)


def _length(workload: Workload, rank: float) -> float:
    """Length in tokens of the prompt that stands at `rank` (from 1) when all are sorted by length.

    Mixed lengths are taken as evenly spread between a quarter of `prompt_tokens` and the whole.
    """
    if not workload.mixed_lengths:
        return workload.prompt_tokens
    prompts = workload.batch * workload.concurrency
    return workload.prompt_tokens * (1 + 3 * rank / prompts) / 4


def _padded_length(workload: Workload, setup: Setup, rows: int) -> float:
    """The expected length of the longest prompt of one call."""
    prompts = workload.batch * workload.concurrency
    if setup.batching == "sorted":
        return _length(workload, min(rows * (ceil(prompts / rows) + 1) / 2, prompts))
    # The longest of `rows` drawn from `prompts` stands at this rank on average.
    return _length(workload, rows * (prompts + 1) / (rows + 1))


def _rounded(length: float, setup: Setup) -> float:
    multiple = setup.pad_to_multiple_of
    return ceil(length / multiple) * multiple if multiple else length
