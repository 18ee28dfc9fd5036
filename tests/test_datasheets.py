"""The machines of tests/machines/datasheets.py are the files that lie beside it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from advisor import rulebook
from advisor.facts import read_machine

MACHINES = Path(__file__).parent / "machines"


def datasheets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("datasheets", MACHINES / "datasheets.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_datasheets_say() -> None:
    module = datasheets()
    for name, facts in module.machines().items():
        path = MACHINES / f"{name}.json"
        assert path.read_text(encoding="utf-8") == module.text(facts), (
            f"{name}: run python tests/machines/datasheets.py"
        )


@pytest.mark.parametrize("path", sorted(MACHINES.glob("*.json")), ids=lambda path: path.stem)
def test_every_machine_reads_and_names_facts_that_exist(path: Path) -> None:
    facts = read_machine(path, rulebook.full_vocabulary())
    assert facts.value("host.os") is not None
