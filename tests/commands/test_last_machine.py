"""The machine as it was last probed: read fast where this version kept it, checked where another one did."""

from pathlib import Path

import pytest

from advisor import kept, rulebook
from advisor.commands import options
from advisor.facts import Facts, Known, Unknown, read_machine

MACHINES = Path(__file__).parents[1] / "machines"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_path", lambda kind, name: tmp_path / f"{kind}-{name}.json")


@pytest.mark.parametrize("path", sorted(MACHINES.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_kept_comes_back(path: Path) -> None:
    machine = read_machine(path, rulebook.full_vocabulary())
    options.remember_machine(machine)
    found = options.last_machine()
    assert found is not None
    assert {name: found.get(name) for name in found} == {name: machine.get(name) for name in machine}


def test_what_another_version_kept_is_checked_and_then_its_own() -> None:
    options.remember_machine(Facts({"gpu.count": Known(2, "nvml"), "gpu.name": Unknown("no driver")}))
    record = kept.read("machine", "last")
    assert record is not None
    kept.write("machine", "last", record | {"declared": ["older"]})
    found = options.last_machine()
    assert found is not None and found.count("gpu.count") == 2
    assert kept.read("machine", "last") == record
    wrong = {"gpu.count": {"value": "two", "source": "nvml"}}
    kept.write("machine", "last", {"declared": ["older"], "facts": wrong})
    assert options.last_machine() is None


@pytest.mark.parametrize("facts", [None, [], {"gpu.count": 2}, {"gpu.count": {"value": None, "source": "nvml"}}])
def test_a_damaged_record_counts_as_none(facts: object) -> None:
    options.remember_machine(Facts())
    record = kept.read("machine", "last")
    assert record is not None
    kept.write("machine", "last", record | {"facts": facts})
    assert options.last_machine() is None
    kept.write("machine", "last", {"facts": facts})
    assert options.last_machine() is None
