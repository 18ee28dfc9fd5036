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
    requested, free = (passage.facts.count(f"text.{name}_bytes") for name in ("requested", "free"))
    if requested is None or free is None or requested <= free:
        return None
    return requested - free


def arithmetic(passage: Passage) -> tuple[str, ...]:
    """The sums, a line each."""
    if passage.facts.is_true("text.free_exceeds_total"):
        return ()
    return (*_request(passage), *_shares(passage), *_processes(passage))


def _request(passage: Passage) -> Iterator[str]:
    missing = missing_bytes(passage)
    requested, free, total = (passage.facts.count(f"text.{name}_bytes") for name in ("requested", "free", "total"))
    if missing and requested is not None and free is not None and not (total and requested > total):
        yield f"{size(requested)} asked for - {size(free)} free = {size(missing)} missing"


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
    whose = "this process" if by_driver else "this process's PyTorch"
    others = "others" if by_driver else "the driver's context and others"
    yield f"{size(total)} in all = {size(free)} free + {size(own)} {whose} + {size(rest)} {others}"


def _processes(passage: Passage) -> Iterator[str]:
    for process in holders(passage)[:MOST_PROCESSES]:
        if process.own:
            yield f"Process {process.number} ({size(process.bytes)}) is this one, by its size."
        else:
            yield f"{size(process.bytes)} is held by process {process.number}, which is not this one."
