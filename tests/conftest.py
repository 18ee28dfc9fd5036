"""What all tests share: no test touches the user's own folders, or the network."""

import os
from pathlib import Path

import pytest

MACHINES = Path(__file__).parent / "machines"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and data go to a folder of the test run; libraries are told that there is no network."""
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(home / name.lower()))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    os.environ.pop("COLUMNS", None)
