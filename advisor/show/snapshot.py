"""A snapshot of the allocator on the screen: how full, how scattered, and who holds it."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from advisor.show.terminal import size
from advisor.snapshot import Device, Failure, Holder, Snapshot

MOST_HOLDERS = 10
MOST_BLOCKS = 5
SCATTERED = 0.5
"""From this fragmentation on, the free memory is called scattered: no block has half of it."""


def screen(snapshot: Snapshot) -> RenderableType:
    """The whole page. Names out of the file are shown as they are, never read as markup."""
    parts: list[RenderableType] = [Text(f"Snapshot {snapshot.source}", style="bold")]
    for device in snapshot.devices:
        parts += _device(device)
    for failure in snapshot.failures[-1:]:
        parts += ["", _failure(failure)]
    if snapshot.holders:
        parts += ["", Text("Who holds it", style="bold"), *_holders(snapshot)]
    if len(snapshot.largest_blocks) > 1:
        parts += ["", Text("Largest blocks", style="bold")]
        parts += [line for block in snapshot.largest_blocks[:MOST_BLOCKS] for line in _line(block.bytes, block, "")]
    if not snapshot.devices:
        parts.append(Text("It holds no memory: the allocator had taken none, or had returned all."))
    return Group(*parts)


def _device(device: Device) -> Iterator[RenderableType]:
    yield Text(
        f"device {device.device}: {size(device.reserved)} reserved in {device.segments} segments, "
        f"{size(device.allocated)} of it by live tensors"
    )
    if device.inactive:
        share = device.fragmentation or 0.0
        kind = "scattered" if share >= SCATTERED else "mostly in one piece"
        yield _below(
            f"{size(device.inactive)} serves nobody; its largest block is {size(device.largest_inactive)} ({kind}, "
            f"fragmentation {share:.0%}); empty_cache() would return {size(device.returnable)}"
        )
    for value, words in (
        (device.awaiting_free, "waits for another stream to finish with it"),
        (device.private_pools, "belongs to pools of their own, as CUDA graphs have"),
    ):
        if value:
            yield _below(f"{size(value)} {words}")
    if device.allocated and device.rounding >= device.allocated / 20:
        yield _below(f"{size(device.rounding)} of the live memory is rounding up")


def _below(line: str) -> RenderableType:
    return Padding(Text(line), (0, 0, 0, 2))


def _failure(failure: Failure) -> Text:
    free = f"; {size(failure.free_bytes)} was free" if failure.free_bytes is not None else ""
    where = failure.own_line or failure.asked_by
    return Text(f"Refused: {size(failure.requested_bytes)}{free}" + (f", asked for at {where}" if where else ""))


def _holders(snapshot: Snapshot) -> Iterator[RenderableType]:
    total = sum(device.allocated for device in snapshot.devices)
    shown: Sequence[Holder] = snapshot.holders[:MOST_HOLDERS]
    for holder in shown:
        blocks = f"{holder.blocks:,} block{'s' if holder.blocks > 1 else ''}"
        yield from _line(holder.bytes, holder, f"{holder.bytes / total:.0%}, {blocks}" if total else blocks)
    left = sum(holder.bytes for holder in snapshot.holders[MOST_HOLDERS:]) + snapshot.other_bytes
    lines = len(snapshot.holders) - len(shown) + snapshot.other_lines
    if lines:
        yield Text(f"{size(left):>10}  {lines} other lines", style="dim")
    if not any(holder.own_line or holder.asked_by for holder in snapshot.holders):
        yield Text("The file names no lines. Before the model is loaded, say:", style="dim")
        yield Text("    torch.cuda.memory._record_memory_history()", style="cyan")


def _line(amount: int, holder: Holder, remark: str) -> Iterator[RenderableType]:
    """The amount and the line of a package that asked for it; below, the own line that led there. What is too long goes
    on below itself."""
    first = holder.asked_by or holder.own_line or "no frames recorded"
    yield _hanging(f"{size(amount):>10}", Text.assemble(first, (f"  ({remark})" if remark else "", "dim")))
    if holder.own_line and holder.own_line != first:
        yield _hanging("", Text(f"from {holder.own_line}", style="dim"))


def _hanging(head: str, body: Text) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=10, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(head), body)
    return grid
