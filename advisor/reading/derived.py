"""What follows from the figures by arithmetic, as facts with names; rules compare, they do not compute."""

from collections.abc import Mapping, Sequence

from advisor.facts import Value

Figures = Mapping[str, int | float]
OWN_CONTEXT = 2 * 2**30
"""Bytes by which the driver's count of a process may exceed what its allocator reserved: CUDA context and libraries."""
SMALLEST_CONTEXT = 2**30
"""Bytes that a context takes at least once kernels are loaded (0.3 to 1.5 GiB, by device and version)."""
SMALLEST_SQUARE = 64
MOST_HEADS, LONG_SIDE = 48, 1024
CARVED = 0.75
"""A device of less than this share of what is installed lacks more than drivers and firmware keep for themselves."""
FILLED = 0.85
"""Weights of this share of what an engine may take leave no room for activations and a cache."""
LEAST_SHARE = 5
"""Per cent of a device below which no engine starts."""
DRIVER_RESERVE = 0.02
"""Share of a device below which free memory is none: drivers keep tens of MiB, and PyTorch asks for whole segments of
2 or 20 MiB (kMinBlockSize and kSmallBuffer, kLargeBuffer of its caching allocator)."""


def reserved(figures: Figures) -> int | None:
    """What the framework's allocator holds: as told, or allocated and unallocated together."""
    told = _count(figures, "reserved_bytes")
    if told is not None:
        return told
    allocated = _count(figures, "allocated_bytes")
    loose = _count(figures, "reserved_unallocated_bytes", "cached_unused_bytes")
    return None if allocated is None else allocated + (loose or 0)


def derive(figures: Figures, listed: Sequence[int], shape: Sequence[int]) -> dict[str, Value]:
    """The derived facts that the figures allow. Shares are of the device's total."""
    total, free = _count(figures, "total_bytes"), _count(figures, "free_bytes")
    requested, allocated = _count(figures, "requested_bytes"), _count(figures, "allocated_bytes")
    held = reserved(figures)
    found: dict[str, Value] = {}
    if requested is not None and total:
        found["request_share"] = requested / total
    if requested is not None and free is not None:
        found["free_covers_request"] = free >= max(requested, (total or 0) * DRIVER_RESERVE)
    if requested is not None and total is not None and held is not None:
        found["room_covers_request"] = total - held - SMALLEST_CONTEXT >= requested
    if held is not None and allocated is not None and not figures.keys().isdisjoint(_CACHE_TOLD):
        found |= _cached(max(0, held - allocated), requested, total)
    if total and free is not None:
        found["free_exceeds_total"] = free > total
        found |= _unaccounted(figures, listed, total, free, held)
    found |= _against_hardware(figures, total)
    if len(shape) >= 2:
        found["square_tensor"] = _is_square(shape)
    if free is None and (left := _left(figures, total, held)) is not None:
        found["left_bytes"] = left
    found |= _of_engine(figures)
    others = _count(figures, "other_allocations_bytes")
    if others is not None and allocated is not None:
        found["others_exceed_tensors"] = others > allocated
    return found


_CACHE_TOLD = ("reserved_bytes", "reserved_unallocated_bytes", "cached_unused_bytes")
"""Figures without which nothing is known of memory that the allocator keeps for no tensor."""


def _left(figures: Figures, total: int | None, held: int | None) -> int | None:
    """What may have been free where the message does not say it: of the most that MPS allows, what it has not given
    away; else of the device, what PyTorch does not hold."""
    limit, allocated = _count(figures, "limit_bytes"), _count(figures, "allocated_bytes")
    others = _count(figures, "other_allocations_bytes")
    if limit is not None and allocated is not None and others is not None:
        return max(0, limit - allocated - others)
    return None if total is None or held is None or limit is not None else max(0, total - held)


def _is_square(shape: Sequence[int]) -> bool:
    """Whether a tensor has the form of attention scores. Feature maps are square as well: they have many channels and
    short sides where attention has some heads or long ones."""
    side = shape[-1]
    if side != shape[-2] or side < SMALLEST_SQUARE:
        return False
    return len(shape) < 4 or shape[1] <= MOST_HEADS or side >= LONG_SIDE


def _against_hardware(figures: Figures, total: int | None) -> dict[str, Value]:
    """Whether the device has far less than is installed, and whether weights alone fill an engine's share of it."""
    found: dict[str, Value] = {}
    installed, weights = _count(figures, "installed_bytes"), _count(figures, "model_weights_bytes")
    share = figures.get("utilization")
    if installed and total:
        found["total_below_installed"] = total < installed * CARVED
    if weights and total and share:
        found["weights_fill_share"] = weights >= total * share * FILLED
    return found


def _cached(cached: int, requested: int | None, total: int | None) -> dict[str, Value]:
    found: dict[str, Value] = {"cached_bytes": cached}
    if requested is not None:
        found["cached_covers_request"] = cached >= requested
    if total:
        found["cached_share"] = cached / total
    return found


def _unaccounted(figures: Figures, listed: Sequence[int], total: int, free: int, held: int | None) -> dict[str, Value]:
    """total - free - this process. The message's own figure of this process counts before what was reserved; a figure
    of 0 comes from containers that hide process numbers. Where it names only numbered processes, the one that comes
    closest above what was reserved is this one."""
    process = _count(figures, "process_bytes") or held
    if process is None:
        return {}
    if not _count(figures, "process_bytes") and held is not None:
        own = [size for size in listed if 0 <= size - held <= OWN_CONTEXT]
        process = min(own, default=process)
    rest = max(0, total - free - process)
    return {"unaccounted_bytes": rest, "unaccounted_share": rest / total}


def _of_engine(figures: Figures) -> dict[str, Value]:
    """What an engine's own figures allow: the share of the device that is free, rounded down to what is typed, and the
    longest sequence that its cache holds."""
    found: dict[str, Value] = {}
    total, free = _count(figures, "total_bytes"), _count(figures, "free_bytes")
    if total and free is not None and "desired_bytes" in figures and (share := free * 100 // total) >= LEAST_SHARE:
        found["free_utilization"] = share / 100
    fits = _count(figures, "estimated_max_len", "kv_cache_tokens")
    if fits:
        found["fitting_tokens"] = fits
    needed, left = _count(figures, "kv_needed_bytes"), _count(figures, "kv_available_bytes")
    longest = _count(figures, "max_seq_len")
    if needed and left:
        found["kv_shortage"] = needed / left
    elif longest and fits:
        found["kv_shortage"] = longest / fits
    return found


def _count(figures: Figures, *names: str) -> int | None:
    for name in names:
        value = figures.get(name)
        if isinstance(value, int):
            return value
    return None
