"""Runs in a process of its own: what the imported transformers says, beside what its source text was read to say."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PLAIN = ("quantizers", "compile_settings", "continuous_settings", "training_settings", "generation_settings")
BESIDE = Path(__file__).resolve().parents[2] / "advisor" / "probe" / "inside_library.py"


def imported() -> dict[str, Any]:
    from transformers import CompileConfig, TrainingArguments
    from transformers.generation import configuration_utils as generation
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

    config = generation.GenerationConfig()
    return {
        "caches": sorted(generation.ALL_CACHE_IMPLEMENTATIONS),
        "quantizers": sorted(name for name, kind in AUTO_QUANTIZER_MAPPING.items() if not refuses(kind)),
        "compile_settings": names(CompileConfig),
        "continuous_settings": names(generation.ContinuousBatchingConfig),
        "training_settings": names(TrainingArguments),
        "generation_settings": sorted(name for name in vars(config) if not name.startswith("_")),
    }


def refuses(kind: Any) -> bool:
    """Whether the loader's own two questions to a quantizer end in NotImplementedError."""
    stub = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="this"))
    try:
        if kind.requires_calibration or kind.param_needs_quantization(stub, None, "layer.weight") is False:
            return False
    except Exception:
        pass  # It looks at the model to decide, so it wants some weights quantized.
    try:
        kind.get_quantize_ops(stub)
    except NotImplementedError:
        return True
    except Exception:
        return False  # It makes its operation out of settings that the stub does not have.
    return False


def names(kind: Any) -> list[str]:
    return sorted(field.name for field in dataclasses.fields(kind) if not field.name.startswith("_"))


def read(place: Path) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("inside_library", BESIDE)
    assert spec is not None and spec.loader is not None
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    found = library.settings(place)
    return {
        "caches": sorted({*found["cache_implementations"], *found["cache_implementations_deprecated"]}),
        **{name: sorted(found[name]) for name in PLAIN},
    }


if __name__ == "__main__":
    import transformers

    answer = {"from_import": imported(), "from_source": read(Path(transformers.__file__).parent)}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
