"""What is shipped works away from the checkout: the wheel brings its rules and shapes and needs no torch."""

import os
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MACHINES = ROOT / "tests" / "machines"


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    words = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    done = run(*words, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked into a folder of its own, as pip would."""
    target = tmp_path_factory.mktemp("site")
    words = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    done = run(sys.executable, *words, cwd=target)
    assert done.returncode == 0, done.stderr
    return target


def test_the_core_does_not_ask_for_torch_and_the_extra_keeps_what_is_there(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("METADATA"))
        needs = HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []
    core = [need for need in needs if "extra ==" not in need]
    heavy = ("torch", "transformers", "accelerate", "bitsandbytes", "safetensors", "numpy")
    assert not [need for need in core if need.startswith(heavy)]
    torch = [need for need in needs if need.startswith("torch")]
    assert torch == ["torch; extra == 'run'"], "a bound could make pip replace the torch that is there"


def test_the_wheel_finds_its_rules_and_diagnoses(installed: Path, tmp_path: Path) -> None:
    where = (sys.executable, "-P", "-m", "advisor.cli")
    path = {"PYTHONPATH": str(installed)}
    found = run(sys.executable, "-P", "-c", "import advisor.rulebook as r; print(r.shipped())", cwd=tmp_path, **path)
    assert found.stdout.strip() == str(installed / "advisor" / "rules")
    done = run(*where, "rule", "--test", str(installed / "advisor" / "rules"), cwd=tmp_path, **path)
    assert done.returncode == 0, done.stdout
    machine = str(MACHINES / "t4.json")
    done = run(*where, "diagnose", "qwen2.5-7b", "--machine", machine, "--no-input", cwd=tmp_path, **path)
    assert done.returncode == 0, done.stderr
    assert "weights-far-too-large" in done.stdout
    assert (tmp_path / "plan.json").exists()
