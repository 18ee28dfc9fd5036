"""Counts what a layer of each model type launches in a decode step: `python bench/operators.py`.

Writes advisor/estimate/operators.json, from which the speed formula takes how much longer the host needs for a layer
than for one of Llama. The models are those of bench/memory_cpu.py. `--times` also times tiny models, which shows how
well the rule in advisor/estimate/operators.py holds, and writes nothing.
"""

import importlib.util
import json
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

from advisor import child
from advisor.estimate import operators

PROGRAM = Path(__file__).with_name("inside_operators.py")
LIMIT_SECONDS = 300.0


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    timed = "--times" in sys.argv[1:]
    request = {"configs": program("memory_cpu").CONFIGS, "timed": timed}
    match child.run(sys.executable, PROGRAM, request, LIMIT_SECONDS):
        case child.Answered({"counted": dict(found)}):
            pass
        case outcome:
            raise SystemExit(f"no answer: {outcome}")
    for name in [name for name, counts in found.items() if "error" in counts]:
        print(f"{name}: {found.pop(name)['error']}", file=sys.stderr)
    if timed:
        for name, counts in found.items():
            rule = operators.units(_row(counts), "float32") / operators.units(_row(found["llama"]), "float32")
            real = counts["seconds"] / found["llama"]["seconds"]
            print(f"{name:12} {counts['seconds'] * 1e6:6.0f} us   of Llama's {real:5.2f}   by the rule {rule:5.2f}")
        return
    versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(_row(found[name]))}" for name in sorted(found))
    operators.FILE.write_text(f'{{"versions": {json.dumps(versions)}, "layers": {{\n{lines}\n}}}}\n', encoding="utf-8")


def _row(counts: dict[str, dict[str, float]]) -> dict[str, float]:
    """Launches of a layer by type of the weights; views and products are the same for each."""
    launched = {
        dtype: sum(counts[dtype][kind] for kind in ("kernels", "products", "attention"))
        for dtype in ("float32", "bfloat16")
    }
    return {**launched, "views": counts["float32"]["views"], "products": counts["float32"]["products"]}


if __name__ == "__main__":
    main()
