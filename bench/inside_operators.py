"""Runs in a child process of bench/operators.py: what one layer of each kind of model launches in a decode step.

Request: {"configs": {model type: {...}}, "timed": bool}. Answer: {"counted": {model type: {"float32": {class: operators
of a layer}, "bfloat16": {...}, "seconds": of one layer on this CPU or null} or {"error"}}}. Classes are `kernels`,
`views` (which only describe memory anew), `products` and `attention`. Two depths are compared, so that what stands
around the layers falls away; layers of several kinds are averaged.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

FEW, MORE = 4, 8
"""Models with layers of two kinds repeat them after at most four."""
PRODUCTS = ("mm", "addmm", "_grouped_mm")
PROMPT, SAMPLES = 16, 60


def counter() -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):
        """Counts operators by class while it is entered."""

        def __init__(self) -> None:
            super().__init__()
            self.found = {"kernels": 0, "views": 0, "products": 0, "attention": 0}

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = func.overloadpacket.__name__
            if func.is_view or name in ("_unsafe_view", "detach", "alias"):
                kind = "views"
            elif name in PRODUCTS:
                kind = "products"
            else:
                kind = "attention" if "attention" in name else "kernels"
            self.found[kind] += 1
            return func(*args, **(kwargs or {}))

    return Counter()


def made(config: dict[str, Any], layers: int, dtype: str) -> Any:
    import torch
    import transformers

    names = [name for name in ("num_hidden_layers", "n_layer") if name in config]
    found = {**config, **dict.fromkeys(names, layers)}
    if "layer_types" in found:
        found["layer_types"] = [found["layer_types"][at % len(found["layer_types"])] for at in range(layers)]
    whole = transformers.AutoConfig.for_model(**found)
    return transformers.AutoModelForCausalLM.from_config(whole, dtype=getattr(torch, dtype)).eval()


def step(model: Any) -> Any:
    """A function that decodes one token more."""
    import torch

    ids = torch.zeros(1, PROMPT, dtype=torch.long) + 5
    cache = model(input_ids=ids, use_cache=True).past_key_values
    return lambda: model(input_ids=ids[:, :1], past_key_values=cache, use_cache=True)


def counted(config: dict[str, Any], dtype: str) -> dict[str, float]:
    found = []
    for layers in (FEW, MORE):
        run = step(made(config, layers, dtype))
        with counter() as counts:
            run()
        found.append(counts.found)
    return {name: (found[1][name] - found[0][name]) / (MORE - FEW) for name in found[0]}


def seconds(config: dict[str, Any]) -> float:
    """Seconds of one layer of a model so small that only launching counts; the two depths take turns."""
    runs = [step(made(config, layers, "float32")) for layers in (FEW, MORE)]
    times: list[list[float]] = [[], []]
    for turn in range(2 * SAMPLES):
        started = time.perf_counter()
        runs[turn % 2]()
        times[turn % 2].append(time.perf_counter() - started)
    few, more = map(statistics.median, times)
    return (more - few) / (MORE - FEW)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    import torch

    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name, config in request["configs"].items():
        try:
            found[name] = {dtype: counted(config, dtype) for dtype in ("float32", "bfloat16")}
            found[name]["seconds"] = seconds(config) if request["timed"] else None
        except Exception as error:  # one type must not cost the others
            found[name] = {"error": f"{type(error).__name__}: {error}".split("\n")[0][:200]}
    return {"counted": found}


def main(request_path: str, answer_path: str) -> None:
    found = answer(json.loads(Path(request_path).read_text(encoding="utf-8")))
    whole = Path(answer_path + ".part")
    whole.write_text(json.dumps(found), encoding="utf-8")
    whole.replace(answer_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
