"""No device string is taken for another card, most are known, and the result that is kept is the program's own."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

RESULT = Path(__file__).parents[2] / "bench" / "results" / "device-strings.json"
Load = Callable[[str], ModuleType]


def test_nothing_is_wrong(program: Load) -> None:
    found = program("device_strings").result()
    assert found["strings"] >= 120
    assert not any(found["wrong"].values()), found["wrong"]


def test_most_is_known(program: Load) -> None:
    """Rows that exist are found, and NVML's figures give every bandwidth; without them a name alone gives most."""
    counts = program("device_strings").result()["counts"]
    assert counts["row"]["unknown"] <= 0.02 * sum(counts["row"].values())
    assert counts["bandwidth_by_clock"]["unknown"] == 0
    assert counts["bandwidth_by_name"]["right"] >= 0.6 * sum(counts["bandwidth_by_name"].values())


def test_every_expected_row_is_in_the_catalog(program: Load) -> None:
    bench = program("device_strings")
    catalog = bench.devices.catalog()
    for line in bench.table():
        assert line.expected == bench.ABSENT or bench.devices.normalized(line.expected) in catalog, line.name


def test_a_laptop_or_max_q_card_never_takes_a_desktop_row(program: Load) -> None:
    mobile = [line for line in program("device_strings").table() if "Laptop" in line.name or "Max-Q" in line.name]
    assert len(mobile) >= 25
    assert all(line.expected in ("unknown", line.name.removeprefix("NVIDIA ")) for line in mobile)


def test_every_row_of_the_catalog_is_asked_for(program: Load) -> None:
    bench = program("device_strings")
    asked = {bench.devices.normalized(line.expected) for line in bench.table()}
    reached = [device for name, device in bench.devices.catalog().items() if name in asked]
    assert all(device in reached for device in bench.devices.catalog().values())


def test_the_result_that_is_kept_is_the_programs(program: Load) -> None:
    assert json.loads(RESULT.read_text(encoding="utf-8")) == program("device_strings").result()
