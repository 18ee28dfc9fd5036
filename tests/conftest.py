"""What all tests share: no test touches the user's own folders, or the network."""

import functools
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Where tests share the cores, torch's threads would spend them waiting for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

MACHINES = Path(__file__).parent / "machines"


@functools.cache
def _torch_finds_a_gpu() -> bool:
    words = [sys.executable, "-c", "import torch; raise SystemExit(not torch.cuda.is_available())"]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that need a GPU are left out where there is none; `pytest -m gpu` runs them where there is one."""
    if item.get_closest_marker("gpu") and not _torch_finds_a_gpu():
        pytest.skip("torch finds no GPU")


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


@pytest.fixture
def signals_as_usual() -> Iterator[None]:
    """What a shell's background job or nohup ignores is not ignored meanwhile; children would inherit that."""
    usual = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        usual[signal.SIGHUP] = signal.SIG_DFL  # type: ignore[assignment]
    ignored = [number for number in usual if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, usual[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def snapshot(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a screen with the reviewed one in `snapshots/` beside the test; UPDATE_SNAPSHOTS=1 writes it anew."""

    def compare(name: str, screen: str) -> None:
        path = Path(request.path).parent / "snapshots" / f"{name}.txt"
        screen = "\n".join(line.rstrip() for line in screen.splitlines()) + "\n"
        if os.environ.get("UPDATE_SNAPSHOTS"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(screen, encoding="utf-8")
        assert path.exists(), f"no reviewed screen {path.name}; write it with UPDATE_SNAPSHOTS=1 and read it"
        assert screen == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="session")
def refused() -> Callable[[Sequence[str]], dict[str, str]]:
    """The recipes that the installed transformers would refuse, with the reason; see accepted.py."""
    spec = importlib.util.spec_from_file_location("accepted", Path(__file__).with_name("accepted.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answer: Callable[[Sequence[str]], dict[str, str]] = module.refused
    return answer
