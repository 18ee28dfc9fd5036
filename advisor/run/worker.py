"""Measures one recipe in a process of its own, in the target interpreter: load, warm-up, timed runs.

Runs as `python worker.py request.json answer.json` and uses the standard library, torch and what the recipe imports.
The request: `recipe` (the program's text), `budget_seconds` for timed runs, `patience_seconds` to wait for quiet,
`clock` (false where the recipe's
generate takes no stopping criteria), `logit_prompts` (how many prompts' prefill logits to keep), `prompts` (the user's
own, as token ids; null: the recipe's), `judge` (whether to ask what the model thinks of a fixed text), `alone` (whether
nothing that an earlier process compiled may be found).
Progress goes to stdout as JSON lines ({"stage": ...}), so that whoever waits knows where a process died.
The answer: `load`, `warmup_seconds`, `runs`, `memory`, `tokens`, `logits`, `distributions`, `versions`, `device`,
`threads`.
"""

import base64
import contextlib
import getpass
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]


def module_at(place: Path) -> ModuleType:
    """The Python file at `place` as a module, whatever the import path holds."""
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gauges = module_at(Path(__file__).resolve().with_name("inside_gauges.py"))
ranks = module_at(Path(__file__).resolve().with_name("inside_ranks.py"))
forcing = module_at(Path(__file__).resolve().with_name("inside_forcing.py"))

FEWEST_RUNS, USUAL_RUNS, MOST_RUNS = 2, 3, 12
LISTEN_SECONDS = 0.3
PACKAGES = ("torch", "transformers", "accelerate", "bitsandbytes", "kernels", "triton", "flash_attn", "torchao", "hqq")


def say(stage: str, **more: Any) -> None:
    print(json.dumps({"stage": stage, **more}), flush=True)


class Clock:
    """A stopping criterion that never stops and notes when the tokens of each call were ready, for each of its prompts.

    Every call of generate makes exactly `new_tokens` tokens in as many steps, which is how the calls are told apart.
    The time to a first token counts from the request's start, waiting for earlier calls included.
    """

    def __init__(self, wait: Any, new_tokens: int) -> None:
        self.wait, self.new_tokens = wait, new_tokens
        self.seen, self.first = 0, 0.0
        self.ttfts: list[float] = []
        self.decode_seconds, self.decode_tokens = 0.0, 0
        wait()
        self.started = time.perf_counter()

    def __call__(self, input_ids: Any, *_: Any, **__: Any) -> Any:
        if self.seen in (0, self.new_tokens - 1):
            self.wait()
        now = time.perf_counter()
        if self.seen == 0:
            self.first = now
            self.ttfts += [now - self.started] * input_ids.shape[0]
        self.seen += 1
        if self.seen == self.new_tokens:
            self.decode_seconds += now - self.first
            self.decode_tokens += (self.new_tokens - 1) * input_ids.shape[0]
            self.seen = 0
        return input_ids.new_zeros(input_ids.shape[0], dtype=bool)


class Keep:
    """A logits processor that changes nothing and keeps the scores of some prompts' first token."""

    def __init__(self, prompts: list[list[int]], new_tokens: int) -> None:
        self.wanted = {tuple(prompt): number for number, prompt in enumerate(prompts)}
        self.new_tokens, self.seen = new_tokens, 0
        self.kept: dict[int, Any] = {}

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if self.seen % self.new_tokens == 0:
            for row, ids in enumerate(input_ids.tolist()):
                number = self._prompt(ids)
                if number is not None:
                    self.kept[number] = scores[row].detach().float().cpu().clone()
        self.seen += 1
        return scores

    def _prompt(self, ids: list[int]) -> int | None:
        """The number of the prompt in this row, whichever side it is padded on."""
        for prompt, number in self.wanted.items():
            size = len(prompt)
            if tuple(ids[-size:]) == prompt or tuple(ids[:size]) == prompt:
                return number
        return None

    def answer(self) -> dict[str, Any] | None:
        if not self.kept:
            return None
        import torch

        rows = torch.stack([self.kept[number] for number in sorted(self.kept)]).contiguous()
        packed = base64.b64encode(rows.numpy().astype("<f4").tobytes()).decode("ascii")
        return {"prompts": sorted(self.kept), "vocabulary": rows.shape[1], "float32": packed}


def device_type(model: Any) -> str:
    """Where the model computes: offloaded layers, the first of which the model takes for its device, lie on `meta`."""
    return next((str(weight.device.type) for weight in model.parameters() if not weight.is_meta), "cpu")


def waiter(model: Any) -> Callable[[], object]:
    """A function that waits until the model's device has finished what it was told to do."""
    import torch

    module: Any = getattr(torch, device_type(model), None)
    return module.synchronize if hasattr(module, "synchronize") else lambda: None


def needed_cores(model: Any) -> int:
    """Cores that a run keeps busy: those of torch's threads on the CPU, one that launches kernels elsewhere."""
    import torch

    return int(torch.get_num_threads()) if device_type(model) == "cpu" else 1


def wait_for_quiet(needed: int, patience_seconds: float) -> float:
    """Wait while others use the cores, at most so long; the seconds waited."""
    started = time.perf_counter()
    while (waited := time.perf_counter() - started) < patience_seconds:
        neighbours = gauges.Neighbours(needed, ranks.others())
        time.sleep(LISTEN_SECONDS)
        if not neighbours.disturb():
            break
        say("waiting for other programs")
    return waited


def recipe_module(text: str, folder: Path) -> ModuleType:
    """The recipe as a module, from a file, so that tracebacks show its lines."""
    place = folder / "recipe.py"
    place.write_text(text, encoding="utf-8")
    return module_at(place)


def keep_temporary_files_in(folder: Path, alone: bool = False) -> None:
    """Whatever the recipe writes goes with the request's folder, however this process ends.

    The compiler's cache stays where torch keeps it, or every process would compile anew: `alone` asks for that.
    """
    if alone:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "compiled")
    with contextlib.suppress(OSError, KeyError):  # a container may know no user
        user = re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"torchinductor_{user}"))
    tempfile.tempdir = str(folder)


def load(recipe: ModuleType) -> tuple[Any, dict[str, Any]]:
    separate, free = gauges.reset_peaks(), gauges.free_bytes()
    started = time.perf_counter()
    model = recipe.load()
    waiter(model)()
    seconds = time.perf_counter() - started
    cuda = gauges.cuda_memory()
    room = gauges.device_room_bytes() if cuda else free
    return model, ranks.summed({
        "seconds": seconds, "peak_is_of_load": separate, "free_bytes": room, **gauges.resident(), "cuda": cuda
    })  # fmt: skip


def one_run(recipe: ModuleType, model: Any, prompts: list[list[int]], clocked: bool) -> dict[str, Any]:
    """One request: every prompt at hand."""
    neighbours = gauges.Neighbours(needed_cores(model), ranks.others())
    clock = Clock(waiter(model), recipe.NEW_TOKENS)
    made = recipe.generate(model, None, prompts, **({"stopping_criteria": [clock]} if clocked else {}))
    clock.wait()
    wall = time.perf_counter() - clock.started
    disturbed, others = neighbours.disturb(), neighbours.seconds()
    ttfts = sorted(clock.ttfts)
    return {
        "seconds": wall,
        "ttft_seconds": ttfts[(len(ttfts) - 1) // 2] if ttfts else None,
        "decode_tokens_per_second": clock.decode_tokens / clock.decode_seconds if clock.decode_tokens else None,
        "total_tokens_per_second": sum(len(ids) for ids in made) / wall,
        "neighbour_cores": None if others is None else others / wall,
        "disturbed": disturbed,
    }


def timed_runs(
    run: Callable[[], dict[str, Any]], wait: Callable[[float], float], budget_seconds: float, patience: float
) -> list[dict[str, Any]]:
    """Runs until the budget is spent: three, or two where they are slow; twice the budget where others disturb."""
    runs: list[dict[str, Any]] = []
    spent = 0.0
    while len(runs) < MOST_RUNS:
        quiet = sum(not one["disturbed"] for one in runs)
        fewest = FEWEST_RUNS if spent > budget_seconds else USUAL_RUNS
        limit = budget_seconds if quiet >= fewest else 2 * budget_seconds
        if ranks.agreed(len(runs) >= fewest and spent > limit):
            break
        patience -= wait(patience)
        say("run", number=len(runs) + 1)
        runs.append(run())
        spent += runs[-1]["seconds"]
    return runs


def versions() -> dict[str, str]:
    """Versions by importable name; where a package is installed twice, the first on the path is the one imported."""
    found: dict[str, str] = {}
    for package in importlib.metadata.distributions():
        name = str(package.metadata["Name"]).replace("-", "_").lower()
        if name in PACKAGES:
            found.setdefault(name, package.version)
    return found


def own_prompts(request: dict[str, Any], model: Any) -> list[list[int]] | None:
    """The user's own prompts as token ids, where there are any; they must be of the model's vocabulary."""
    prompts: list[list[int]] | None = request.get("prompts")
    size = model.config.get_text_config().vocab_size
    for number, prompt in enumerate(prompts or (), 1):
        if not prompt or not all(0 <= token < size for token in prompt):
            raise ValueError(f"prompt {number} holds a token that the model's vocabulary of {size} does not")
    return prompts


def measure(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    say("import")
    recipe = recipe_module(request["recipe"], folder)
    if hasattr(recipe, "serve"):
        serving = module_at(Path(__file__).resolve().with_name("inside_serving.py"))
        return dict(serving.measure(sys.modules[__name__], request, recipe))
    import torch

    say("load")
    model, loaded = load(recipe)
    prompts = own_prompts(request, model) or recipe.make_prompts(model)
    clocked = request["clock"]
    keep = Keep(prompts[: request["logit_prompts"]] if clocked else [], recipe.NEW_TOKENS)
    say("warm-up", load_seconds=loaded["seconds"])
    gauges.reset_peaks()
    started = time.perf_counter()
    tokens = recipe.generate(model, None, prompts, **({"logits_processor": [keep]} if clocked else {}))
    waiter(model)()
    warmup_seconds = time.perf_counter() - started
    runs = timed_runs(
        lambda: one_run(recipe, model, prompts, clocked),
        lambda patience: wait_for_quiet(needed_cores(model), patience),
        request["budget_seconds"],
        request["patience_seconds"],
    )
    memory = ranks.summed({**gauges.resident(), "cuda": gauges.cuda_memory()})
    judged = ranks.agreed(request.get("judge") and clocked and runs[-1]["seconds"] < forcing.MOST_SECONDS)
    if judged:
        say("fixed text")
    return {
        "load": loaded,
        "warmup_seconds": warmup_seconds,
        "runs": runs,
        "memory": memory,
        "tokens": [list(map(int, ids)) for ids in tokens],
        "logits": keep.answer(),
        "distributions": forcing.forced(recipe, model, prompts, request.get("prompts")) if judged else None,
        "versions": versions(),
        "device": device_type(model),
        "threads": torch.get_num_threads(),
    }


def main(request_path: str, answer_path: str) -> None:
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    ranks.start(request["recipe"], sys.argv)
    folder = ranks.own(Path(request_path).resolve().parent)
    keep_temporary_files_in(folder, bool(request.get("alone")))
    answer = measure(request, folder)
    if ranks.rank():
        return
    unfinished = Path(answer_path + ".part")
    unfinished.write_text(json.dumps(answer), encoding="utf-8")
    unfinished.replace(answer_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
