"""A rule's page with the places of its symbols in the library."""

import json
import sys
from pathlib import Path

import pytest

from advisor import cli
from advisor.probe import locate
from advisor.probe.locate import Found, Missing, Place

MACHINES = Path(__file__).parents[1] / "machines"
RULE = """
summary: Attention runs in eager mode
when: [setup.attn_implementation == eager]
change: {attn_implementation: sdpa}
evidence: documented
why: The score matrix is written to memory and read back.
not_when: Never.
sources: [the library's documentation]
locate: [thing.models:Model.set_it, "thing.models:Model.load(name)"]
cases:
  base: {setup.attn_implementation: eager}
  silent:
    already: {setup.attn_implementation: sdpa}
    another: {setup.attn_implementation: flex_attention}
"""
SYMBOLS = ("thing.models:Model.set_it", "thing.models:Model.load(name)")


@pytest.fixture
def rules(tmp_path: Path) -> str:
    folder = tmp_path / "rules" / "3-attention"
    folder.mkdir(parents=True)
    (folder / "a-rule-of-mine.yaml").write_text(RULE, encoding="utf-8")
    return str(tmp_path / "rules")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An environment that has the first symbol only; notes the interpreters that are asked."""
    asked: list[str] = []

    def look(python: str, symbols: tuple[str, ...]) -> Found:
        asked.append(python)
        assert symbols == SYMBOLS
        place = Place(SYMBOLS[0], "thing/models.py", 12, "def set_it(...)")
        return Found((place, Missing(SYMBOLS[1], "not in your version")), {}, {}, {}, None)

    monkeypatch.setattr(locate, "look", look)
    return asked


def test_the_page_shows_file_and_line(rules: str, library: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rule", "a-rule-of-mine", "--rules", rules, "--python", "/their/python"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "In the library",
        "  - thing/models.py:12  def set_it(...)",
        "  - thing.models:Model.load(name): not in your version",
    ]
    assert library == ["/their/python"]


def test_the_places_as_json(rules: str, library: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rule", "a-rule-of-mine", "--rules", rules, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["locate"] == [
        {"symbol": SYMBOLS[0], "file": "thing/models.py", "line": 12, "text": "def set_it(...)"},
        {"symbol": SYMBOLS[1], "missing": "not in your version"},
    ]
    assert library == [sys.executable]


def test_a_recorded_machine_has_no_library_to_ask(
    rules: str, library: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = ["--rules", rules, "--machine", str(MACHINES / "t4.json")]
    assert cli.main(["rule", "a-rule-of-mine", *recorded]) == 0
    assert "  - thing.models:Model.set_it\n" in capsys.readouterr().out
    assert cli.main(["rule", "a-rule-of-mine", "--json", *recorded]) == 0
    assert json.loads(capsys.readouterr().out)["locate"] == [{"symbol": symbol} for symbol in SYMBOLS]
    assert library == []


def test_the_page_is_printed_without_an_environment(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rule", "a-rule-of-mine", "--rules", rules, "--python", "/nonexistent/python"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Found: Attention runs in eager mode" in told
    assert f"{SYMBOLS[0]}: the target interpreter gave no answer" in told
