"""Program of a child process: runs recipes as they are written and looks whether their knobs are in force.

Reads a JSON list of {"name", "text", "looks", "checkpoint"} from stdin and writes a JSON object, by name of the case
{"tokens": new ids of each prompt, "looks": {expression: true or false}, "seen", "seconds"} or {"error": text}.
A look is a Python expression over `model`, `linear` (a matrix of it), `seen`, `torch` and `os`, evaluated afterwards.
"""

import contextlib
import functools
import gc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ENVIRONMENT = ("THP_MEM_ALLOC_ENABLE", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


class Seen:
    """What happened while the prompts got their tokens."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []  # keywords of each call of generate or generate_batch
        self.caches: list[str] = []  # class of the cache that each forward pass got
        self.layers: list[str] = []  # class of its first layer
        self.widths: list[int] = []  # tokens of a row in each forward pass
        self.rows: list[int] = []  # rows in each forward pass
        self.loaded: dict[str, Any] = {}  # keywords of from_pretrained
        self.compiled: list[dict[str, Any]] = []  # options of each torch.compile
        self.places: set[int] = set()  # addresses of the keys of the first layer's cache
        self.graphs, self.breaks = 0, 0  # graphs that were compiled; reasons for which one ended early
        self.operators: set[str] = set()
        self.drafter: str | None = None  # class of what drafts tokens
        self.drafts = 0  # forward passes of the assistant
        self.environment: dict[str, str | None] = {}  # variables as they stood when torch was imported

    @property
    def cache(self) -> str | None:
        """The one class of cache, or what was mixed."""
        return " and ".join(sorted(set(self.caches))) or None

    @property
    def layer(self) -> str | None:
        return " and ".join(sorted(set(self.layers))) or None

    def in_short(self) -> dict[str, Any]:
        """What a failing test shows."""
        told = {name: value for name, value in vars(self).items() if name not in ("calls", "loaded")}
        keywords = [{name: repr(value)[:80] for name, value in call.items()} for call in self.calls]
        return {**{name: repr(value)[:300] for name, value in told.items()}, "calls": keywords}

    def forward(self, arguments: dict[str, Any]) -> None:
        ids, cache = arguments["input_ids"], arguments.get("past_key_values")
        if ids is None or ids.numel() == 0:
            return
        self.rows.append(ids.shape[0])
        self.widths.append(ids.shape[1])
        if cache is not None:
            self.caches.append(type(cache).__name__)
            self.layers.extend(type(layer).__name__ for layer in cache.layers[:1])

    def call(self, arguments: dict[str, Any]) -> None:
        self.calls.append(arguments)

    def kept(self, arguments: dict[str, Any]) -> None:
        """Where the keys of a cache that the recipe brought itself lie."""
        cache = arguments.get("past_key_values")
        if cache is not None:
            self.places.add(cache.layers[0].keys.data_ptr())


class ImportSpy:
    """Notes the environment at the moment when torch is first imported."""

    def __init__(self) -> None:
        self.noted: dict[str, str | None] = {}

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "torch" and not self.noted:
            self.noted = {variable: os.environ.get(variable) for variable in ENVIRONMENT}


def watch(model: Any, seen: Seen) -> None:
    """Every call of generate and every forward pass of the model is noted in `seen`."""
    generate, batch, prepare = model.generate, model.generate_batch, model.prepare_inputs_for_generation

    @functools.wraps(generate)
    def noted_generate(**arguments: Any) -> Any:
        seen.call(arguments)
        made = generate(**arguments)
        seen.kept(arguments)
        return made

    @functools.wraps(batch)
    def noted_batch(*given: Any, **arguments: Any) -> Any:
        seen.call(arguments)
        return batch(*given, **arguments)

    @functools.wraps(prepare)
    def noted_prepare(*given: Any, **arguments: Any) -> Any:
        made = prepare(*given, **arguments)
        seen.forward(made)
        return made

    model.generate, model.generate_batch = noted_generate, noted_batch
    model.prepare_inputs_for_generation = noted_prepare
    chosen = model._get_candidate_generator

    def noted_drafter(*given: Any, **arguments: Any) -> Any:
        made = chosen(*given, **arguments)
        seen.drafter = type(made).__name__
        return made

    model._get_candidate_generator = noted_drafter
    for assistant in getattr(model, "assistant", []):
        assistant.register_forward_pre_hook(lambda *_: setattr(seen, "drafts", seen.drafts + 1))


@contextlib.contextmanager
def noting_loading(seen: Seen) -> Iterator[None]:
    import torch
    from transformers import PreTrainedModel

    real, loading = torch.compile, PreTrainedModel.__dict__["from_pretrained"]

    @functools.wraps(loading.__func__)
    def noted_loading(owner: Any, *given: Any, **options: Any) -> Any:
        if not seen.loaded:
            seen.loaded = options
        return loading.__func__(owner, *given, **options)

    def noted(*given: Any, **options: Any) -> Any:
        seen.compiled.append(options)
        return real(*given, **options)

    torch.compile = noted
    PreTrainedModel.from_pretrained = classmethod(noted_loading)
    try:
        yield
    finally:
        torch.compile, PreTrainedModel.from_pretrained = real, loading


@contextlib.contextmanager
def noting_operators(seen: Seen, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    from torch.profiler import profile

    with profile() as profiler:
        yield
    seen.operators = {event.key for event in profiler.key_averages()}


def plain_again() -> None:
    """What one recipe set for the whole process is set back for the next."""
    import torch

    torch.set_num_threads(THREADS or torch.get_num_threads())
    torch.set_float32_matmul_precision("highest")
    gc.collect()


THREADS = int(os.environ.get("OMP_NUM_THREADS", "0"))


def run(case: dict[str, Any], spy: ImportSpy) -> dict[str, Any]:
    started = time.perf_counter()
    seen, looks = Seen(), case["looks"]
    space: dict[str, Any] = {"__name__": "recipe"}
    if case["checkpoint"]:
        checkpoint(*case["checkpoint"])
    exec(compile(case["text"], case["name"], "exec"), space)
    import torch

    compiles = any("seen.graphs" in look or "seen.breaks" in look for look in looks)
    with noting_loading(seen):
        if compiles:
            torch._dynamo.reset()
            torch._dynamo.utils.counters.clear()
        model = space["load"]()
        watch(model, seen)
        prompts = space["make_prompts"](model)
        with noting_operators(seen, any("seen.operators" in look for look in looks)):
            tokens = space["generate"](model, None, prompts)
    if compiles:
        counters = torch._dynamo.utils.counters
        seen.graphs, seen.breaks = counters["stats"]["unique_graphs"], len(counters["graph_break"])
    seen.environment = spy.noted
    names = {"model": model, "seen": seen, "torch": torch, "os": os, "huge_page_bytes": huge_page_bytes}
    names["linear"] = next(
        (part for name, part in model.named_modules() if name.endswith("layers.0.mlp.up_proj")), None
    )
    found = {look: bool(eval(look, dict(names))) for look in looks}
    answer = {"looks": found, "seen": seen.in_short(), "seconds": time.perf_counter() - started}
    return {"tokens": [list(map(int, row)) for row in tokens], **answer}


def huge_page_bytes() -> int:
    """Memory of this process that lies in huge pages."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("AnonHugePages:"))


def checkpoint(maker: str, folder: str) -> None:
    """Write the checkpoint that a case needs; inside_checkpoints.py knows how."""
    spec = importlib.util.spec_from_file_location("checkpoints", Path(__file__).with_name("inside_checkpoints.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not Path(folder).exists():
        getattr(module, maker)(folder)


def main() -> None:
    spy = ImportSpy()
    sys.meta_path.insert(0, spy)  # type: ignore[arg-type]  # it finds nothing, it only looks
    found: dict[str, Any] = {}
    for case in json.load(sys.stdin):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found[case["name"]] = run(case, spy)
        except Exception as error:
            found[case["name"]] = {"error": f"{type(error).__name__}: {error}"}
        plain_again()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
