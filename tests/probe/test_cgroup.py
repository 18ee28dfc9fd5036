"""Limits of control groups: both versions, nested, mixed, and seen from inside a container."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from advisor.probe import cgroup
from advisor.probe.cgroup import Limits

GIB = 1024**3
NO_LIMIT_V1 = "9223372036854771712\n"
UNIFIED = "30 23 0:26 {group} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def machine(root: Path, **files: str) -> Path:
    """A file system with these files; `__` in a name stands for a folder."""
    for name, text in files.items():
        place = root / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def put(root: Path, folder: str, **files: str) -> None:
    for name, text in files.items():
        place = root / folder / name.replace("_", ".", 1)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + "\n")


def test_version_2_counts_the_tightest_level(tmp_path: Path) -> None:
    """A job in a slice: the quota is the slice's, the memory limit the job's."""
    machine(tmp_path, proc__self__cgroup="0::/user.slice/job\n", proc__self__mountinfo=UNIFIED.format(group="/"))
    top = "sys/fs/cgroup"
    put(tmp_path, f"{top}/user.slice", cpu_max="350000 100000", memory_max=str(8 * GIB), memory_current=str(GIB))
    put(tmp_path, f"{top}/user.slice/job", cpu_max="max 100000", memory_max=str(4 * GIB), memory_current=str(3 * GIB))
    put(tmp_path, f"{top}/user.slice/job", memory_stat=f"anon {2 * GIB}\nactive_file 1000\ninactive_file 24\nshmem 77")
    assert cgroup.limits(tmp_path) == Limits(3.5, 4 * GIB, GIB + 1024)


def test_what_is_left_can_be_less_above(tmp_path: Path) -> None:
    """The slice is larger than the job and nearly full: the job cannot have what its own limit promises."""
    machine(tmp_path, proc__self__cgroup="0::/slice/job\n", proc__self__mountinfo=UNIFIED.format(group="/"))
    put(tmp_path, "sys/fs/cgroup/slice", memory_max=str(8 * GIB), memory_current=str(8 * GIB - 512))
    put(tmp_path, "sys/fs/cgroup/slice/job", memory_max=str(4 * GIB), memory_current=str(GIB))
    assert cgroup.limits(tmp_path) == Limits(None, 4 * GIB, 512)


def test_inside_a_container_the_mount_is_the_own_group(tmp_path: Path) -> None:
    for group, mounted in (("/docker/abc", "/docker/abc"), ("/", "/"), ("/../..", "/"), ("/only/on/the/host", "/")):
        root = tmp_path / group.strip("/").replace("/", "-").replace(".", "x") / "r"
        machine(root, proc__self__cgroup=f"0::{group}\n", proc__self__mountinfo=UNIFIED.format(group=mounted))
        put(root, "sys/fs/cgroup", cpu_max="150000 100000", memory_max=str(2 * GIB), memory_current="0")
        put(root, "sys", cpu_max="1 100000", memory_max="1", memory_current="0")  # outside the mount
        assert cgroup.limits(root) == Limits(1.5, 2 * GIB, 2 * GIB), group


def test_a_group_below_the_container_counts(tmp_path: Path) -> None:
    """A service started inside the container; its path names the container's group, which is the mount."""
    machine(
        tmp_path,
        proc__self__cgroup="0::/docker/abc/service\n",
        proc__self__mountinfo=UNIFIED.format(group="/docker/abc"),
    )
    put(tmp_path, "sys/fs/cgroup", memory_max=str(2 * GIB), memory_current="0")
    put(tmp_path, "sys/fs/cgroup/service", memory_max=str(GIB), memory_current="0")
    assert cgroup.limits(tmp_path) == Limits(None, GIB, GIB)


V1_MOUNTS = """\
32 31 0:29 {group} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 {group} /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
"""


def test_version_1_in_a_container(tmp_path: Path) -> None:
    machine(
        tmp_path,
        proc__self__cgroup="5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n",
        proc__self__mountinfo=V1_MOUNTS.format(group="/docker/abc"),
    )
    put(tmp_path, "sys/fs/cgroup/cpu,cpuacct", cpu_cfs_quota_us="50000", cpu_cfs_period_us="100000")
    put(tmp_path, "sys/fs/cgroup/memory", memory_limit_in_bytes=str(GIB), memory_usage_in_bytes=str(GIB // 2))
    put(tmp_path, "sys/fs/cgroup/memory", memory_stat="inactive_file 5\ntotal_inactive_file 100\ntotal_active_file 10")
    assert cgroup.limits(tmp_path) == Limits(0.5, GIB, GIB // 2 + 110)


def test_version_1_without_limits(tmp_path: Path) -> None:
    machine(
        tmp_path,
        proc__self__cgroup="5:cpu,cpuacct:/\n4:memory:/jobs/7\n",
        proc__self__mountinfo=V1_MOUNTS.format(group="/"),
    )
    put(tmp_path, "sys/fs/cgroup/cpu,cpuacct", cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    put(tmp_path, "sys/fs/cgroup/memory/jobs/7", memory_limit_in_bytes=NO_LIMIT_V1.strip(), memory_usage_in_bytes="9")
    assert cgroup.limits(tmp_path) == Limits(None, None, None)


def test_both_versions_at_once(tmp_path: Path) -> None:
    """A mixed system: version 2 is mounted without controllers, the limits are those of version 1."""
    machine(
        tmp_path,
        proc__self__cgroup="4:memory:/jobs/7\n1:cpu:/\n0::/\n",
        proc__self__mountinfo=V1_MOUNTS.format(group="/")
        + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
    )
    put(tmp_path, "sys/fs/cgroup/unified", cgroup_procs="1")
    put(tmp_path, "sys/fs/cgroup/memory/jobs", memory_limit_in_bytes=str(6 * GIB), memory_usage_in_bytes=str(GIB))
    put(tmp_path, "sys/fs/cgroup/memory/jobs/7", memory_limit_in_bytes=NO_LIMIT_V1.strip(), memory_usage_in_bytes="9")
    assert cgroup.limits(tmp_path) == Limits(None, 6 * GIB, 5 * GIB)


def test_a_limit_without_usage_leaves_the_rest_open(tmp_path: Path) -> None:
    machine(tmp_path, proc__self__cgroup="0::/\n", proc__self__mountinfo=UNIFIED.format(group="/"))
    put(tmp_path, "sys/fs/cgroup", memory_max=str(GIB))
    assert cgroup.limits(tmp_path) == Limits(None, GIB, None)


def test_a_system_without_groups_has_no_limits(tmp_path: Path) -> None:
    assert cgroup.limits(tmp_path) == Limits()


def test_a_mount_point_with_a_space(tmp_path: Path) -> None:
    (mount,) = cgroup.mounts("30 23 0:26 / /odd\\040place rw - cgroup2 cgroup2 rw\n")
    assert mount.place == "/odd place"


words = st.text(alphabet=st.sampled_from("0123456789:,/. -cgroup2maxrw\n\t\\é"), max_size=200)


@given(words)
def test_no_text_breaks_the_parsers(text: str) -> None:
    assert all(isinstance(group, str) for group in cgroup.own_groups(text).values())
    assert all(isinstance(mount.controllers, frozenset) for mount in cgroup.mounts(text))
