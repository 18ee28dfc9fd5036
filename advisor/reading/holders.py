"""The processes that a message of PyTorch lists by number, and which of them is the one that failed."""

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.patterns import when_used
from advisor.reading.derived import OWN_CONTEXT, Figures, reserved
from advisor.reading.figures import AHEAD
from advisor.reading.passage import Passage
from advisor.reading.quantities import AMOUNT, in_bytes

_PROCESS = when_used(rf"process(\d{{1,10}})has{AMOUNT}memoryinuse")


@dataclass(frozen=True)
class HolderProcess:
    """A process with what it holds of the device. `own` where its size shows that it is the one that failed: inside a
    container the driver does not know its own number."""

    number: int
    bytes: int
    own: bool


def holders(passage: Passage) -> tuple[HolderProcess, ...]:
    """The processes of the message, in its order."""
    if passage.said is None:
        return ()
    text = passage.squeezed.text[passage.said.start : passage.said.end + AHEAD]
    listed = [
        (int(found[1]), size)
        for found in _PROCESS.finditer(text)
        if (size := in_bytes(found[2], found[3], True)) is not None
    ]
    own = _own([size for _, size in listed], passage.figures)
    return tuple(HolderProcess(number, size, size == own) for number, size in listed)


def _own(sizes: Sequence[int], figures: Figures) -> int | None:
    """The size of the process that failed: the message names it apart, or it holds just more than PyTorch reserved."""
    held = reserved(figures)
    if figures.get("process_bytes") or held is None:
        return None
    return min((size for size in sizes if 0 <= size - held <= OWN_CONTEXT), default=None)
