"""What a measuring process reads from its machine: memory, and how busy others keep the cores.

Loaded by worker.py from its path, in the target interpreter; uses the standard library and torch.
"""

import os
import re
import sys
import time
from pathlib import Path

# Neighbours count when, beyond the cores that we leave idle, they took this share of all of them for the whole time,
# and more than the kernel's clock ticks (10 ms for each core) can blur.
NEIGHBOUR_SHARE = 0.1
NEIGHBOUR_SECONDS = 0.06


def cpu_busy_seconds() -> float | None:
    """Seconds that the cores open to this process have been busy since boot, whoever used them (Linux only)."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    except (OSError, AttributeError):
        return None
    # user nice system idle iowait irq softirq steal; guest time is counted in user already
    fields = [line.split() for line in lines if line.split()[0] in mine]
    ticks = sum(int(part[index]) for part in fields for index in (1, 2, 3, 6, 7, 8))
    return ticks / os.sysconf("SC_CLK_TCK")


def own_cpu_seconds(helpers: tuple[int, ...] = ()) -> float:
    """Processor time of this process, of its children that have ended, and of the running processes `helpers`."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return own + sum(cpu_seconds(helper) for helper in helpers)


def cpu_seconds(process: int) -> float:
    """Processor time of a running process; 0 where the kernel does not tell (Linux only)."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    # Behind the name in brackets: state is field 3, user and system time are 14 and 15.
    parts = text.rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


class Neighbours:
    """How much of this process's cores others have used since this was made; `helpers` are processes of our own."""

    def __init__(self, needed_cores: int, helpers: tuple[int, ...] = ()) -> None:
        self.needed_cores, self.helpers = needed_cores, helpers
        self.busy, self.own, self.at = cpu_busy_seconds(), own_cpu_seconds(helpers), time.perf_counter()

    def seconds(self) -> float | None:
        busy = cpu_busy_seconds()
        if busy is None or self.busy is None:
            return None
        return max(0.0, (busy - self.busy) - (own_cpu_seconds(self.helpers) - self.own))

    def disturb(self) -> bool:
        """Whether others held cores that this process would have used."""
        seconds = self.seconds()
        if seconds is None or seconds < NEIGHBOUR_SECONDS:
            return False
        cores = len(os.sched_getaffinity(0))
        spare = max(0, cores - self.needed_cores)
        return seconds / (time.perf_counter() - self.at) > spare + NEIGHBOUR_SHARE * cores


def reset_peaks() -> bool:
    """Begin to look for new peaks of memory; False where the kernel does not forget that of resident memory."""
    import torch

    for device in range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0):
        torch.cuda.reset_peak_memory_stats(device)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def resident(process: str = "self") -> dict[str, int | None]:
    """Resident memory at its peak and now, in bytes; what is mapped from files (safetensors) apart.

    Of another process than this one nothing is known where there is no /proc.
    """
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        peak = _peak_without_proc() if process == "self" else None
        return {"peak_bytes": peak, "anonymous_bytes": None, "file_bytes": None}
    found = {
        name: int(kib) * 1024 for name, kib in re.findall(r"^(VmHWM|RssAnon|RssFile):\s+(\d+) kB", text, re.MULTILINE)
    }
    names = {"peak_bytes": "VmHWM", "anonymous_bytes": "RssAnon", "file_bytes": "RssFile"}
    return {ours: found.get(theirs) for ours, theirs in names.items()}


def _peak_without_proc() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


GROUP_FILES = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def free_bytes() -> int | None:
    """What this process may hold of the host's memory, in bytes: what is available, within the limit of its control
    group, and what it holds already (Linux only)."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        available = int(re.findall(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return min([available, *_group_rooms(Path("/sys/fs/cgroup"))]) + (resident()["anonymous_bytes"] or 0)


def _group_rooms(root: Path) -> list[int]:
    """What the limits of the control group leave, by either version; files in the page cache give way and count."""
    rooms = []
    for limit, usage in GROUP_FILES:
        try:
            most, used = (int((root / name).read_text(encoding="ascii")) for name in (limit, usage))
            cached = re.findall(r"^(?:total_)?inactive_file (\d+)", (root / usage).with_name("memory.stat").read_text())
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
        rooms.append(max(0, most - used + max(map(int, cached), default=0)))
    return rooms


def device_room_bytes() -> int | None:
    """What the CUDA devices have for this process, in bytes: free now, and what its allocator holds of them."""
    import torch

    if not torch.cuda.is_initialized():
        return None
    devices = range(torch.cuda.device_count())
    return sum(int(torch.cuda.mem_get_info(one)[0] + torch.cuda.memory_reserved(one)) for one in devices)


def cuda_memory() -> dict[str, int] | None:
    """Peaks since the last reset, summed over devices, and what is in use on them by all processes."""
    import torch

    if not torch.cuda.is_initialized():
        return None
    devices = range(torch.cuda.device_count())
    used = [total - free for free, total in (torch.cuda.mem_get_info(device) for device in devices)]
    return {
        "allocated_bytes": sum(torch.cuda.max_memory_allocated(device) for device in devices),
        "reserved_bytes": sum(torch.cuda.max_memory_reserved(device) for device in devices),
        "used_by_all_bytes": sum(used),
    }
