"""Measures a recipe whose requests arrive one by one: its `serve()`, once for each timed run.

Loaded by worker.py from its path, in the target interpreter, and handed that module as `worker`; uses the standard
library. Where the recipe's model is a server in a process of its own, memory and processor time are that one's too.
The answer is worker.py's, and each run has `serving` beside its other figures.
"""

import math
import os
import time
from types import ModuleType
from typing import Any

WARMING = 2
"""Requests before the timed ones: the first is slower. Where all are there at once it is all of them, as elsewhere."""

Answers = list[tuple[float, float, list[Any]]]


def measure(worker: Any, request: dict[str, Any], recipe: ModuleType) -> dict[str, Any]:
    """The figures of `recipe`.

    Raises:
        Exception: whatever the recipe raises.
    """
    worker.say("load")
    model, loaded = load_server(worker, recipe) if hasattr(recipe, "Server") else worker.load(recipe)
    helpers = (model.process.pid,) if hasattr(recipe, "Server") else ()
    requests = recipe.make_requests(model)
    if own := worker.own_prompts(request, model):
        requests = [(at, own[number % len(own)], new) for number, (at, _, new) in enumerate(requests)]
    worker.say("warm-up", load_seconds=loaded["seconds"])
    started = time.perf_counter()
    recipe.serve(model, [(0.0, *one[1:]) for one in (requests if recipe.PER_SECOND is None else requests[:WARMING])])
    warmup_seconds = time.perf_counter() - started
    said: list[Answers] = []
    runs = worker.timed_runs(
        lambda: one_run(worker, recipe, model, requests, said, helpers),
        lambda patience: worker.wait_for_quiet(cores(worker, model), patience),
        request["budget_seconds"],
        request["patience_seconds"],
    )
    return {
        "load": loaded,
        "warmup_seconds": warmup_seconds,
        "runs": runs,
        "memory": memory(worker, model),
        "tokens": [] if None in said[0][0][2] else [list(map(int, ids)) for _, _, ids in said[0]],
        "logits": None,
        "versions": worker.versions(),
        "device": model.device if is_server(model) else worker.device_type(model),
        "threads": threads(model),
    }


def one_run(
    worker: Any, recipe: ModuleType, model: Any, requests: list[Any], said: list[Answers], helpers: tuple[int, ...]
) -> dict[str, Any]:
    """All requests, from the first arrival to the last answer."""
    neighbours = worker.gauges.Neighbours(cores(worker, model), helpers)
    started = time.perf_counter()
    answers: Answers = recipe.serve(model, requests)
    wall = time.perf_counter() - started
    disturbed, others = neighbours.disturb(), neighbours.seconds()
    said.append(answers)
    arrivals = [one[0] for one in requests]
    seconds = max(at + last for at, (_, last, _) in zip(arrivals, answers, strict=True)) - arrivals[0]
    found = figures(answers, seconds)
    return {
        "seconds": seconds,
        "ttft_seconds": found["ttft_p50_seconds"],
        "decode_tokens_per_second": None,
        "total_tokens_per_second": found["tokens_per_second"],
        "neighbour_cores": None if others is None else others / wall,
        "disturbed": disturbed,
        "serving": found,
    }


def figures(answers: Answers, seconds: float) -> dict[str, Any]:
    """What became of the requests; seconds count from each one's arrival."""
    firsts, lasts = [first for first, _, _ in answers], [last for _, last, _ in answers]
    return {
        "requests": len(answers),
        "ttft_p50_seconds": percentile(firsts, 0.50),
        "ttft_p95_seconds": percentile(firsts, 0.95),
        "latency_p50_seconds": percentile(lasts, 0.50),
        "latency_p95_seconds": percentile(lasts, 0.95),
        "tokens_per_second": sum(len(ids) for _, _, ids in answers) / seconds,
        "requests_per_second": len(answers) / seconds,
    }


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of all do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def is_server(model: Any) -> bool:
    """Whether the recipe's model is a server in a process of its own."""
    return hasattr(model, "process")


def load_server(worker: Any, recipe: ModuleType) -> tuple[Any, dict[str, Any]]:
    started = time.perf_counter()
    server = recipe.load()
    return server, {"seconds": time.perf_counter() - started, "peak_is_of_load": False, **memory(worker, server)}


def memory(worker: Any, model: Any) -> dict[str, Any]:
    """Memory at its peak. Of a server on the host its own; what one holds on a GPU is not known from outside."""
    if not is_server(model):
        return {**worker.gauges.resident(), "cuda": worker.gauges.cuda_memory()}
    found = worker.gauges.resident(str(model.process.pid))
    return {**found, "peak_bytes": found["peak_bytes"] if model.device == "cpu" else None, "cuda": None}


def cores(worker: Any, model: Any) -> int:
    """Cores that a run keeps busy: a server's threads are not known from outside, so all."""
    if not is_server(model):
        return int(worker.needed_cores(model))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(model: Any) -> int:
    """CPU threads of one operator: a server takes torch's own number unless the recipe names one."""
    import torch

    return int(getattr(model, "threads", None) or torch.get_num_threads())
