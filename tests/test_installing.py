"""Packages are offered, installed after a yes, and nothing that is installed is ever changed. No network is used."""

import argparse
import io
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from advisor import cli, installing
from advisor.commands import install as command
from advisor.commands import options as common
from advisor.errors import RequestError
from advisor.facts import Facts
from advisor.plan import Effect, Estimate, Memory, ModelReference, Plan, Speed, Step
from advisor.planfile import write
from advisor.run.packages import INSTALLABLE, needed
from advisor.setup import Setup, knobs
from advisor.workload import Workload

UNKNOWN = Estimate(Memory(*[None] * 8), Speed(None, None, None), "formula", None, None)


def metadata(name: str, version: str, *requires: str) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    return "\n".join([*lines, *(f"Requires-Dist: {one}" for one in requires)]) + "\n"


def wheel(folder: Path, name: str, version: str, *requires: str) -> None:
    """A package of one empty module."""
    module = name.replace("-", "_")
    about = f"{module}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as packed:
        packed.writestr(f"{module}.py", "")
        packed.writestr(f"{about}/METADATA", metadata(name, version, *requires))
        packed.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{about}/RECORD", "")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds pip and, by name, torch 2.0 and transformers 5.0."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    site = next(folder.glob("lib/python*/site-packages"))
    for name, version in (("torch", "2.0"), ("transformers", "5.0")):
        about = site / f"{name}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(metadata(name, version))
    return folder / "bin" / "python"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, the only place that pip looks at."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def plan(**change: Any) -> Plan:
    setup = Setup(device="cpu", dtype="bfloat16", batching="padded")
    step = Step("rule", "5-quantize", "about", change, Effect(None, None, None), "measured", (), (), 1)
    return Plan(
        ModelReference("folder", "model", None, False), Facts(), Workload(), Facts(), setup, {}, UNKNOWN,
        setup.changed(change), UNKNOWN, (step,), (), (), (), {}, (),
    )  # fmt: skip


def have(python: Path) -> dict[str, str]:
    answer = installing._ask(str(python), {"ask": "look", "names": []}, 60)
    assert answer is not None
    found: dict[str, str] = answer["installed"]
    return found


def given(**options: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"install": False, "yes": False, "no_input": True, "json": False, **options})


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"quantization": "bnb_nf4"}, ("accelerate", "bitsandbytes")),
        ({"quantization": "torchao_int8"}, ("accelerate", "torchao")),
        ({"quantization": "none", "device_map": "none"}, ()),
        ({"device_map": "auto"}, ("accelerate",)),
        ({"attn_implementation": "kernels-community/flash-attn2"}, ("kernels",)),
        ({"attn_implementation": "flash_attention_2"}, ("flash-attn",)),
        ({"cache_implementation": "quantized"}, ("optimum-quanto",)),
        ({"cache_implementation": "quantized", "cache_backend": "fp8"}, ()),
    ],
)
def test_what_a_setup_needs(change: dict[str, Any], names: tuple[str, ...]) -> None:
    assert needed(Setup().changed(change)) == names


def test_pip_is_asked_for_names_of_our_own_alone() -> None:
    for name, knob in knobs().items():
        for value in knob.values:
            assert set(needed(Setup().changed({name: value}))) <= set(INSTALLABLE)
    with pytest.raises(AssertionError):
        installing._ask("python", {"ask": "look", "names": ["evil"]}, 1)


def test_an_offer_a_refusal_and_an_installation(
    bare: Path, index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = have(bare)
    assert before["torch"] == "2.0"
    bnb = plan(quantization="bnb_int8")

    command.offer(bnb, str(bare), given())
    assert f"{bare} -m pip install accelerate bitsandbytes" in capsys.readouterr().err

    # Another torch is asked for: refused, although it is at hand.
    wheel(index, "torch", "9.0")
    wheel(index, "accelerate", "1.0")
    wheel(index, "bitsandbytes", "0.50", "torch>=9")
    with pytest.raises(RequestError, match=r"conflict|Cannot install"):
        command.offer(bnb, str(bare), given(install=True, yes=True))
    assert have(bare) == before

    # A package and what it needs, with this torch: shown, not installed without a yes, installed with one.
    wheel(index, "bitsandbytes", "0.49", "torch>=2", "helpful-one")
    wheel(index, "helpful-one", "3")
    command.offer(bnb, str(bare), given(install=True))
    said = capsys.readouterr().err
    assert "pip would add" in said and "helpful-one 3" in said and "Nothing was installed" in said
    monkeypatch.setattr(common, "may_ask", lambda _: True)
    for typed in ("no\n", "y\n", "\n", ""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        command.offer(bnb, str(bare), given(install=True, no_input=False))
    assert have(bare) == before
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    command.offer(bnb, str(bare), given(install=True, no_input=False))
    added = {"accelerate": "1.0", "bitsandbytes": "0.49", "helpful-one": "3"}
    assert have(bare) == before | added
    command.offer(bnb, str(bare), given(install=True))  # nothing lacks now: nothing is said
    subprocess.run([bare, "-m", "pip", "uninstall", "-qy", *added], check=True)


def test_a_source_archive_is_never_built(bare: Path, index: Path) -> None:
    mark = index / "built"
    with zipfile.ZipFile(index / "torchao-1.0.zip", "w") as packed:
        packed.writestr("torchao-1.0/setup.py", f"open({str(mark)!r}, 'w')\n")
        packed.writestr("torchao-1.0/PKG-INFO", metadata("torchao", "1.0"))
    wheel(index, "accelerate", "1.0")
    with pytest.raises(RequestError, match="torchao"):
        command.offer(plan(quantization="torchao_int8"), str(bare), given(install=True, yes=True))
    assert not mark.exists()
    assert "accelerate" not in have(bare)


def test_yes_alone_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    write(plan(), tmp_path / "plan.json")
    assert cli.main(["apply", "--plan", str(tmp_path / "plan.json"), "--yes"]) == 2
    assert "--yes: agrees to --install" in capsys.readouterr().err


def test_an_interpreter_that_does_not_answer_offers_nothing() -> None:
    assert installing.missing(plan(quantization="bnb_int8"), "/no/such/python") is None
