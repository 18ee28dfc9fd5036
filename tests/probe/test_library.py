"""Which settings the installed transformers takes, read from small source trees in the form of several versions."""

import ast
import importlib.util
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import child
from advisor.probe import inside_library as library
from advisor.probe import software

INSTALLED = importlib.util.find_spec("transformers")
needs_transformers = pytest.mark.skipif(INSTALLED is None, reason="transformers is not installed")


def written(place: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
    return place


# --- caches ----------------------------------------------------------------------------------------------------------


def caches(tmp_path: Path, source: str) -> dict[str, list[str] | None]:
    return library.cache_implementations(written(tmp_path, {"c.py": source}) / "c.py")


def test_sums_of_tuples_with_a_deprecated_part(tmp_path: Path) -> None:
    found = caches(
        tmp_path,
        """
        STATIC = ("static", "offloaded_static")
        DEPRECATED_STATIC_CACHE_IMPLEMENTATIONS = ("sliding_window", "hybrid")
        ALL_STATIC = STATIC + DEPRECATED_STATIC_CACHE_IMPLEMENTATIONS
        ALL_CACHE_IMPLEMENTATIONS = ALL_STATIC + ("dynamic", "quantized")
        """,
    )
    assert found["cache_implementations"] == ["static", "offloaded_static", "dynamic", "quantized"]
    assert found["cache_implementations_deprecated"] == ["sliding_window", "hybrid"]


def test_keys_of_mappings_that_are_filled_under_a_condition(tmp_path: Path) -> None:
    found = caches(
        tmp_path,
        """
        NEEDS_CONFIG = {}
        MAPPING = {}
        ALL_CACHE_IMPLEMENTATIONS = []
        if is_torch_available():
            NEEDS_CONFIG["quantized"] = QuantizedCacheConfig
            NEEDS_CONFIG["static"] = StaticCacheConfig
            MAPPING = {"static": StaticCache, "mamba": MambaCache}
            ALL_CACHE_IMPLEMENTATIONS = list(MAPPING.keys()) + list(NEEDS_CONFIG.keys())
        """,
    )
    assert found["cache_implementations"] == ["static", "mamba", "quantized"]
    assert found["cache_implementations_deprecated"] == []


@pytest.mark.parametrize("source", ["ALL_CACHE_IMPLEMENTATIONS = made()", "OTHER = ('static',)", "def broken(:", ""])
def test_a_list_of_caches_that_cannot_be_read_is_unknown(source: str, tmp_path: Path) -> None:
    assert set(caches(tmp_path, source).values()) == {None}


# --- arguments -------------------------------------------------------------------------------------------------------


def test_arguments_are_those_that_are_read(tmp_path: Path) -> None:
    source = """
    class PreTrainedModel:
        def from_pretrained(cls, pretrained_model_name_or_path, *args, config=None, token: str = None, **kwargs):
            dtype = kwargs.pop("dtype", None)
            hidden = kwargs.pop("_from_auto", None)
            adapter = (kwargs.pop("adapter", {}) or {}).copy()
            _ = kwargs.pop("mirror", None)
            kwargs.pop("_commit_hash", None)
            kwargs.pop("thrown_away", None)
            for name in ["offload_state_dict"]:
                _ = kwargs.pop(name, None)
            other.pop("not_an_argument")
            if kwargs.get("gguf_file"):
                config.kernel = kwargs.pop("kernel")
    """
    found = library.loading_arguments(written(tmp_path, {"m.py": source}) / "m.py")
    assert found is not None
    assert sorted(found) == ["adapter", "config", "dtype", "gguf_file", "kernel", "token"]


def test_settings_of_generation_and_what_is_no_class_of_that_name(tmp_path: Path) -> None:
    source = "class GenerationConfig:\n    def __init__(self, **kwargs):\n        self.a = kwargs.pop('a', 1)\n"
    place = written(tmp_path, {"g.py": source, "none.py": "class Other: pass\n"})
    assert library.generation_settings(place / "g.py") == ["a"]
    assert library.generation_settings(place / "none.py") is None
    assert library.generation_settings(place / "absent.py") is None


def test_fields_of_a_dataclass(tmp_path: Path) -> None:
    source = """
    class CompileConfig:
        backend: str = "inductor"
        options: dict | None = None
        _private: bool = False
        shared: ClassVar[int] = 1
        plain = 2
        def method(self): local: int = 3
    """
    place = written(tmp_path, {"g.py": source})
    assert library.fields(place / "g.py", "CompileConfig") == ["backend", "options"]
    assert library.fields(place / "g.py", "Missing") == [], "this version has none"
    assert library.fields(place / "absent.py", "CompileConfig") is None


def test_continuous_batching_in_its_three_forms(tmp_path: Path) -> None:
    new = {"configuration_utils.py": "class ContinuousBatchingConfig:\n    page_size: int = 256\n"}
    assert library.continuous_settings(written(tmp_path / "new", new)) == ["page_size"]
    asked = "x = getattr(generation_config, 'num_blocks', None)\ny = getattr(self.generation_config, 'max_memory', 1)\n"
    other = "z = getattr(config, 'hidden_size', None)\n"
    old = {"configuration_utils.py": "x = 1\n", "continuous_batching/cache.py": asked + other}
    assert library.continuous_settings(written(tmp_path / "old", old)) == ["num_blocks", "max_memory"]
    first = {"configuration_utils.py": "x = 1\n", "continuous_batching.py": asked}
    assert library.continuous_settings(written(tmp_path / "first", first)) == ["num_blocks", "max_memory"]
    assert library.continuous_settings(written(tmp_path / "none", {"configuration_utils.py": "x = 1\n"})) == []


# --- quantizers ------------------------------------------------------------------------------------------------------

BASE = """
class HfQuantizer:
    requires_calibration = False
    def param_needs_quantization(self, model, name):
        "Doc."
        return False
    def get_quantize_ops(self):
        raise NotImplementedError("not available yet")
"""
KINDS = """
class Works(HfQuantizer):
    def param_needs_quantization(self, model, name): return name in model
    def get_quantize_ops(self): return Op()
class Inherits(Works): pass
class Refused(HfQuantizer):
    def param_needs_quantization(self, model, name): return name in model
class RefusedToo(Refused): pass
class Calibrated(Refused):
    requires_calibration = True
class LoadsOnly(HfQuantizer): pass
class SaysNo(Refused):
    def param_needs_quantization(self, model, name): return False
"""
REGISTRY = """
AUTO_QUANTIZER_MAPPING = {"works": Works, "inherits": Inherits, "refused": Refused, "refused_too": RefusedToo,
    "calibrated": Calibrated, "loads_only": LoadsOnly, "says_no": SaysNo, "elsewhere": Elsewhere}
"""


def test_methods_whose_class_inherits_the_refusal_are_left_out(tmp_path: Path) -> None:
    place = written(tmp_path, {"base.py": BASE, "quantizer_x.py": KINDS, "auto.py": REGISTRY})
    assert library.quantizers(place) == ["works", "inherits", "calibrated", "loads_only", "says_no", "elsewhere"]


def test_before_the_refusal_existed_all_are_carried_out(tmp_path: Path) -> None:
    place = written(tmp_path, {"quantizer_x.py": KINDS, "auto.py": REGISTRY})
    assert "refused" in (library.quantizers(place) or [])


def test_classes_that_inherit_from_each_other_end(tmp_path: Path) -> None:
    files = {"q.py": "class A(B): pass\nclass B(A): pass\n", "auto.py": "AUTO_QUANTIZER_MAPPING = {'a': A}\n"}
    assert library.quantizers(written(tmp_path, files)) == ["a"]


@pytest.mark.parametrize("source", ["AUTO_QUANTIZER_MAPPING = make()", "x = 1", "def broken(:"])
def test_a_registry_that_cannot_be_read_is_unknown(source: str, tmp_path: Path) -> None:
    assert library.quantizers(written(tmp_path, {"auto.py": source})) is None


# --- the server, and whatever the source may be ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "there"),
    [
        ({"cli/serving/chat_completion.py": 'ROUTE = "/v1/chat/completions"'}, True),
        ({"commands/serving.py": '@app.post("/v1/chat/completions")\ndef f(): pass'}, True),
        ({"commands/serving.py": 'APIRoute("/forward")'}, False),
        ({}, False),
    ],
)
def test_the_server_is_the_one_with_openai_endpoints(files: dict[str, str], there: bool, tmp_path: Path) -> None:
    assert library.settings(written(tmp_path, files))["serve"] is there


PIECES = st.sampled_from(
    [
        "ALL_CACHE_IMPLEMENTATIONS",
        "AUTO_QUANTIZER_MAPPING",
        "=",
        "+",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "'a'",
        ":",
        ",",
        "X",
    ]
)


@given(st.lists(PIECES, max_size=20).map(" ".join))
def test_any_source_gives_names_or_nothing(source: str) -> None:
    parsed = ast.parse("") if not _is_python(source) else ast.parse(source)
    for names in library.collections(parsed.body, {}).values():
        assert all(isinstance(name, str) for name in names)
    for node in parsed.body:
        assert isinstance(library.mapping(node), dict | None)


def _is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


# --- the installed library -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed() -> dict[str, Any]:
    assert INSTALLED is not None and INSTALLED.origin is not None
    return library.settings(Path(INSTALLED.origin).parent)


@needs_transformers
def test_the_installed_library_is_read_whole_and_fast() -> None:
    assert INSTALLED is not None and INSTALLED.origin is not None
    started = time.process_time()
    found = library.settings(Path(INSTALLED.origin).parent)
    assert time.process_time() - started < 2
    assert set(found) == {name.rpartition(".")[2] for name in software.SETTINGS}
    assert None not in found.values()


@needs_transformers
@pytest.mark.parametrize(
    ("fact", "names"),
    [
        ("cache_implementations", {"static", "quantized", "offloaded"}),
        ("quantizers", {"bitsandbytes_4bit", "bitsandbytes_8bit", "torchao"}),
        ("loading_arguments", {"device_map", "max_memory", "quantization_config", "attn_implementation", "revision"}),
        ("generation_settings", {"max_new_tokens", "cache_implementation", "prompt_lookup_num_tokens", "use_cache"}),
        ("training_settings", {"gradient_checkpointing", "optim", "eval_accumulation_steps", "torch_compile"}),
    ],
)
def test_what_every_recent_version_has(fact: str, names: set[str], installed: dict[str, Any]) -> None:
    assert names <= set(installed[fact])


@needs_transformers
@pytest.mark.models
def test_the_text_says_what_the_imported_library_says() -> None:
    program = Path(__file__).with_name("asking_library.py")
    match child.run(sys.executable, program, {}, 120):
        case child.Answered(said):
            read, told = said["from_source"], said["from_import"]
            # A few old names are taken out of the arguments and kept nowhere.
            assert set(told.pop("generation_settings")) <= set(read.pop("generation_settings"))
            assert read == told
        case child.Died(reason, log):
            pytest.fail(f"{reason}\n{log}")
