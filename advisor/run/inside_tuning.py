"""Tries setups for a moment each, in one process of the target interpreter, and halves them until one is left.

Runs as `python inside_tuning.py request.json answer.json`. The request: `candidates` (see below), `budget_seconds` from
the start of this process on, `resident_bytes` (weights kept in memory at most), `new_tokens` of a request. A candidate:
`name`, `recipe` (the program's text), `weights` (a key: candidates of one key load the same weights, which are loaded
once), `weights_bytes`, `attn_implementation`, `threads`, `rows` (prompts in one call, null: put all of them to it as
they are), `whole` (every run makes all new tokens: another number would compile again), `clocked`, and what
inside_halving.Candidate takes.

A run makes few new tokens, its first token and the others are timed apart, and from both the whole request is
reckoned. Progress goes to stdout as JSON lines, so that whoever waits knows which candidate ended this process.
The answer: `winner`, `seconds` by candidate, `failed`, `rounds`, `elapsed_seconds`.
"""

import gc
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

BEGAN = time.monotonic()
HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]

import importlib.util  # noqa: E402  # after the path is clean: run/ holds names that must shadow nothing


def module_at(place: Path) -> ModuleType:
    """The Python file at `place` as a module, whatever the import path holds."""
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[place.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


worker, halving = module_at(HERE / "worker.py"), module_at(HERE / "inside_halving.py")

FEWEST_TOKENS = 3
"""A first token, and two steps after it to time."""
WARM_TOKENS, WARM_PROMPT = 2, 16
"""A first call prepares what later ones share; the length of its prompts does not matter for that."""
MOST_DISTURBED, PATIENCE_SECONDS = 2, 1.0
"""Runs in place of one that other programs disturbed, and seconds of waiting for them after it."""


class Trials:
    """Loads weights once for all candidates that share them, and times single runs."""

    def __init__(self, request: dict[str, Any], folder: Path) -> None:
        self.request, self.folder = request, folder
        self.about = {one["name"]: one for one in request["candidates"]}
        self.recipes: dict[str, ModuleType] = {}
        self.models: dict[str, Any] = {}
        self.attention: dict[str, str | None] = {}
        self.warm: set[str] = set()

    def try_out(self, candidate: Any, effort: Any) -> float:
        """Seconds of a whole request, reckoned from one short run; without other weights if memory runs out."""
        one = self.about[candidate.name]
        worker.say("trying", name=candidate.name)
        try:
            seconds = self._once(one, effort)
        except Exception as error:
            if len(self.models) < 2 or "out of memory" not in str(error).lower():
                raise
            self._forget()
            seconds = self._once(one, effort)
        worker.say("tried", name=candidate.name, seconds=seconds)
        return seconds

    def _once(self, one: dict[str, Any], effort: Any) -> float:
        recipe, model = self._recipe(one), self._model(one)
        self._set(one, model)
        prompts = recipe.make_prompts(model)
        calls = 1.0
        if one["rows"] is not None:
            calls = len(prompts) / min(one["rows"], len(prompts))
            prompts = prompts[: one["rows"]]
        tokens = self.request["new_tokens"]
        if one["clocked"] and not one["whole"] and effort.tokens is not None:
            tokens = min(tokens, max(FEWEST_TOKENS, effort.tokens))
        if one["name"] not in self.warm:
            self._warm_up(one, recipe, model, prompts)
        return self._run(one, recipe, model, prompts, tokens) * calls

    def _recipe(self, one: dict[str, Any]) -> Any:
        if one["name"] not in self.recipes:
            place = self.folder / one["name"]
            place.mkdir()
            self.recipes[one["name"]] = worker.recipe_module(one["recipe"], place)
        return self.recipes[one["name"]]

    def _model(self, one: dict[str, Any]) -> Any:
        key = one["weights"]
        if key not in self.models:
            held = sum({each["weights"]: each["weights_bytes"] for each in self._loaded()}.values())
            if self.models and held + one["weights_bytes"] > self.request["resident_bytes"]:
                self._forget()
            self.models[key] = self._recipe(one).load()
            self.attention[key] = one["attn_implementation"]
        return self.models[key]

    def _loaded(self) -> list[dict[str, Any]]:
        return [one for one in self.about.values() if one["weights"] in self.models]

    def _forget(self) -> None:
        """Free the weights of all others; what was measured with them stays."""
        import torch

        self.models.clear()
        self.warm.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _set(self, one: dict[str, Any], model: Any) -> None:
        """What a loaded model can be told afterwards."""
        import torch

        if one["threads"] is not None:
            torch.set_num_threads(one["threads"])
        wanted = one["attn_implementation"]
        if wanted is not None and wanted != self.attention[one["weights"]]:
            model.set_attn_implementation(wanted)
            self.attention[one["weights"]] = wanted

    def _warm_up(self, one: dict[str, Any], recipe: Any, model: Any, prompts: list[list[int]]) -> None:
        if one["whole"] or not one["clocked"]:
            recipe.NEW_TOKENS = self.request["new_tokens"]
            recipe.generate(model, None, prompts)
        else:
            recipe.NEW_TOKENS = WARM_TOKENS
            recipe.generate(model, None, [prompt[:WARM_PROMPT] for prompt in prompts])
        self.warm.add(one["name"])

    def _run(self, one: dict[str, Any], recipe: Any, model: Any, prompts: list[list[int]], tokens: int) -> float:
        """Seconds of a call with all new tokens; once more where other programs were busy meanwhile."""
        recipe.NEW_TOKENS = tokens
        needed = worker.needed_cores(model)
        for _ in range(MOST_DISTURBED):
            neighbours = worker.gauges.Neighbours(needed)
            seconds = self._timed(one, recipe, model, prompts, tokens)
            if not neighbours.disturb():
                break
            worker.wait_for_quiet(needed, PATIENCE_SECONDS)
        return seconds

    def _timed(self, one: dict[str, Any], recipe: Any, model: Any, prompts: list[list[int]], tokens: int) -> float:
        clock = worker.Clock(worker.waiter(model), tokens)
        recipe.generate(model, None, prompts, **({"stopping_criteria": [clock]} if one["clocked"] else {}))
        clock.wait()
        wall = time.perf_counter() - clock.started
        missing = self.request["new_tokens"] - tokens
        if missing == 0:
            return float(wall)
        # Of all calls together: every one makes the missing steps.
        return float(wall + missing * clock.decode_seconds / (tokens - 1))


def main(request_path: str, answer_path: str) -> None:
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    folder = Path(request_path).resolve().parent
    worker.keep_temporary_files_in(folder)
    trials = Trials(request, folder)
    names = ("name", "price", "extra_seconds", "sibling", "ratio")
    search = halving.Search(
        candidates=[halving.Candidate(**{name: one[name] for name in names}) for one in request["candidates"]],
        try_out=trials.try_out,
        left=lambda: request["budget_seconds"] - (time.monotonic() - BEGAN),
    )
    winner = halving.halve(search)
    answer = {
        "winner": winner.name if winner else None,
        "seconds": {name: min(found) for name, found in search.seconds.items() if found},
        "failed": search.failed,
        "rounds": search.rounds,
        "elapsed_seconds": time.monotonic() - BEGAN,
    }
    unfinished = Path(answer_path + ".part")
    unfinished.write_text(json.dumps(answer), encoding="utf-8")
    unfinished.replace(answer_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
