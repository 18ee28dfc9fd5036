"""What the figures of a failure add up to."""

import pytest

from advisor.explaining.arithmetic import arithmetic, missing_bytes
from advisor.reading import read
from advisor.reading.holders import holders

GIB = 2**30
NEW = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 40.00 GiB "
    "of which 1.00 GiB is free. {processes}Of the allocated memory 10.00 GiB is allocated by PyTorch, and 512.00 MiB "
    "is reserved by PyTorch but unallocated."
)
OTHER = (
    "Process 4711 has 28.00 GiB memory in use. Including non-PyTorch memory, this process has 11.00 GiB memory in use. "
)
SELF = "Process 17 has 10.90 GiB memory in use. Process 4711 has 28.00 GiB memory in use. "


def test_a_shared_device_is_split_up_and_the_other_process_named() -> None:
    assert arithmetic(read(NEW.format(processes=OTHER))) == (
        "2.00 GiB asked for - 1.00 GiB free = 1.00 GiB missing",
        "40.0 GiB in all = 1.00 GiB free + 11.0 GiB this process + 28.0 GiB others",
        "28.0 GiB is held by process 4711, which is not this one.",
    )


def test_in_a_container_the_process_is_known_by_its_size() -> None:
    found = holders(read(NEW.format(processes=SELF)))
    assert [(process.number, process.own) for process in found] == [(17, True), (4711, False)]
    assert "Process 17 (10.9 GiB) is this one, by its size." in arithmetic(read(NEW.format(processes=SELF)))


def test_a_process_known_by_its_size_is_split_into_pytorch_and_its_context() -> None:
    lines = arithmetic(read(NEW.format(processes=SELF)))
    assert "40.0 GiB in all = 1.00 GiB free + 10.9 GiB this process + 28.1 GiB others" in lines
    assert "10.9 GiB this process = 10.5 GiB PyTorch + 410 MiB the driver's context" in lines


def test_mps_tells_what_it_allows_and_what_is_taken() -> None:
    passage = read(
        "RuntimeError: MPS backend out of memory (MPS allocated: 17.69 GiB, other allocations: "
        "384.00 KiB, max allowed: "
        "18.13 GiB). Tried to allocate 500.00 MiB on private pool."
    )
    assert arithmetic(passage) == (
        "18.1 GiB allowed - 17.7 GiB taken = 450 MiB left",
        "500 MiB asked for - 450 MiB left = 49.8 MiB missing",
    )
    assert passage.facts.count("text.cached_bytes") is None


def test_without_a_figure_of_what_was_free_what_pytorch_holds_bounds_it() -> None:
    passage = read(
        "torch.OutOfMemoryError: XPU out of memory. Tried to allocate 1.16 GiB. GPU 0 has a total "
        "capacity of 11.33 GiB. "
        "Of the allocated memory 10.61 GiB is allocated by PyTorch, and 205.46 MiB is reserved by "
        "PyTorch but unallocated."
    )
    assert arithmetic(passage) == (
        "11.3 GiB in all - 10.8 GiB held by PyTorch = 532 MiB left at most",
        "1.16 GiB asked for - 532 MiB left = 656 MiB missing at least",
    )


def test_old_messages_leave_the_context_among_the_others() -> None:
    text = (
        "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 16.00 GiB total capacity; 13.00 GiB "
        "already allocated; 0.50 GiB free; 13.50 GiB reserved in total by PyTorch)"
    )
    assert arithmetic(read(text))[1] == (
        "16.0 GiB in all = 512 MiB free + 13.5 GiB this process's PyTorch + 2.00 GiB the driver's context and others"
    )


@pytest.mark.parametrize(
    "text",
    [
        "torch.OutOfMemoryError: CUDA out of memory.",
        "CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has a total capacity of 8 GiB of which 17 GiB is free.",
        "CUDA out of memory. Tried to allocate 1 GiB. GPU 0 has a total capacity of 8 GiB of which 2 GiB is free.",
        "all is well",
    ],
)
def test_what_does_not_add_up_is_not_added_up(text: str) -> None:
    assert arithmetic(read(text)) == ()


def test_what_is_missing() -> None:
    assert missing_bytes(read(NEW.format(processes=OTHER))) == GIB
    assert missing_bytes(read("CUDA out of memory. Tried to allocate 2.00 GiB")) is None
