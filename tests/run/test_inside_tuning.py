"""The child that tries setups: what it shares, what it forgets, and how it reckons a request from a short run."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from advisor.run import inside_tuning
from advisor.run.inside_halving import Candidate, Effort

QUICK = Effort(4, 1)


def one(name: str, **more: Any) -> dict[str, Any]:
    usual = {"weights": "0", "weights_bytes": 10, "attn_implementation": "sdpa", "threads": None, "rows": 1}
    return {"name": name, "recipe": "", "whole": False, "clocked": True, **usual, **more}


class Recipe:
    """A program that makes tokens on a made-up clock: 1 s to a first token, 0.5 s to each other, for every call."""

    NEW_TOKENS = 0

    def __init__(self, clock: list[float]) -> None:
        self.clock, self.loads, self.calls = clock, 0, []  # type: ignore[var-annotated]

    def load(self) -> Any:
        self.loads += 1
        return SimpleNamespace(set_attn_implementation=self.calls.append)

    def make_prompts(self, _: Any) -> list[list[int]]:
        return [[7] * 40] * 6

    def generate(self, _model: Any, _tokenizer: Any, prompts: list[list[int]], **options: Any) -> None:
        self.calls.append((len(prompts), len(prompts[0]), self.NEW_TOKENS))
        for number in range(self.NEW_TOKENS):
            self.clock[0] += 0.5 if number else 1.0
            for watcher in options.get("stopping_criteria", ()):
                watcher(SimpleNamespace(shape=(1, 1), new_zeros=lambda size, dtype: [dtype()] * size))


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes the trials of some candidates, whose programs are all one `Recipe`."""
    clock = [0.0]
    recipe = Recipe(clock)
    worker = inside_tuning.worker
    quiet = SimpleNamespace(Neighbours=lambda _: SimpleNamespace(disturb=lambda: False))
    monkeypatch.setattr(worker, "recipe_module", lambda _text, _place: recipe)
    monkeypatch.setattr(worker, "waiter", lambda _: lambda: None)
    monkeypatch.setattr(worker, "needed_cores", lambda _: 1)
    monkeypatch.setattr(worker, "gauges", quiet)
    # One module for both: the child's worker and the clock here read the same time.
    monkeypatch.setattr(worker.time, "perf_counter", lambda: clock[0])

    def make(*candidates: dict[str, Any], new_tokens: int = 11) -> Any:
        request = {"candidates": candidates, "new_tokens": new_tokens, "resident_bytes": 25}
        found = inside_tuning.Trials(request, tmp_path)
        found.recipe = recipe  # type: ignore[attr-defined]
        return found

    yield make


def test_a_short_run_tells_the_seconds_of_a_whole_request(trials: Any) -> None:
    tried = trials(one("a"))
    assert tried.try_out(Candidate("a"), QUICK) == pytest.approx(6 * (1.0 + 10 * 0.5))
    assert tried.recipe.calls == [(1, 16, 2), (1, 40, 4)], "a short warm-up, then one of six calls with few tokens"


def test_what_is_compiled_makes_all_tokens_always(trials: Any) -> None:
    tried = trials(one("a", whole=True, rows=6))
    assert tried.try_out(Candidate("a"), QUICK) == pytest.approx(1.0 + 10 * 0.5)
    assert tried.recipe.calls == [(6, 40, 11), (6, 40, 11)]


def test_weights_are_loaded_once_and_attention_is_set_later(trials: Any) -> None:
    tried = trials(one("a"), one("b", attn_implementation="eager"))
    for name in ("a", "b", "a"):
        tried.try_out(Candidate(name), QUICK)
    assert tried.recipe.loads == 1
    assert [call for call in tried.recipe.calls if isinstance(call, str)] == ["eager", "sdpa"]


def test_other_weights_stay_as_long_as_there_is_room(trials: Any) -> None:
    tried = trials(one("a"), one("b", weights="1"), one("c", weights="2"))
    for name in ("a", "b", "a"):
        tried.try_out(Candidate(name), QUICK)
    assert tried.recipe.loads == 2
    tried.try_out(Candidate("c"), QUICK)
    assert set(tried.models) == {"2"}


def test_memory_that_runs_out_is_tried_again_without_other_weights(trials: Any) -> None:
    tried = trials(one("a"), one("b", weights="1"))
    tried.try_out(Candidate("a"), QUICK)
    full = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    whole, tried._timed = tried._timed, None

    def timed(*arguments: Any) -> float:
        if len(tried.models) > 1:
            raise full
        return float(whole(*arguments))

    tried._timed = timed
    assert tried.try_out(Candidate("b"), QUICK) > 0
    assert set(tried.models) == {"1"}


def test_other_failures_are_passed_on(trials: Any) -> None:
    tried = trials(one("a"), one("b", weights="1"))
    tried.try_out(Candidate("a"), QUICK)
    tried.recipe.load = lambda: (_ for _ in ()).throw(ValueError("no such kernel"))
    with pytest.raises(ValueError, match="no such kernel"):
        tried.try_out(Candidate("b"), QUICK)
    assert set(tried.models) == {"0"}
