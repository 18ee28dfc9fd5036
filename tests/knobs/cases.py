"""What is run for each knob, and what shows that it is in force. `docs/make_knobs.py` makes docs/knobs.md of it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def beside(name: str) -> ModuleType:
    """A file of this folder, which is no package."""
    whole = f"knobs_{name}"
    if whole not in sys.modules:
        spec = importlib.util.spec_from_file_location(whole, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None and spec.loader is not None
        sys.modules[whole] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
        spec.loader.exec_module(sys.modules[whole])
    return sys.modules[whole]


knob_case = beside("knob_case")
CPU, GPU, MODELS, LOADS = knob_case.CPU, knob_case.GPU, knob_case.MODELS, knob_case.LOADS
NEW_TOKENS, shown = knob_case.NEW_TOKENS, knob_case.shown
CASES: tuple[Any, ...] = (*beside("loading_cases").CASES, *beside("running_cases").CASES)

NOT_RUN: dict[tuple[str, Any], str] = {
    ("device", "mps"): "needs a Mac; nothing of it was run",
    ("device", "xpu"): "needs an Intel GPU; nothing of it was run",
    (
        "tensor_parallel",
        None,
    ): "is run by tests/run/test_tensor_parallel.py: two ranks on a CPU, the same tokens as one",
    ("engine", "generate"): "is what all other cases run",
    ("engine", "serve"): "is run by tests/run/test_serving.py, against the model in its own process",
}
"""Values without a case, and why."""
