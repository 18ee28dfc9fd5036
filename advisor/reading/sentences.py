"""Sentences of error rules with the figures of one text in them. A sentence whose figure is unknown is left out.

A closed table says what may stand in braces; nothing in a text or a rule is ever evaluated.
"""

import re
from collections.abc import Sequence

from advisor.facts import Facts

_NAME = re.compile(r"\{(\w{1,40})\}")
_BYTES = {
    "requested": "text.requested_bytes", "total": "text.total_bytes", "free": "text.free_bytes",
    "allocated": "text.allocated_bytes", "reserved": "text.reserved_bytes", "cached": "text.cached_bytes",
    "process": "text.process_bytes", "other_process": "text.other_process_bytes",
    "unaccounted": "text.unaccounted_bytes", "limit": "text.limit_bytes", "desired": "text.desired_bytes",
    "other_allocations": "text.other_allocations_bytes", "private_pools": "text.private_pool_bytes",
    "kv_needed": "text.kv_needed_bytes", "kv_available": "text.kv_available_bytes",
    "model_weights": "text.model_weights_bytes", "installed": "text.installed_bytes",
    "ram_available": "host.ram_available_bytes", "ram_total": "host.ram_total_bytes",
    "disk_free": "host.disk_free_bytes", "gpu_free": "gpu.memory_free_bytes", "gpu_total": "gpu.memory_total_bytes",
}  # fmt: skip
_COUNTS = {
    "device": "text.device_index", "max_seq_len": "text.max_seq_len", "estimated_max_len": "text.estimated_max_len",
    "kv_cache_tokens": "text.kv_cache_tokens", "gpu_blocks": "text.gpu_blocks",
    "prefill_tokens": "text.prefill_tokens", "total_tokens": "text.total_tokens", "failures": "text.failures",
}  # fmt: skip
_NUMBERS = {"utilization": "text.utilization", "request_share": "text.request_share", "capability": "gpu.capability"}
_TEXTS = {"gpu_name": "gpu.name", "torch": "torch.version", "transformers": "transformers.version"}
NAMES = (*_BYTES, *_COUNTS, *_NUMBERS, *_TEXTS)
"""What may stand in braces."""


def sentences(written: Sequence[str], facts: Facts) -> str:
    """The sentences whose figures are all known, joined."""
    filled = (_filled(" ".join(sentence.split()), facts) for sentence in written)
    return " ".join(sentence for sentence in filled if sentence)


def unknown_names(written: Sequence[str]) -> list[str]:
    """Names in braces that no table has."""
    return [name for sentence in written for name in _NAME.findall(sentence) if name not in NAMES]


def _filled(sentence: str, facts: Facts) -> str | None:
    values = {name: _figure(name, facts) for name in _NAME.findall(sentence)}
    if None in values.values():
        return None
    return _NAME.sub(lambda found: values[found[1]] or "", sentence)


def _figure(name: str, facts: Facts) -> str | None:
    if name in _BYTES:
        amount = facts.count(_BYTES[name])
        return None if amount is None else size(amount)
    if name in _COUNTS:
        count = facts.count(_COUNTS[name])
        return None if count is None else f"{count:,}" if count >= 10_000 else str(count)
    if name in _NUMBERS:
        value = facts.number(_NUMBERS[name])
        return None if value is None else f"{value:.3g}"
    return facts.text(_TEXTS[name]) if name in _TEXTS else None


def size(amount: int) -> str:
    """Bytes in the largest binary unit that leaves at least one; two decimals from GiB on, as allocators write it."""
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if amount >= 2**power:
            return f"{amount / 2**power:,.2f} {unit}" if power >= 30 else f"{amount / 2**power:,.0f} {unit}"
    return f"{amount} bytes"
