"""What the figures of a memory failure add up to. Figures that contradict each other are not added up."""

from collections.abc import Iterator

from advisor.amounts import size
from advisor.reading import Passage
from advisor.reading.derived import reserved
from advisor.reading.holders import holders

MOST_PROCESSES = 4


def missing_bytes(passage: Passage) -> int | None:
    """By how much the request was too large for what was free; None where the text does not give both figures, or
    where enough was free."""
    requested, free = passage.facts.count("text.requested_bytes"), _left(passage)
    if requested is None or free is None or requested <= free:
        return None
    return requested - free


def _left(passage: Passage) -> int | None:
    """What was free. MPS tells what it may take and what it has; XPU what the device has and PyTorch holds of it, so
    that no more than the rest can have been free."""
    free = passage.facts.count("text.free_bytes")
    return passage.facts.count("text.left_bytes") if free is None else free


def arithmetic(passage: Passage) -> tuple[str, ...]:
    """The sums, a line each."""
    if passage.facts.is_true("text.free_exceeds_total"):
        return ()
    return (*_request(passage), *_shares(passage), *_processes(passage))


def _request(passage: Passage) -> Iterator[str]:
    missing, left = missing_bytes(passage), _left(passage)
    requested, free, total = (passage.facts.count(f"text.{name}_bytes") for name in ("requested", "free", "total"))
    if not missing or requested is None or left is None or (total and requested > total):
        return
    if free is not None:
        yield f"{size(requested)} asked for - {size(free)} free = {size(missing)} missing"
        return
    limit, allocated = (passage.facts.count(f"text.{name}_bytes") for name in ("limit", "allocated"))
    if limit is not None and allocated is not None:
        yield f"{size(limit)} allowed - {size(limit - left)} taken = {size(left)} left"
        yield f"{size(requested)} asked for - {size(left)} left = {size(missing)} missing"
    else:
        yield f"{size(total or 0)} in all - {size((total or 0) - left)} held by PyTorch = {size(left)} left at most"
        yield f"{size(requested)} asked for - {size(left)} left = {size(missing)} missing at least"


def _shares(passage: Passage) -> Iterator[str]:
    """Who has the device: by the driver's count of this process, else by what PyTorch reserved."""
    total, free, rest = (passage.facts.count(f"text.{name}_bytes") for name in ("total", "free", "unaccounted"))
    by_driver = passage.facts.count("text.process_bytes")
    own = by_driver or reserved(passage.figures)
    if not total or free is None or rest is None or own is None:
        return
    own = total - free - rest
    if own < 0:
        return
    listed = any(process.own for process in holders(passage))
    whose = "this process" if by_driver or listed else "this process's PyTorch"
    others = "others" if by_driver or listed else "the driver's context and others"
    yield f"{size(total)} in all = {size(free)} free + {size(own)} {whose} + {size(rest)} {others}"
    held = reserved(passage.figures)
    if listed and held is not None and own > held:
        yield f"{size(own)} this process = {size(held)} PyTorch + {size(own - held)} the driver's context"


def _processes(passage: Passage) -> Iterator[str]:
    for process in holders(passage)[:MOST_PROCESSES]:
        if process.own:
            yield f"Process {process.number} ({size(process.bytes)}) is this one, by its size."
        else:
            yield f"{size(process.bytes)} is held by process {process.number}, which is not this one."
