"""What became of a name: knobs, symbols, old names and plain words, in environments made here."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from packaging.version import Version

from advisor import cli
from advisor import where as story
from advisor.errors import RequestError
from advisor.old_names import OLD_NAMES, OldKind
from advisor.probe import inside_places, locate
from advisor.probe.locate import Found, Missing, Place
from advisor.setup import knobs
from advisor.where import where


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A target environment: the symbols and words that it has, its warnings, its version. Empty at first."""
    there: dict[str, Any] = {"has": {}, "said": {}, "near": {}, "version": "5.22.2", "reason": "not in your version"}

    def look(python: str, symbols: Sequence[str], words: Sequence[str] = ()) -> Found:
        found = tuple(there["has"].get(symbol) or Missing(symbol, there["reason"]) for symbol in symbols)
        places: dict[str, tuple[Place, ...]] = dict.fromkeys(words, ())
        places |= {word: (there["has"][word],) for word in words if word in there["has"]}
        return Found(found, places, there["near"], there["said"], there["version"])

    monkeypatch.setattr(locate, "look", look)
    return there


def place(symbol: str) -> Place:
    return Place(symbol, "transformers/modeling_utils.py", 7, "def it(...)")


LOAD_8BIT = OLD_NAMES["load_in_8bit"].places[0]


@pytest.mark.parametrize("asked", ["dtype", "setup.dtype"])
def test_a_knob(asked: str, library: dict[str, Any]) -> None:
    symbol = "transformers:PreTrainedModel.from_pretrained(dtype)"
    library["has"] = {symbol: place(symbol)}
    found = where(asked, "python")
    assert (found.what, found.status, found.line) == ("knob", "in your version", knobs()["dtype"].line)
    assert found.places == (place(symbol),)


def test_a_knob_that_is_newer_than_the_library(library: dict[str, Any]) -> None:
    assert where("use_kernels", "python").status == "not in your version"
    library["reason"] = "not installed"
    assert where("use_kernels", "python").status == "not installed"


def test_a_symbol(library: dict[str, Any]) -> None:
    library["has"] = {"a.b:C.d": place("a.b:C.d")}
    assert where("a.b:C.d", "python").status == "in your version"
    assert where("a.b:gone", "python").status == "not in your version"
    library["reason"] = "no symbol: write module:Name"
    with pytest.raises(RequestError, match="no symbol"):
        where("a:b:c", "python")


@pytest.mark.parametrize(
    ("version", "there", "said", "status"),
    [
        ("5.22.2", False, None, "not in your version"),
        ("4.57.1", True, None, "in your version"),
        ("4.57.1", True, "`load_in_8bit` is deprecated", "deprecated"),
    ],
)
def test_an_argument_that_was_removed(
    version: str, there: bool, said: str | None, status: str, library: dict[str, Any]
) -> None:
    library |= {"version": version, "said": {"load_in_8bit": said} if said else {}}
    library["has"] = {LOAD_8BIT: place(LOAD_8BIT)} if there else {}
    found = where("load_in_8bit", "python")
    assert (found.what, found.status, found.library_says) == ("old argument", status, said)
    assert found.old is not None
    assert found.old.instead == "quantization_config=BitsAndBytesConfig(load_in_8bit=True)"


@pytest.mark.parametrize(("version", "status"), [("4.55.4", "in your version"), ("4.56.0", "deprecated")])
def test_an_argument_is_deprecated_from_its_version_on(version: str, status: str, library: dict[str, Any]) -> None:
    symbol = OLD_NAMES["torch_dtype"].places[0]
    library |= {"version": version, "has": {symbol: place(symbol)}}
    assert where("torch_dtype", "python").status == status


def test_an_old_name_that_stands_elsewhere_shows_that_too(library: dict[str, Any]) -> None:
    library["has"] = {"load_in_8bit": place("load_in_8bit")}
    assert where("load_in_8bit", "python").places == (
        Missing(LOAD_8BIT, "not in your version"),
        place("load_in_8bit"),
    )


def test_an_old_name_without_a_library(library: dict[str, Any]) -> None:
    library |= {"version": None, "reason": "not installed"}
    found = where("torch_dtype", "python")
    assert found.status == "not installed"
    assert found.old is not None
    assert found.old.instead == "dtype"


def test_any_of_the_places_makes_an_old_name_known(library: dict[str, Any]) -> None:
    later = OLD_NAMES["paged|sdpa"].places[1]
    library["has"] = {later: place(later)}
    assert where("paged|sdpa", "python").status == "deprecated"


def test_a_plain_word(library: dict[str, Any]) -> None:
    library["has"] = {"set_it": place("set_it")}
    assert where("set_it", "python").status == "in your version"
    library["said"] = {"set_it": "`set_it` is deprecated"}
    found = where("set_it", "python")
    assert (found.status, found.library_says) == ("deprecated", "`set_it` is deprecated")


@pytest.mark.parametrize(
    ("asked", "near", "told"),
    [
        ("set_itt", {"set_itt": ("set_it", "get_it")}, "did you mean set_it or get_it?"),
        ("dtyp", {}, "did you mean dtype?"),
        ("load_in_8bits", {}, "did you mean load_in_8bit?"),
        ("zzzz", {}, "knobs: perf-advisor diagnose --list-knobs"),
    ],
)
def test_an_unknown_word_is_a_wrong_request_with_names_like_it(
    asked: str,
    near: dict[str, tuple[str, ...]],
    told: str,
    library: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    library["near"] = near
    assert cli.main(["where", asked]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"perf-advisor: {asked}: stands nowhere in transformers 5.22.2; {told}\n"


def test_a_word_cannot_be_looked_for_without_a_library(library: dict[str, Any]) -> None:
    library["version"] = None
    with pytest.raises(RequestError, match="no transformers"):
        where("set_it", "python")


def test_an_unknown_word_is_repeated_short_and_without_control_characters(library: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        where("\x1b[31m" + "a" * 5000, "python")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_screen(library: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    library["has"] = {"load_in_8bit": place("load_in_8bit")}
    assert cli.main(["where", "load_in_8bit"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "load_in_8bit   old argument: not in your version (transformers 5.22.2)",
        "  removed in 5.0",
        "  write instead: quantization_config=BitsAndBytesConfig(load_in_8bit=True)",
        "  transformers/modeling_utils.py:7  def it(...)",
    ]
    assert cli.main(["where", "adapters"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  peft:LoraConfig: not in your version"


def test_as_json(library: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    library["has"] = {OLD_NAMES["torch_dtype"].places[0]: place("x")}
    assert cli.main(["where", "torch_dtype", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": story.SCHEMA,
        "asked": "torch_dtype",
        "what": "old argument",
        "status": "deprecated",
        "line": None,
        "deprecated_from": "4.56",
        "removed_in": None,
        "instead": "dtype",
        "library_says": None,
        "transformers": "5.22.2",
        "locate": [
            {"symbol": "x", "file": "transformers/modeling_utils.py", "line": 7, "text": "def it(...)"},
        ],
    }


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OLD_NAMES)
def test_an_old_name_is_complete(name: str) -> None:
    old = OLD_NAMES[name]
    assert old.instead
    assert all(inside_places.SYMBOL.fullmatch(symbol) for symbol in old.places)
    assert old.places
    assert name not in knobs(), "a knob is no old name"
    if old.deprecated_from and old.removed_in:
        assert Version(old.deprecated_from) < Version(old.removed_in)
    if old.kind in (OldKind.ARGUMENT, OldKind.VALUE):
        assert old.places[0][-1] in ")]"


@pytest.mark.parametrize("name", [name for name, old in OLD_NAMES.items() if old.removed_in])
def test_what_the_table_calls_removed_is_gone_from_the_installed_library(name: str) -> None:
    import importlib.metadata
    import sys

    try:
        installed = Version(importlib.metadata.version("transformers"))
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("transformers is not installed")
    old = OLD_NAMES[name]
    assert old.removed_in is not None
    if installed < Version(old.removed_in):
        pytest.skip("older than the removal")
    gone = [one for one in locate.look(sys.executable, old.places).symbols if isinstance(one, Missing)]
    assert len(gone) == len(old.places) or name in CAME_BACK


CAME_BACK = ("SlidingWindowCache",)
"""Classes that a later version defines again, to say that they are deprecated."""
