"""The machine as a whole: probes side by side, none of which can take the others along; and nothing private told."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from advisor import probe
from advisor.facts import Facts, Known, Unknown, from_json, plain_name, to_json
from advisor.probe import gpu, host, nvidia, software
from advisor.probe.display_bus import Bus
from advisor.probe.gpu import Seen
from advisor.rulebook import full_vocabulary
from advisor.vocabulary import GPU, HOST, SOFTWARE

EXPECTED = {declaration.name for declaration in (*GPU, *SOFTWARE, *HOST)} - set(gpu.CATALOG)
THERE = software.Software(Facts(dict.fromkeys((d.name for d in SOFTWARE), Known("x", "test"))), None)


def probes(**changes: Any) -> probe.Probes:
    looks: dict[str, Any] = {
        "gpu": lambda: Seen(nvidia.Silent("none", absent=True), Bus(readable=True), "linux"),
        "software": lambda: THERE,
        "host": lambda: Facts(dict.fromkeys(probe.HOST_NAMES, Known("x", "test"))),
        "disk": lambda: Facts({"host.disk_free_bytes": Known(5, "test")}),
    }
    return probe.Probes(**(looks | changes))


def broken() -> NoReturn:
    raise ZeroDivisionError("in /secret/place")


def quiet(_: str) -> None:
    return None


def test_all_probes_are_joined() -> None:
    facts = probe.gather(probes(), quiet, 5)
    assert set(facts) == EXPECTED
    assert facts.value("gpu.count") == 0
    assert facts.value("host.disk_free_bytes") == 5


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("gpu", set(gpu.NAMES)),
        ("software", {declaration.name for declaration in SOFTWARE}),
        ("host", set(probe.HOST_NAMES)),
        ("disk", set(probe.DISK_NAMES)),
    ],
)
def test_a_probe_that_fails_costs_its_own_facts_only(part: str, names: set[str]) -> None:
    told: list[str] = []
    facts = probe.gather(probes(**{part: broken}), told.append, 5)
    what = {"gpu": "GPU"}.get(part, part)
    reason = f"the {what} probe failed: ZeroDivisionError: in (path)"
    assert set(facts) == EXPECTED
    assert {name for name in facts if facts.get(name) == Unknown(reason)} == names
    assert f"{what}: {reason}" in told
    assert sum(line.endswith(": done") for line in told) == 3


def test_a_probe_that_hangs_is_left_behind() -> None:
    release = threading.Event()

    def hang() -> Facts:
        release.wait(30)
        return Facts()

    started = time.monotonic()
    facts = probe.gather(probes(disk=hang), quiet, 0.3)
    release.set()
    assert time.monotonic() - started < 5
    match facts.get("host.disk_free_bytes"):
        case Unknown(reason):
            assert reason.startswith("the disk probe gave no answer within")
        case known:
            pytest.fail(f"{known}")
    assert facts.value("host.os") == "x"


def test_probes_run_side_by_side() -> None:
    """Each waits for all four to have begun: one after the other they would never meet."""
    meeting = threading.Barrier(4, timeout=10)

    def met(look: Any) -> Any:
        def first() -> Any:
            meeting.wait()
            return look()

        return first

    alone = probes()
    facts = probe.gather(probe.Probes(met(alone.gpu), met(alone.software), met(alone.host), met(alone.disk)), quiet, 20)
    assert not [name for name in facts if "failed" in str(facts.get(name))]


def test_the_macs_gpu_gets_the_chips_name_and_the_hosts_memory() -> None:
    device = software.TorchDevice(memory_bytes=24 * 2**30, integrated=True)
    there = software.Software(Facts({"torch.build": Known("mps", "test")}), (device,))
    on_host = Facts({"host.cpu": Known("Apple M3", "test"), "host.ram_available_bytes": Known(9 * 2**30, "test")})
    found = probe.gather(
        probes(
            gpu=lambda: Seen(nvidia.Silent("none", absent=True), Bus(readable=False), "darwin"),
            software=lambda: there,
            host=lambda: on_host,
        ),
        quiet,
        5,
    )
    assert found.value("gpu.name") == "Apple M3"
    assert found.value("gpu.memory_free_bytes") == 9 * 2**30


def test_this_machine_gives_a_word_for_every_fact() -> None:
    """In an interpreter without torch, so that it is quick; the facts survive the way to JSON and back."""
    bare = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    facts = probe.machine(str(bare) if bare.exists() else sys.executable)
    assert {plain_name(name) for name in facts} == EXPECTED
    assert isinstance(facts.get("host.cores_usable"), Known)
    assert isinstance(facts.get("host.ram_available_bytes"), Known)
    data = json.loads(json.dumps(to_json(facts)))
    assert to_json(from_json(data, full_vocabulary(), "here")) == to_json(facts)


@pytest.mark.parametrize("python", ["", "/home/zaphod-beeblebrox/no such/python"])
def test_the_output_tells_no_user_host_or_path(python: str, tmp_path: Path) -> None:
    """Odd names everywhere that a probe could pick them up; none may come out, on stdout or in a reason."""
    home = tmp_path / "zaphod-beeblebrox"
    site = home / "site-of-trillian"
    (site / "torch").mkdir(parents=True)
    (site / "torch/__init__.py").write_text(f"raise OSError('{home}/lib.so of zaphod-beeblebrox: cannot open')")
    (home / "request.txt").write_text("")
    environment = {
        **os.environ,
        **dict.fromkeys(("HOME", "USERPROFILE", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"), str(home)),
        **dict.fromkeys(("USER", "LOGNAME", "USERNAME", "LNAME"), "zaphod-beeblebrox"),
        **dict.fromkeys(("HOSTNAME", "COMPUTERNAME"), "heart-of-gold"),
        "PYTHONPATH": os.pathsep.join([str(site), str(Path(probe.__file__).parents[2])]),
        "CUDA_VISIBLE_DEVICES": "",
    }
    words = [sys.executable, "-m", "advisor.cli", "probe", "--json", "--no-speed"]
    words += ["--python", python or sys.executable]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, cwd=home, env=environment)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["schema"] == 1
    assert set(data) == {"schema", "facts"}
    texts = [str(part) for fact in data["facts"].values() for part in fact.values()]
    private = ["zaphod", "trillian", "heart-of-gold", str(home), str(tmp_path), os.uname().nodename, sys.prefix]
    assert not [text for text in texts for word in private if word.lower() in text.lower()]
    assert not [text for text in texts if "/home" in text or "/tmp" in text or "/root" in text or ":\\" in text]
    assert "importing torch failed" in done.stdout or "gave no answer" in done.stdout


def test_host_and_disk_fill_the_hosts_facts() -> None:
    assert set(host.look()) | set(host.disk({})) == {declaration.name for declaration in HOST}
