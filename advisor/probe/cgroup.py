"""What the control groups of this process allow: Linux, version 1 and 2, nested and mixed.

A limit of any group above the process counts, so every level is read up to the mount point. Inside a container the
group's own path may name a folder that only the host sees; then what is mounted is the container's own group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNLIMITED_BYTES = 2**62
"""Version 1 writes "no limit" as the largest multiple of the page size below 2**63."""


@dataclass(frozen=True)
class Limits:
    """What the groups allow; None where they set no limit."""

    cores: float | None = None
    memory_bytes: int | None = None
    memory_left_bytes: int | None = None


@dataclass(frozen=True)
class Mount:
    """A mounted hierarchy: which group stands at its top, where, and its controllers (empty: version 2)."""

    group: str
    place: str
    controllers: frozenset[str]


def limits(root: Path = Path("/")) -> Limits:
    """The tightest limits over all levels; `root` is the file system to read, another one in tests."""
    groups = own_groups(read(root / "proc/self/cgroup"))
    levels = [
        level
        for mount in mounts(read(root / "proc/self/mountinfo"))
        for controller in (mount.controllers or {""})
        if (group := groups.get(controller)) is not None
        for level in levels_of(root, mount, group)
    ]
    cores = [cores for level in levels if (cores := _quota(level)) is not None]
    memory = [memory for level in levels if (memory := memory_limit(level)) is not None]
    return Limits(
        min(cores, default=None),
        min((limit for limit, _ in memory), default=None),
        min((left for _, left in memory if left is not None), default=None),
    )


def own_groups(text: str) -> dict[str, str]:
    """The process's group by controller, from `/proc/self/cgroup`; version 2 has the empty name."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, group = rest.partition(":")
        if colon:
            groups |= dict.fromkeys(controllers.split(","), group)
    return groups


def mounts(text: str) -> tuple[Mount, ...]:
    """The mounted hierarchies, from `/proc/self/mountinfo` (its fields are described in proc(5))."""
    found = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if dash and len(fields) >= 5 and kind and kind[0] in ("cgroup", "cgroup2"):
            options = kind[-1].split(",") if kind[0] == "cgroup" else []
            found.append(Mount(_unescaped(fields[3]), _unescaped(fields[4]), frozenset(options)))
    return tuple(found)


def _unescaped(path: str) -> str:
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def levels_of(root: Path, mount: Mount, group: str) -> Iterator[Path]:
    """The folders from the process's own group up to the mount point."""
    top = root / mount.place.lstrip("/")
    below = group.removeprefix(mount.group) if _is_below(group, mount.group) else ""
    parts = [part for part in below.split("/") if part]
    if ".." in parts or not top.joinpath(*parts).is_dir():
        parts = []
    for depth in range(len(parts), -1, -1):
        yield top.joinpath(*parts[:depth])


def _is_below(group: str, top: str) -> bool:
    return group == top or group.startswith(top.rstrip("/") + "/")


def _quota(level: Path) -> float | None:
    """Cores' worth of time that one level grants, or None."""
    words = read(level / "cpu.max").split()
    if len(words) == 2:
        quota, period = _whole(words[0]), _whole(words[1])
    else:
        quota, period = _number(level / "cpu.cfs_quota_us"), _number(level / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 and period > 0 else None


def memory_limit(level: Path) -> tuple[int, int | None] | None:
    """(limit, what is left of it) in bytes of one level, or None where it has no limit."""
    limit, used, prefix = _number(level / "memory.max"), _number(level / "memory.current"), ""
    if limit is None:
        limit, used = _number(level / "memory.limit_in_bytes"), _number(level / "memory.usage_in_bytes")
        prefix = "total_"
    if limit is None or not 0 < limit < UNLIMITED_BYTES:
        return None
    if used is None:
        return limit, None
    return limit, min(limit, max(0, limit - used + _page_cache(read(level / "memory.stat"), prefix)))


def _page_cache(text: str, prefix: str) -> int:
    """Bytes of cached files: the kernel gives them back before it runs out. Shared memory is not among them."""
    rows = dict(words for line in text.splitlines() if len(words := line.split()) == 2)
    return sum(_whole(rows.get(f"{prefix}{name}", "")) or 0 for name in ("active_file", "inactive_file"))


def _number(path: Path) -> int | None:
    return _whole(read(path))


def _whole(text: str) -> int | None:
    """The whole number in `text`; None for `max` and anything else."""
    try:
        return int(text)
    except ValueError:
        return None


def read(path: Path) -> str:
    """The file's text; empty where there is none or it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
