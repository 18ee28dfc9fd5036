"""How often the kernel ended a process because memory ran out: counted before and after a program ran.

Sources: kernel docs, cgroup-v2 (`memory.events`: `oom`, `oom_kill`), cgroup-v1 memory (`memory.oom_control`), proc(5)
(`/proc/vmstat`: `oom_kill`, since Linux 4.13).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from advisor.probe import cgroup


@dataclass(frozen=True)
class Kills:
    """Counters of one moment; empty and None where nothing can be read. Levels go from the own group outwards."""

    by_level: Mapping[str, int] = field(default_factory=dict)
    machine: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict)

    @property
    def readable(self) -> bool:
        return bool(self.by_level) or self.machine is not None


@dataclass(frozen=True)
class Killed:
    """What rose in between. `group` is the own control group's count, `limit_bytes` the tightest limit above it;
    `machine` is the whole machine's, which other programs and containers share."""

    group: int | None
    machine: int | None
    limit_bytes: int | None

    @property
    def by_kernel(self) -> bool | None:
        """Whether the kernel ended a process of the own group, or of the machine where groups tell nothing; None
        where no counter can be read."""
        counted = self.group if self.group is not None else self.machine
        return None if counted is None else counted > 0


def count(root: Path = Path("/")) -> Kills:
    """The counters now; `root` is the file system to read, another one in tests."""
    groups = cgroup.own_groups(cgroup.read(root / "proc/self/cgroup"))
    levels = [
        level
        for mount in cgroup.mounts(cgroup.read(root / "proc/self/mountinfo"))
        if (group := groups.get("memory" if mount.controllers else "")) is not None
        and (not mount.controllers or "memory" in mount.controllers)
        for level in cgroup.levels_of(root, mount, group)
    ]
    kills = {str(level): found for level in levels if (found := _kills(level)) is not None}
    limits = {str(level): memory[0] for level in levels if (memory := cgroup.memory_limit(level)) is not None}
    return Kills(kills, _row(cgroup.read(root / "proc/vmstat"), "oom_kill"), limits)


def between(before: Kills, after: Kills) -> Killed:
    """What happened from one count to the next."""
    risen = [now - before.by_level[level] for level, now in after.by_level.items() if level in before.by_level]
    machine = after.machine - before.machine if after.machine is not None and before.machine is not None else None
    return Killed(max(risen, default=None), machine, min(after.limits.values(), default=None))


def _kills(level: Path) -> int | None:
    for name in ("memory.events", "memory.oom_control"):
        found = _row(cgroup.read(level / name), "oom_kill")
        if found is not None:
            return found
    return None


def _row(text: str, name: str) -> int | None:
    """The number behind a name, in files of one `name number` a line."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return None
