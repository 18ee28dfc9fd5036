"""Where symbols stand, on small packages made here and on the installed library."""

import importlib.util
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import rulebook
from advisor.knob_places import KNOB_PLACES
from advisor.old_names import OLD_NAMES
from advisor.probe import inside_places, locate
from advisor.probe.locate import Found, Missing, Place
from advisor.setup import knobs

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed"
)
PACKAGE = {
    "transformers/__init__.py": """
        if TYPE_CHECKING:
            from .models import *
            from .config import Config as Settings
        else:
            raise RuntimeError("this package must not be imported")
    """,
    "transformers/config.py": """
        OLD = ("sliding", "hybrid")
        NEW = ("static",)
        ALL = OLD + NEW
        KINDS = {}
        KINDS["quantized"] = object
        NAMES = list(KINDS.keys())

        @dataclass
        class Config:
            width: int = 1

            def __init__(self, depth=2, **kwargs):
                if hasattr(self, "late"):
                    self.late = 0
                self.cache = kwargs.pop("cache", None)
                if "attention" in kwargs:
                    self._attention = kwargs.pop("attention")
    """,
    "transformers/models/__init__.py": "from .alpha import *\nfrom .dummy_alpha import Model\n",
    "transformers/models/alpha/__init__.py": "from .modeling_alpha import *\n",
    "transformers/models/alpha/modeling_alpha.py": """
        from ...config import Config
        from ...base import Base, nothing
        import torch

        class AlphaModel(nothing.Mixin, Base):
            config_class = Config

            def forward(self, ids: int,
                        mask: bool = True, *, logits_to_keep=0):
                return kwargs.get("not_mine")
    """,
    "transformers/base.py": """
        try:
            from fast import Root
        except ImportError:
            class Root:
                def to(self, device): ...

        class Base(Root):
            @overload
            def generate(self, a: int): ...
            @overload
            def generate(self, a: str): ...
            def generate(
                self, a,
            ):
                logger.warning("`a` is deprecated, " "use `b`")
    """,
    "transformers/loop_a.py": "from .loop_b import *\nfrom .loop_b import thing\n",
    "transformers/loop_b.py": "from .loop_a import *\nfrom .loop_a import thing\n",
    "transformers/broken.py": "def broken(:\n",
    "transformers/stubbed/__init__.pyi": "def native(count: int) -> None: ...\n",
    "transformers/native.cpython-311-x86_64-linux-gnu.so": "",
    "transformers-9.1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: transformers\nVersion: 9.1.0\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source).lstrip("\n"), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def one(symbol: str) -> Place | Missing:
    return locate.look(sys.executable, [symbol]).symbols[0]


def asked(word: str) -> Found:
    return locate.look(sys.executable, [], [word])


@pytest.mark.usefixtures("package")
def test_symbols_are_followed_to_where_they_are_defined() -> None:
    expected = {
        "transformers.config:ALL": ("transformers/config.py", "ALL = OLD + NEW"),
        "transformers:Settings": ("transformers/config.py", "class Config"),
        "transformers:AlphaModel": (
            "transformers/models/alpha/modeling_alpha.py",
            "class AlphaModel(nothing.Mixin, Base)",
        ),
        "transformers:AlphaModel.generate": ("transformers/base.py", "def generate(...)"),
        "transformers:AlphaModel.to": ("transformers/base.py", "def to(...)"),
        "transformers:Settings.width": ("transformers/config.py", "width: int = 1"),
        "transformers:Settings.late": ("transformers/config.py", "self.late = 0"),
        "transformers:Settings(depth)": ("transformers/config.py", "def __init__(...)"),
        "transformers:Settings(width)": ("transformers/config.py", "width: int = 1"),
        "transformers:Settings(cache)": ("transformers/config.py", 'self.cache = kwargs.pop("cache", None)'),
        "transformers:Settings(attention)": ("transformers/config.py", 'if "attention" in kwargs'),
        "transformers:AlphaModel.forward(mask)": (
            "transformers/models/alpha/modeling_alpha.py",
            "mask: bool = True, *, logits_to_keep=0)",
        ),
        "transformers:AlphaModel.config_class.width": None,
        "transformers.config:ALL[hybrid]": ("transformers/config.py", 'OLD = ("sliding", "hybrid")'),
        "transformers.config:NAMES[quantized]": ("transformers/config.py", 'KINDS["quantized"] = object'),
        "transformers.stubbed:native(count)": (
            "transformers/stubbed/__init__.pyi",
            "def native(...)",
        ),
    }
    found = locate.look(sys.executable, list(expected)).symbols
    for place, (symbol, wanted) in zip(found, expected.items(), strict=True):
        match place:
            case Place(name, file, line, text):
                assert (name, (file, text)) == (symbol, wanted)
                source = textwrap.dedent(PACKAGE[file]).lstrip("\n").splitlines()
                assert text.rstrip(".)").rstrip("(") in source[line - 1]
            case Missing(name, reason):
                assert (name, None, "not in your version") == (symbol, wanted, reason)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("symbol", "reason"),
    [
        ("transformers:Gone", "not in your version"),
        ("transformers.gone:Gone", "not in your version"),
        ("transformers:AlphaModel.gone", "not in your version"),
        ("transformers:AlphaModel.forward(not_mine)", "not in your version"),
        ("transformers.config:ALL[mamba]", "not in your version"),
        ("transformers.config:ALL(x)", "not in your version"),
        ("transformers.loop_a:thing", "not in your version"),
        ("transformers.broken:broken", "its source cannot be read"),
        ("transformers.native:f", "its source cannot be read"),
        ("no_such_package_here:Thing", "not installed"),
        ("transformers", "no symbol: write module:Name"),
        ("transformers:Settings(a b)", "no symbol: write module:Name"),
        ("../../etc/passwd:x", "no symbol: write module:Name"),
        ("transformers..config:Config", "not in your version"),
    ],
)
def test_what_is_not_found_says_why(symbol: str, reason: str) -> None:
    assert one(symbol) == Missing(symbol, reason)


def test_no_package_is_imported_and_no_path_of_the_machine_is_shown(package: Path) -> None:
    place = one("transformers:Settings")
    assert isinstance(place, Place), "importing the package raises"
    assert str(package) not in place.file


@pytest.mark.usefixtures("package")
def test_words_are_found_as_definitions_arguments_and_warnings() -> None:
    found = asked("generate")
    assert [(place.file, place.text) for place in found.words["generate"]] == [
        ("transformers/base.py", "def generate(...)")
    ]
    assert found.transformers == "9.1.0"
    assert asked("AlphaModel").words["AlphaModel"][0].file == "transformers/models/alpha/modeling_alpha.py"
    assert asked("NAMES").words["NAMES"][0].text == "NAMES = list(KINDS.keys())"
    assert asked("a").said == {"a": "`a` is deprecated, use `b`"}
    assert asked("generat").near == {"generat": ("generate",)}
    assert asked("(").words == {"(": ()}


def test_an_interpreter_that_is_not_there() -> None:
    found = locate.look("/nonexistent/python", ["torch:compile"])
    assert found.symbols == (
        Missing("torch:compile", "the target interpreter gave no answer: (path): No such file or directory"),
    )
    assert found.transformers is None


def test_a_place_and_a_gap_as_json() -> None:
    assert locate.to_json(Place("a:B", "a.py", 3, "class B")) == {
        "symbol": "a:B",
        "file": "a.py",
        "line": 3,
        "text": "class B",
    }
    assert locate.to_json(Missing("a:B", "not installed")) == {"symbol": "a:B", "missing": "not installed"}


@given(st.text(alphabet="abcdeftransformers.:()[]|_-/ \n", max_size=40))
def test_any_text_is_a_place_or_a_reason(symbol: str) -> None:
    try:
        inside_places.Library().place(symbol)
    except inside_places.Missing as missing:
        assert str(missing)


# --- the installed library -------------------------------------------------------------------------------------------


def test_every_knob_says_where_it_acts() -> None:
    assert set(KNOB_PLACES) == set(knobs())
    assert all(KNOB_PLACES.values())


@needs_transformers
@pytest.mark.parametrize("whose", ["rules", "knobs"])
def test_every_symbol_that_is_shipped_stands_in_the_installed_library(whose: str) -> None:
    symbols = {
        "rules": [symbol for rule in rulebook.load(rulebook.shipped()) for symbol in rule.locate],
        "knobs": [symbol for places in KNOB_PLACES.values() for symbol in places],
    }[whose]
    gone = [place for place in locate.look(sys.executable, symbols).symbols if isinstance(place, Missing)]
    # Rules about old names point at what is gone. Of packages that need not be there nothing can be checked here.
    old = {symbol for name in OLD_NAMES.values() for symbol in name.places}
    assert [place for place in gone if place.reason != "not installed" and place.symbol not in old] == []


@needs_transformers
def test_the_symbols_of_a_rule_take_half_a_second_at_most() -> None:
    rules = rulebook.load(rulebook.shipped())
    most = max(rules, key=lambda rule: len(rule.locate))
    assert most.locate
    started = time.perf_counter()
    locate.look(sys.executable, most.locate)
    assert time.perf_counter() - started < 2, "a loaded machine gets four times the half second"
