"""What is kept of the target environment counts only while nothing that it depends on has changed."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from advisor import child, kept
from advisor.facts import Known
from advisor.probe import kept_software, software

PACKAGES = {key: {"found": False, "version": None} for key in ("torch", "transformers", "kernels")}
NONE = {"python": "3.11.1", "system": "linux x86_64", "packages": PACKAGES, "torch_text": {}, "transformers_text": {}}
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kept on Linux only")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The interpreters that were asked; each answers the same, read from one file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "version.py").write_text("1")
    found: list[str] = []

    def ask(python: str, _limit: float) -> tuple[child.Outcome, list[dict[str, Any]]]:
        found.append(python)
        ages = {str(tmp_path / "version.py"): (tmp_path / "version.py").stat().st_mtime_ns}
        answer = {**NONE, "compiler": True, "inductor_cache": False, "watched": ages}
        return child.Answered(answer, "", 0.0), []

    monkeypatch.setattr(software, "ask", ask)
    yield found


def look() -> software.Software:
    return kept_software.look(sys.executable, 5)


def test_the_second_look_asks_nobody_and_says_the_same(asked: list[str]) -> None:
    assert look() == look()
    assert len(asked) == 1
    assert look().facts.get("python.version") == Known("3.11.1", "python")


def test_a_changed_file_counts(asked: list[str], tmp_path: Path) -> None:
    look()
    os.utime(tmp_path / "version.py", ns=(1, 1))
    look()
    assert len(asked) == 2


def test_a_lost_file_counts(asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look()
    (tmp_path / "version.py").rename(tmp_path / "elsewhere.py")
    monkeypatch.setattr(software, "ask", lambda *_: (child.Died("no", "", 0.0), []))
    assert look().facts.value("python.version") is None


@pytest.mark.parametrize(
    ("name", "paths"), [("BOOT", ["boot"]), ("DRIVER", ["driver"]), ("DEVICES", ["dev", "dev/nvidia0"])]
)
def test_a_new_start_driver_or_device_counts(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, paths: list[str]
) -> None:
    look()
    for path in paths:
        (tmp_path / path).mkdir() if path == "dev" else (tmp_path / path).write_text("another")
    monkeypatch.setattr(kept_software, name, tmp_path / paths[0])
    look()
    assert len(asked) == 2


def test_a_variable_counts_and_the_shell_level_does_not(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    look()
    monkeypatch.setenv("SHLVL", "17")
    look()
    assert len(asked) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    look()
    assert len(asked) == 2


def test_an_answer_grows_old(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    look()
    monkeypatch.setattr(kept_software, "LASTS_SECONDS", -1.0)
    look()
    assert len(asked) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"answer": {}, "at": 1.0}', '{"answer": {"watched": {}}, "at": 9e99}'])
def test_a_damaged_file_is_no_answer(asked: list[str], tmp_path: Path, text: str) -> None:
    look()
    (path,) = (tmp_path / "cache").rglob("software-*.json")
    path.write_text(text)
    look()
    assert len(asked) == 2


def test_an_answer_that_lacks_a_part_is_no_answer(asked: list[str], tmp_path: Path) -> None:
    look()
    (path,) = (tmp_path / "cache").rglob("software-*.json")
    whole = json.loads(path.read_text())
    for part in list(whole["answer"]):
        lacking = {name: value for name, value in whole["answer"].items() if name != part}
        path.write_text(json.dumps({**whole, "answer": lacking}))
        assert look().facts.value("python.version") == "3.11.1"


def test_a_card_that_torch_does_not_see_is_asked_for_again(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"version": "2.13.0", "threads": 1, "accelerator": None, "bf16": None, "warnings": [], "devices": []}
    torch = {**NONE, "packages": {**PACKAGES, "torch": {"found": True, "version": "2.13.0"}}, "torch": said}
    answer = {**torch, "compiler": True, "inductor_cache": False, "watched": {}}
    monkeypatch.setattr(software, "ask", lambda *_: (child.Answered(answer, "", 0.0), []))
    (tmp_path / "driver").write_text("NVRM version")
    monkeypatch.setattr(kept_software, "DRIVER", tmp_path / "driver")
    look()
    assert not list((tmp_path / "cache").rglob("software-*.json"))
    monkeypatch.setattr(kept_software, "DRIVER", tmp_path / "no driver")
    look()
    assert list((tmp_path / "cache").rglob("software-*.json"))


def test_the_real_child_says_what_it_read_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = look()
    (path,) = (tmp_path / "cache").rglob("software-*.json")
    watched = json.loads(path.read_text())["answer"]["watched"]
    assert any(place.endswith("site-packages") for place in watched)
    monkeypatch.setattr(software, "ask", lambda *_: pytest.fail("asked again"))
    assert look() == first
    kept.write("software", path.stem.removeprefix("software-"), {"answer": {"watched": {}}, "at": 1.0})
    with pytest.raises(pytest.fail.Exception):
        look()
