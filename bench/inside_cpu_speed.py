"""Runs in a child process of bench/cpu_speed.py: how fast one model with random weights generates on this CPU.

Request: {"config": {...}, "dtype": name, "batches": [prompts at a time, ...], "prompt_tokens", "new_tokens",
"budget_seconds", "pace_seconds": of an earlier process or null, "worker": path of the program that measures for
`apply`}. Answer: {"pace_seconds", "measured": [{"ttft_seconds", "decode_tokens_per_second",
"total_tokens_per_second", "spread", "runs", "disturbed_runs"}, ...]}, one for each entry of `batches`.

The clock, the choice of runs and the watch over other programs are those of that worker. Besides, a fixed piece of work
is timed around each run: on a virtual machine all cores may be slower for a while, and no figure of the system says so.
A run beside which that work took longer than usual counts as disturbed. `pace_seconds` is the shortest time of it.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

FIGURES = ("ttft_seconds", "decode_tokens_per_second", "total_tokens_per_second")
PATTERN = 2**20
SLOWER = 1.15
"""A run is disturbed where the fixed work took so much longer, at its end or its beginning, than at its best."""


class Pace:
    """Times a fixed piece of work: small operators, small products on all threads, and reading much memory."""

    def __init__(self, best: float | None) -> None:
        import torch

        self.values, self.matrix = torch.rand(1, 256), torch.rand(704, 256)
        self.wide, self.large = torch.rand(1, 2048), torch.rand(12288, 2048)
        self.best = min(self.now(), self.now()) if best is None else best

    def now(self) -> float:
        """Seconds that the work takes now."""
        import torch

        times = []
        for _ in range(3):
            started = time.perf_counter()
            for _ in range(300):
                torch.add(torch.add(torch.add(self.values, 1), 1), 1)
                torch.nn.functional.linear(self.values, self.matrix)
            torch.nn.functional.linear(self.wide, self.large)
            times.append(time.perf_counter() - started)
        return min(times)

    def is_slow(self) -> bool:
        """Whether the machine is slower now than it was at its best so far."""
        now = self.now()
        self.best = min(self.best, now)
        return now > SLOWER * self.best


def module_at(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("worker", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(config: dict[str, Any], dtype: str) -> Any:
    """The model; its weights are one random pattern over and over, since drawing each takes longer than the runs."""
    import torch
    import transformers
    from transformers.initialization import no_init_weights

    kind = getattr(torch, dtype)
    with no_init_weights():
        whole = transformers.AutoConfig.for_model(**config)
        model = transformers.AutoModelForCausalLM.from_config(whole, dtype=kind).eval()
    model.tie_weights()
    torch.manual_seed(0)
    pattern = torch.empty(PATTERN).uniform_(-0.05, 0.05).to(kind)
    with torch.no_grad():
        for weight in model.parameters():
            whole_times, rest = divmod(weight.numel(), PATTERN)
            weight.copy_(torch.cat([pattern] * whole_times + [pattern[:rest]]).view_as(weight))
    return model


def generate(model: Any, prompts: Any, tokens: int, clock: Any = None) -> Any:
    import torch

    more = {} if clock is None else {"stopping_criteria": [clock]}
    size = {"max_new_tokens": tokens, "min_new_tokens": tokens}
    mask = torch.ones_like(prompts)
    return model.generate(prompts, attention_mask=mask, do_sample=False, pad_token_id=0, **size, **more)


def one_run(worker: Any, pace: Pace, model: Any, prompts: Any, tokens: int) -> dict[str, Any]:
    slow = pace.is_slow()
    neighbours = worker.gauges.Neighbours(worker.needed_cores(model))
    clock = worker.Clock(lambda: None, tokens)
    generate(model, prompts, tokens, clock)
    seconds = time.perf_counter() - clock.started
    disturbed = neighbours.disturb()
    return {
        "seconds": seconds,
        "ttft_seconds": clock.ttfts[0],
        "decode_tokens_per_second": clock.decode_tokens / clock.decode_seconds,
        "total_tokens_per_second": tokens * len(prompts) / seconds,
        "disturbed": pace.is_slow() or slow or disturbed,
    }


def at_its_best(found: list[float], is_time: bool) -> float:
    """The time that a quarter of the runs stays below, or the rate that a quarter exceeds: so are constants taken."""
    return sorted(found, reverse=not is_time)[len(found) // 4]


def measured(worker: Any, pace: Pace, model: Any, request: dict[str, Any], batch: int) -> dict[str, Any]:
    """Figures at the machine's usual pace, of the runs that no other program disturbed; of all where each was."""
    import torch

    torch.manual_seed(1)
    prompts = torch.randint(3, 1000, (batch, request["prompt_tokens"]))
    tokens = request["new_tokens"]
    generate(model, prompts, 3)
    runs = worker.timed_runs(
        lambda: one_run(worker, pace, model, prompts, tokens), lambda _: 0.0, request["budget_seconds"], 0.0
    )
    counted = [run for run in runs if not run["disturbed"]] or runs
    seconds = sorted(run["seconds"] for run in counted)
    return {
        **{name: at_its_best([run[name] for run in counted], name.endswith("seconds")) for name in FIGURES},
        "spread": (seconds[-1] - seconds[0]) / statistics.median(seconds),
        "runs": len(runs),
        "disturbed_runs": sum(run["disturbed"] for run in runs),
    }


def main(request_path: str, answer_path: str) -> None:
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    import torch

    torch.set_grad_enabled(False)
    worker = module_at(request["worker"])
    worker.say = lambda *_, **__: None
    pace = Pace(request["pace_seconds"])
    model = made(request["config"], request["dtype"])
    found = [measured(worker, pace, model, request, batch) for batch in request["batches"]]
    answer = {"pace_seconds": pace.best, "measured": found}
    whole = Path(answer_path + ".part")
    whole.write_text(json.dumps(answer), encoding="utf-8")
    whole.replace(answer_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
