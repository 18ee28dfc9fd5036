"""The target environment: recorded answers become facts; the child on packages and source files made here."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from advisor.facts import Facts, Known, Unknown, fits
from advisor.probe import inside_software, software
from advisor.vocabulary import DECLARATIONS, SOFTWARE

ABSENT = {"found": False, "version": None}


def answer(**changes: Any) -> dict[str, Any]:
    """What a current CUDA environment on a machine with one GPU answers."""
    whole: dict[str, Any] = {
        "python": "3.12.11",
        "system": "linux x86_64",
        "packages": {
            **dict.fromkeys(inside_software.PACKAGES, ABSENT),
            "torch": {"found": True, "version": "2.9.1"},
            "transformers": {"found": True, "version": "5.22.2"},
            "kernels": {"found": True, "version": "0.17.2"},
        },
        "torch_text": {"__version__": "2.9.1+cu128", "cuda": "12.8", "hip": None, "xpu": None},
        "transformers_text": {
            "attention": ["flash_attention_2", "sdpa"],
            "kernels_bounds": ["0.17.2", "0.18.0"],
            "kernels_declared": ">=0.17.2,<0.18",
            "settings": {
                **{name.rpartition(".")[2]: ["static"] for name in software.SETTINGS},
                "serve": True,
            },
        },
        "compiler": True,
        "inductor_cache": False,
        "torch": {
            "version": "2.9.1+cu128",
            "threads": 8,
            "accelerator": "cuda",
            "warnings": [],
            "bf16": True,
            "devices": [{"name": "A", "uuid": "5a", "pci": "0000:3b:00", "memory_bytes": 7, "capability": 8.0}],
        },
    }
    return whole | changes


def with_package(name: str, found: bool, version: str | None) -> dict[str, Any]:
    return answer(packages=answer()["packages"] | {name: {"found": found, "version": version}})


def test_every_fact_has_a_word_of_its_kind() -> None:
    facts = Facts(dict(_items(software.read(answer()))))
    assert set(facts) == {declaration.name for declaration in SOFTWARE}
    for declaration in SOFTWARE:
        match facts.get(declaration.name):
            case Known(value):
                assert fits(value, declaration), declaration.name
            case Unknown(reason):
                assert reason


def _items(facts: Facts) -> list[tuple[str, Known | Unknown]]:
    return [(name, facts.get(name)) for name in facts]


def test_a_current_environment() -> None:
    facts = software.read(answer())
    assert facts.value("torch.version") == "2.9.1+cu128", "torch knows its build, the metadata may not"
    assert facts.value("torch.build") == "cuda"
    assert facts.value("torch.cuda") == "12.8"
    assert facts.value("torch.bf16") is True
    assert facts.value("transformers.attention") == ("eager", "flash_attention_2", "sdpa")
    assert facts.value("transformers.kernels_range") == ">=0.17.2,<0.18.0"
    assert facts.value("kernels.accepted") is True
    assert facts.get("accelerate.installed") == Known(False, "installed files")
    assert facts.get("accelerate.version") == Unknown("not installed")


@pytest.mark.parametrize(
    ("text", "system", "build"),
    [
        ({"cuda": "12.8", "hip": None, "xpu": None}, "linux x86_64", "cuda"),
        ({"cuda": None, "hip": "6.4.1", "xpu": None}, "linux x86_64", "rocm"),
        ({"cuda": None, "hip": None, "xpu": "20250101"}, "linux x86_64", "xpu"),
        ({"cuda": None, "hip": None}, "linux x86_64", "cpu"),
        ({"__version__": "2.4.0+xpu", "cuda": None, "hip": None}, "linux x86_64", "xpu"),
        ({"cuda": None, "hip": None, "xpu": None}, "darwin arm64", "mps"),
        ({"cuda": None, "hip": None, "xpu": None}, "darwin x86_64", "cpu"),
        ({}, "linux x86_64", None),
    ],
)
def test_the_build_is_read_from_the_version_file(text: dict[str, Any], system: str, build: str | None) -> None:
    assert software.read(answer(torch_text=text, system=system)).value("torch.build") == build


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("0.17.1", False), ("0.17.2", True), ("0.17.9", True), ("0.18.0", False), ("0.18.0.dev1", True)],
)
def test_a_version_of_kernels_against_both_bounds(version: str, accepted: bool) -> None:
    assert software.read(with_package("kernels", True, version)).value("kernels.accepted") is accepted


def test_without_bounds_the_declared_range_counts() -> None:
    changed = {"attention": None, "kernels_bounds": ["0.9.0", None], "kernels_declared": ">=0.10.2,<0.11"}
    text = answer()["transformers_text"] | changed
    facts = software.read(answer(transformers_text=text))
    assert facts.value("transformers.kernels_range") == ">=0.10.2,<0.11"
    assert facts.value("kernels.accepted") is False
    assert isinstance(facts.get("transformers.attention"), Unknown)


@pytest.mark.parametrize(
    ("changed", "name", "reason"),
    [
        (with_package("kernels", False, None), "kernels.accepted", "kernels is not installed"),
        (with_package("transformers", False, None), "kernels.accepted", "transformers is not installed"),
        (with_package("transformers", False, None), "transformers.attention", "transformers is not installed"),
        (with_package("kernels", True, "odd"), "kernels.version", "installed with a version that cannot be compared"),
        (with_package("triton", True, None), "triton.version", "installed without a version"),
        (with_package("torch", False, None), "torch.sees_gpu", "torch is not installed"),
        (with_package("torch", False, None), "torch.build", "torch is not installed"),
    ],
)
def test_what_is_not_there_says_so(changed: dict[str, Any], name: str, reason: str) -> None:
    assert software.read(changed).get(name) == Unknown(reason)


def test_settings_are_known_unless_the_source_was_not_read() -> None:
    read = answer()["transformers_text"]["settings"]
    text = answer()["transformers_text"] | {
        "settings": read | {"compile_settings": [], "quantizers": None, "cache_implementations": ["static", "dynamic"]}
    }
    facts = software.read(answer(transformers_text=text))
    assert facts.get("transformers.cache_implementations") == Known(("static", "dynamic"), "installed files")
    assert facts.get("transformers.compile_settings") == Known((), "installed files"), "a version may have none"
    assert facts.get("transformers.serve") == Known(True, "installed files")
    assert isinstance(facts.get("transformers.quantizers"), Unknown)
    without = software.read(with_package("transformers", False, None))
    assert {without.get(name) for name in software.SETTINGS} == {Unknown("transformers is not installed")}


def test_a_torch_that_cannot_be_asked_keeps_what_was_read() -> None:
    facts = software.read(answer(torch=None), "importing torch failed: exit code 1")
    for name in ("torch.installed", "torch.sees_gpu", "torch.bf16", "torch.threads"):
        assert facts.get(name) == Unknown("importing torch failed: exit code 1")
    assert facts.value("torch.build") == "cuda"
    assert facts.value("torch.version") == "2.9.1"
    assert software.torch_devices(answer(torch=None)) is None


def test_torch_without_a_device_hands_its_warning_on() -> None:
    said = answer()["torch"] | {"accelerator": None, "bf16": None, "devices": [], "warnings": ["driver too old /x/y"]}
    facts = software.read(answer(torch=said))
    assert facts.value("torch.sees_gpu") is False
    assert facts.get("torch.bf16") == Unknown("torch finds no accelerator: driver too old (path)")
    assert software.torch_devices(answer(torch=said)) == ()


def test_devices_keep_torchs_order_and_what_it_does_not_tell() -> None:
    rows = [{"name": "B", "memory_bytes": 3}, {"name": "A", "uuid": "5a", "integrated": True}]
    found = software.torch_devices(answer(torch=answer()["torch"] | {"devices": rows}))
    assert found == (software.TorchDevice("B", memory_bytes=3), software.TorchDevice("A", "5a", integrated=True))


# --- the child -------------------------------------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Path]:
    """Writes modules and metadata into a folder that the child finds before everything else."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "site" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
        return tmp_path / "site"

    return write


def metadata(name: str, version: str) -> dict[str, str]:
    return {f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}


def test_a_torch_that_fails_to_import_leaves_the_rest(packages: Callable[[dict[str, str]], Path]) -> None:
    packages(
        {
            "torch/__init__.py": "raise OSError('libcudart.so.12 at /secret/place: cannot open')",
            "torch/version.py": "__version__ = '9.9.1+cu128'\ncuda: str = '12.8'\nhip = None\n",
            **metadata("torch", "9.9.1"),
        }
    )
    found = software.look(sys.executable, 20)
    assert found.devices is None
    assert found.facts.value("torch.build") == "cuda"
    assert found.facts.value("torch.version") == "9.9.1"
    match found.facts.get("torch.installed"):
        case Unknown(reason):
            assert reason.startswith("importing torch failed: exit code 1: OSError: libcudart.so.12")
            assert "secret" not in reason
        case known:
            pytest.fail(f"{known}")


def test_a_torch_that_hangs_is_ended_and_leaves_the_rest(packages: Callable[[dict[str, str]], Path]) -> None:
    packages({"torch/__init__.py": "import time; time.sleep(60)", "torch/version.py": "__version__ = '9.9.1'\n"})
    found = software.look(sys.executable, 2)
    assert found.facts.get("torch.sees_gpu") == Unknown("importing torch failed: no answer within 2 s")
    assert isinstance(found.facts.get("python.version"), Known)


def test_a_module_without_metadata_and_metadata_without_module(packages: Callable[[dict[str, str]], Path]) -> None:
    packages({"gptqmodel/__init__.py": "", **metadata("torchao", "0.18.0"), "torch/__init__.py": "raise SystemExit(3)"})
    facts = software.look(sys.executable, 20).facts
    assert facts.value("gptqmodel.installed") is False
    assert facts.value("torchao.installed") is False


def test_flash_attention_4_is_not_taken_for_2(packages: Callable[[dict[str, str]], Path]) -> None:
    files = {"flash_attn/__init__.py": "", "torch/__init__.py": "raise SystemExit(3)"}
    packages(files | metadata("flash_attn_4", "4.0.0"))
    facts = software.look(sys.executable, 20).facts
    assert facts.value("flash_attn.installed") is False
    assert facts.value("flash_attn_4.version") == "4.0.0"
    packages(metadata("flash_attn", "2.8.3"))
    assert software.look(sys.executable, 20).facts.value("flash_attn.version") == "2.8.3"


@pytest.mark.parametrize(("folder", "there"), [(None, False), ("", False), ("/some/where", True)])
def test_a_folder_for_compiled_code_is_set_or_not(
    folder: str | None,
    there: bool,
    packages: Callable[[dict[str, str]], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packages({"torch/__init__.py": "raise SystemExit(3)"})
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    if folder is not None:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", folder)
    assert software.look(sys.executable, 20).facts.get("environment.inductor_cache") == Known(there, "environment")


def test_the_child_reads_the_settings_of_the_package_it_finds(packages: Callable[[dict[str, str]], Path]) -> None:
    packages(
        {
            "transformers/__init__.py": "raise RuntimeError('imported')",
            "transformers/generation/configuration_utils.py": "ALL_CACHE_IMPLEMENTATIONS = ('static', 'mine')\n",
            "torch/__init__.py": "raise SystemExit(3)",
            **metadata("transformers", "9.1.0"),
        }
    )
    facts = software.look(sys.executable, 20).facts
    assert facts.value("transformers.cache_implementations") == ("static", "mine")
    assert facts.value("transformers.serve") is False
    assert isinstance(facts.get("transformers.quantizers"), Unknown)


@pytest.mark.parametrize("python", ["/nonexistent/python", sys.executable[:-1] + "!"])
def test_an_interpreter_that_is_not_there(python: str) -> None:
    found = software.look(python, 5)
    assert found.devices is None
    assert set(found.facts) == {declaration.name for declaration in SOFTWARE}
    for _, fact in _items(found.facts):
        assert fact == Unknown("the target interpreter gave no answer: (path): No such file or directory")


@pytest.mark.parametrize(
    ("source", "backends"),
    [
        ("class AttentionInterface:\n    _global_mapping = {'sdpa': f, 'paged|eager': g}\n", ["sdpa", "paged|eager"]),
        ("ALL_ATTENTION_FUNCTIONS.update({'flex_attention': f, 'sdpa': g})\n", ["flex_attention", "sdpa"]),
        ("_global_mapping = make()\n", None),
        ("LLAMA = {'eager': 1}\n", None),
        ("def broken(:\n", None),
        ("x = '\\0'\n", None),
    ],
)
def test_attention_backends_from_source(source: str, backends: list[str] | None, tmp_path: Path) -> None:
    path = tmp_path / "modeling_utils.py"
    path.write_text(source, encoding="utf-8")
    assert inside_software.attention(path) == backends


def test_source_that_is_missing_or_too_large_is_no_crash(tmp_path: Path) -> None:
    assert inside_software.attention(tmp_path / "none.py") is None
    large = tmp_path / "large.py"
    large.write_text("#" * (inside_software.LARGEST_SOURCE_BYTES + 1), encoding="utf-8")
    assert inside_software.tree(large) is None


def test_only_literals_are_taken_and_nothing_is_run(tmp_path: Path) -> None:
    path = tmp_path / "version.py"
    path.write_text("__version__ = '1'\ncuda: str = open('/etc/passwd').read()\nhip = None\n(a, b) = 1, 2\n")
    assert inside_software.constants(path, ("__version__", "cuda", "hip", "a")) == {"__version__": "1", "hip": None}


@pytest.mark.parametrize(("cxx", "there"), [(None, True), ("", False), ("no-such-compiler", False), ("mine++", True)])
def test_the_compiler_is_inductors(
    cxx: str | None, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("g++", "clang++", "cl", "mine++"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if cxx is not None:
        monkeypatch.setenv("CXX", cxx)
    assert inside_software.compiler() is there


def test_the_child_drops_its_own_folder_from_the_path(tmp_path: Path) -> None:
    """A sibling is called host.py; the child must not find it, or any other, under that name."""
    copy = tmp_path / "probe" / "inside_software.py"
    copy.parent.mkdir()
    copy.write_text(Path(inside_software.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (copy.parent / "torch.py").write_text("raise SystemExit('shadowed')")
    command = [sys.executable, "-S", str(copy), "request", str(tmp_path / "answer.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "answer.json").read_text())["packages"]["torch"]["found"] is False


@pytest.mark.models
def test_this_environment_read_and_imported_agree() -> None:
    """What is read from source is what the imported library says."""
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.utils import is_kernels_available

    facts = software.look(sys.executable, 60).facts
    assert facts.value("transformers.version") == transformers.__version__
    assert set(facts.value("transformers.attention") or ()) == {"eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()}
    assert facts.is_true("kernels.accepted") == is_kernels_available()
    assert Version(facts.text("torch.version") or "0") == Version(pytest.importorskip("torch").__version__)


def test_names_are_those_of_the_vocabulary() -> None:
    declared = {declaration.name for declaration in DECLARATIONS}
    for name in inside_software.PACKAGES:
        assert {f"{name}.installed", f"{name}.version"} <= declared
