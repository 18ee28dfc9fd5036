"""Runs in the target interpreter: the model's own code on tensors that have shapes and no memory.

Two paths on the command line: the request and the answer, both JSON. The model is built from its configuration under
FakeTensorMode, its code run on a prompt and on single tokens, and every storage followed from birth to death, rounded
up to 512 bytes as the CUDA allocator does. Nothing is allocated, downloaded or computed, and no code of a repository
is run. The fake tensors say that they are on the CPU: on the device `meta` attention takes its plain path.

Request: {"config": {...}, "cases": [{"dtype", "attn_implementation", "cache": "dynamic" | "static" | "offloaded" |
"offloaded_static" | "quantized" | "none", "rows", "prompt_tokens", "new_tokens", "padded": bool, "last_logits": bool,
and what `PLAIN` holds}]}. Answer: {"versions": {...}, "cases": [...]}, for each case what `case_answer` says, or
{"error": why}; no cases where torch or transformers is missing.
"""

from __future__ import annotations  # The target may run an older Python than this program does.

import gc
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

LOOPED = ("linear_attention", "mamba", "conv", "hybrid", "hybrid_sliding")
"""Layers whose torch code goes through a prompt in a Python loop over chunks of this many tokens (gated delta rule)."""
CHUNK = 64
LONGEST_LOOPED = 512
SHORT = (128, 192, 256)
"""Above the first figure, models with such layers read these prompts instead, and the peak is drawn out in a straight
line: reading 8192 tokens would take a minute."""
LINE_TOLERANCE = 0.005
"""How far the short length in the middle may lie off the line through the others."""

PLAIN = {
    "device": "cpu",
    "experts": None,
    "quantization": None,
    "packages": (),
    "cache_backend": None,
    "cache_bits": None,
    "chunk_tokens": None,
}
"""Parts of a case that may be left out."""
STATIC = ("static", "offloaded_static")
MODEL = ("dtype", "attn_implementation", "experts", "quantization")
"""Parts of a case that need a model of their own."""


def beside(name: str) -> ModuleType:
    """The program `name` from this folder as a module, whatever the import path holds."""
    path = Path(__file__).resolve().with_name(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


following, building = beside("inside_following.py"), beside("inside_building.py")
answering, caching, quantizing = (beside(f"inside_{name}.py") for name in ("answering", "caching", "quantizing"))
following.__dict__.update(answering=answering, caching=caching)
building.__dict__.update(quantizing=quantizing)


def case_answer(model: Any, case: dict[str, Any], transformers: Any) -> dict[str, Any]:
    """The weights by group and type and by layer, and the passes: the prompt, the first step, the last, the fullest.

    Of a pass: `peak_bytes` of everything beside the weights, the operator that made it, the number of operators, the
    attention kernels among them, the bytes of the cache's storages after it, and those of them in RAM. Steps are null
    where no token is fed back.
    """
    looped = is_looped(model, case)
    passes = (drawn_out if looped else exactly)(model, case, transformers)
    for one in filter(None, passes):
        one.pop("highest", None)
    prompt, first, last, fullest = (*passes, None, None, None)[:4]
    return {
        "weights": building.weights(model),
        "weights_held_bytes": following.weighed(building.own_storages(model)),
        "by_layer": building.by_layer(model, following.rounded),
        "prompt": prompt,
        "first_step": first,
        "last_step": last,
        "fullest_step": fullest,
        "drawn_out": looped,
    }


def is_looped(model: Any, case: dict[str, Any]) -> bool:
    """Whether reading the whole prompt would take long."""
    config = model.config.get_text_config(decoder=True)
    return bool(set(getattr(config, "layer_types", None) or ()) & set(LOOPED)) and (
        case["prompt_tokens"] + case["new_tokens"] > LONGEST_LOOPED
    )


def exactly(model: Any, case: dict[str, Any], transformers: Any) -> list[dict[str, Any] | None]:
    """The passes as they are: the prompt, the first step and the last one, and the fullest one where there is any.

    Those of one new token have no step. Where the cache only grows, each step holds more than the one before, and the
    first is left out.
    """
    prompt, new = case["prompt_tokens"], case["new_tokens"]
    run = following.Run(model, case, transformers, building.own_storages)
    passes: list[dict[str, Any] | None] = [run.prompt()]
    plain = case["cache"] == "dynamic" and case["quantization"] is None
    if new > 2 and plain and caching.only_grows(run.cache) and run.lengthen(new - 2):
        return [*passes, None, run.read(1)]
    if new > 1:
        passes.append(run.read(1))
    if new == 2 or (new > 2 and case["cache"] in STATIC):  # every step meets the whole of a static cache
        passes.append(passes[-1])
    elif new > 2 and run.lengthen(new - 2):
        passes.append(run.read(1))
        fullest = caching.fullest_step(run.cache, new - 1)
        if fullest is not None and run.lengthen(fullest - 1):
            passes.append(run.read(1))
    elif new > 2:
        # Two steps, because the first one lets go of the whole prompt in layers that keep a window.
        run = following.Run(model, case, transformers, building.own_storages)
        run.read(prompt + new - 3)
        run.read(1)
        passes.append(run.read(1))
    return passes


def drawn_out(model: Any, case: dict[str, Any], transformers: Any) -> list[dict[str, Any]]:
    """The prompt's peak on the line through short prompts; the steps as they are, with the cache that they meet.

    Raises:
        ValueError: the short prompts lie on no line, or the cache cannot be brought to the full length.
    """
    prompt, new = case["prompt_tokens"], case["new_tokens"]
    if case["cache"] not in ("dynamic", "static") or case["chunk_tokens"] is not None:
        raise ValueError("a long prompt of layers that go through it in a loop takes too long")
    if case["quantization"] is not None:
        following.Run(model, case, transformers, building.own_storages).read(1)  # may change the weights
    found = []
    for length in SHORT:
        run = following.Run(model, case, transformers, building.own_storages)
        found.append(run.read(length))
    if not run.lengthen(0):
        raise ValueError("reading a prompt of this length takes too long")
    cache, _ = caching.stored(run.cache)
    whole = -(-prompt // CHUNK) * CHUNK
    at, beside_bytes = highest_line(found, whole)
    operators = on_the_line([one["operators"] for one in found], "operators", whole)
    drawn = {
        "peak_bytes": beside_bytes + cache,
        "at": at,
        "operators": operators,
        "cache_bytes": cache,
        "away_bytes": 0,
    }
    passes = [{**found[-1], **drawn}]
    if new > 1:
        passes.append(run.read(1))
        run.lengthen(new - 2)
        passes.append(run.read(1))
    return passes


def highest_line(found: list[dict[str, Any]], tokens: int) -> tuple[str, int]:
    """The operator that makes the peak at `tokens` tokens of prompt, and the bytes beside weights and cache.

    Each operator has a line of its own: the one that leads a short prompt need not lead a long one.
    """
    sizes = {
        name: [one["highest"][name] - one["cache_bytes"] for one in found]
        for name in found[0]["highest"]
        if name and all(name in one["highest"] for one in found)
    }
    at = max(sizes, key=lambda name: drawn_to(tokens, sizes[name]))
    return at, on_the_line(sizes[at], "the peak", tokens)


def on_the_line(found: list[int], name: str, tokens: int) -> int:
    """The figure at `tokens` tokens of prompt, from those at SHORT.

    Raises:
        ValueError: these lie on no line.
    """
    if abs(drawn_to(SHORT[1], found) - found[1]) > LINE_TOLERANCE * found[1]:
        raise ValueError(f"{name} of short prompts lies on no line")
    return round(drawn_to(tokens, found))


def drawn_to(tokens: int, found: list[int]) -> float:
    """The line through the first and the last figure, at `tokens`."""
    return found[0] + (found[2] - found[0]) / (SHORT[2] - SHORT[0]) * (tokens - SHORT[0])


def answers(request: dict[str, Any]) -> list[dict[str, Any]]:
    """All cases; a model is built once for each type and attention."""
    gc.disable()  # what is imported stays; looking through it again and again takes a tenth of the time
    import transformers
    from torch._subclasses.fake_tensor import FakeTensorMode

    transformers.logging.set_verbosity_error()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    building.imported(request["config"], transformers)
    gc.freeze()
    gc.enable()
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, case in enumerate(request["cases"]):
        groups.setdefault(tuple(str({**PLAIN, **case}[name]) for name in MODEL), []).append(number)
    found: dict[int, dict[str, Any]] = {}

    def of_group(numbers: list[int]) -> list[dict[str, Any]]:
        with mode:
            return group_answers(request, numbers, transformers)

    for numbers, given in zip(groups.values(), side_by_side(of_group, list(groups.values())), strict=True):
        found.update(zip(numbers, given, strict=True))
    return [found[number] for number in range(len(request["cases"]))]


def group_answers(request: dict[str, Any], numbers: list[int], transformers: Any) -> list[dict[str, Any]]:
    """The cases that one model answers; the caller has entered FakeTensorMode."""
    model, found = None, []
    for number in numbers:
        case = {**PLAIN, **request["cases"][number]}
        try:
            quantizing.check(case["packages"])
            if model is None or case["quantization"] is not None:  # a first pass may have changed quantized weights
                model = building.built(request["config"], case, transformers)
            found.append(case_answer(model, case, transformers))
        # A model's code may fail on fake tensors in any way; the next case may still run.
        except Exception as error:
            found.append({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})
    return found


def side_by_side(work: Callable[[list[int]], list[dict[str, Any]]], groups: list[list[int]]) -> list[Any]:
    """`work` on each group, each in a process of its own where a process can be forked: imports are not repeated.

    Nothing has been computed yet, so torch has no threads that a fork would lose.
    """
    if not sys.platform.startswith("linux") or not 2 <= len(groups) <= (os.cpu_count() or 1):
        return [work(numbers) for numbers in groups]
    started = []
    for numbers in groups[1:]:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reading)
                with os.fdopen(writing, "w", encoding="utf-8") as answer:
                    answer.write(json.dumps(work(numbers)))
            finally:
                os._exit(0)  # what stands below this point is the first process's
        os.close(writing)
        started.append((pid, reading, numbers))
    found = [work(groups[0])]
    for pid, reading, numbers in started:
        with os.fdopen(reading, encoding="utf-8") as answer:
            text = answer.read()
        os.waitpid(pid, 0)
        lost = {"error": "MemoryError: the process of this case ended"}
        found.append(json.loads(text) if text else [lost] * len(numbers))
    return found


def versions() -> dict[str, str | None]:
    """Versions by distribution name, without importing anything heavy."""
    from importlib import metadata

    found: dict[str, str | None] = {}
    for name in ("torch", "transformers"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer: dict[str, Any] = {"versions": versions()}
    if all(answer["versions"].values()):
        answer["cases"] = answers(request)
    whole = Path(sys.argv[2] + ".part")
    whole.write_text(json.dumps(answer), encoding="utf-8")
    whole.replace(sys.argv[2])


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if str(Path(entry or ".").resolve()) != here]
    main()
