"""What a process holds now, below the explanation of its failure."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from advisor.amounts import size
from advisor.live import DeviceNow, HostNow, ModelNow, Tensors
from advisor.reading import masked


def screen(
    devices: tuple[DeviceNow, ...], host: HostNow, models: tuple[ModelNow, ...], tensors: Tensors
) -> RenderableType:
    """The figures of this moment. Names of the program are shown as they are, never read as markup."""
    parts = [Text("Right now in this process", style="bold")]
    parts += [_device(device) for device in devices]
    limit = f"; ulimit -v allows it {size(host.limit)} of addresses" if host.limit is not None else ""
    parts.append(Text(f"host: {_known(host.resident)} held by this process, {_known(host.available)} free{limit}"))
    parts += [_model(model) for model in models]
    parts += _tensors(tensors, devices)
    return Group(*parts)


def _known(amount: int | None) -> str:
    return "unknown" if amount is None else size(amount)


def _device(device: DeviceNow) -> Text:
    line = f"{device.name}:{device.index}: {_known(device.allocated)} in tensors, {_known(device.reserved)} reserved"
    if device.peak is not None:
        line += f", at most {size(device.peak)} in tensors so far"
    if device.free is not None and device.total is not None:
        line += f"; {size(device.free)} of {size(device.total)} free"
        if device.reserved is not None:
            others = max(0, device.total - device.free - device.reserved)
            line += f", {size(others)} held by the driver's context and other programs"
    return Text(line)


def _model(model: ModelNow) -> Text:
    placed = ", ".join(f"{count} parts on {device}" for device, count in model.device_map.items())
    return Text(
        f"{masked(model.name)}: {model.kind}, {model.dtype or 'type unknown'}" + (f"; {placed}" if placed else "")
    )


def _tensors(tensors: Tensors, devices: tuple[DeviceNow, ...]) -> Iterator[Text]:
    if not tensors.largest:
        return
    totals = ", ".join(f"{size(total)} on {device}" for device, total in tensors.bytes.items())
    yield Text(f"Largest tensors (that Python sees: {totals})", style="bold")
    for tensor in tensors.largest:
        shape = "x".join(str(length) for length in tensor.shape) or "scalar"
        owner = masked(tensor.owner) if tensor.owner else "no variable in reach"
        times = f"{tensor.count} x " if tensor.count > 1 else ""
        yield Text(f"{size(tensor.bytes):>10}  {times}{shape} {tensor.dtype} on {tensor.device}  {owner}")
    for device in devices:
        seen = tensors.bytes.get(f"{device.name}:{device.index}", 0)
        if device.allocated and device.allocated - seen > device.allocated / 10:
            left = size(device.allocated - seen)
            yield Text(
                f"{left} on {device.name}:{device.index} has no Python object: kept for the backward pass, as a rule"
            )
