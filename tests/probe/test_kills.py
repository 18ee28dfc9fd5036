"""The kernel's counters of processes that it ended for lack of memory."""

from pathlib import Path

from advisor.probe.kills import Killed, between, count

GIB = 1024**3


def put(root: Path, name: str, text: str) -> None:
    place = root / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def version_2(root: Path, kills: int, everywhere: int) -> Path:
    put(root, "proc/self/cgroup", "0::/job\n")
    put(root, "proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    put(root, "sys/fs/cgroup/job/memory.events", f"low 0\nmax 9\noom 1\noom_kill {kills}\noom_group_kill 0\n")
    put(root, "sys/fs/cgroup/job/memory.max", f"{2 * GIB}\n")
    put(root, "proc/vmstat", f"nr_free_pages 1\noom_kill {everywhere}\n")
    return root


def test_a_kill_in_the_own_group_is_the_kernel_s(tmp_path: Path) -> None:
    before = count(version_2(tmp_path, kills=3, everywhere=8))
    after = count(version_2(tmp_path, kills=4, everywhere=9))
    assert between(before, after) == Killed(group=1, machine=1, limit_bytes=2 * GIB)
    assert between(before, after).by_kernel is True


def test_a_kill_in_another_group_is_not_ours(tmp_path: Path) -> None:
    before = count(version_2(tmp_path, kills=3, everywhere=8))
    after = count(version_2(tmp_path, kills=3, everywhere=9))
    assert between(before, after).by_kernel is False


def test_version_1_counts_in_its_own_file(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "4:memory:/job\n2:cpu:/job\n")
    put(tmp_path, "proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
    control = "sys/fs/cgroup/memory/job/memory.oom_control"
    put(tmp_path, control, "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    before = count(tmp_path)
    put(tmp_path, control, "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert between(before, count(tmp_path)) == Killed(group=2, machine=None, limit_bytes=None)


def test_where_nothing_can_be_read_nothing_is_claimed(tmp_path: Path) -> None:
    nothing = count(tmp_path)
    assert not nothing.readable
    assert between(nothing, nothing).by_kernel is None
