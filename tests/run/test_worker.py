"""The measuring child: its clock, what it keeps, how long it runs, and a real run of a small model."""

import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from advisor import child
from advisor.plan import ModelReference
from advisor.run import worker
from advisor.run.distributions import divergence
from advisor.run.figures import Failed, Measured
from advisor.run.measure import measure
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.setup import Setup
from advisor.workload import Workload


class Ids:
    """As much of a tensor of token ids as clock and keeper ask for."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows, self.shape = rows, (len(rows), len(rows[0]))

    def tolist(self) -> list[list[int]]:
        return self.rows

    def new_zeros(self, size: int, dtype: type) -> list[bool]:
        return [dtype(0)] * size


def ticking(monkeypatch: pytest.MonkeyPatch, *times: float) -> None:
    ticks = iter(times)
    monkeypatch.setattr(worker.time, "perf_counter", lambda: next(ticks))


def test_the_clock_tells_first_tokens_from_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, 0.0, 1.0, 1.5, 2.0)
    clock = worker.Clock(lambda: None, new_tokens=3)
    answers = [clock(Ids([[7], [8]]), None) for _ in range(3)]
    assert answers == [[False, False]] * 3
    assert clock.ttfts == [1.0, 1.0], "one for each prompt of the call"
    assert (clock.decode_tokens, clock.decode_seconds) == (4, 1.0)


def test_the_clock_tells_calls_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, 0.0, 1.0, 1.5, 3.5, 4.5)
    clock = worker.Clock(lambda: None, new_tokens=2)
    for _ in range(4):
        clock(Ids([[7]]))
    assert clock.ttfts == [1.0, 3.5], "the second call waits for the first"
    assert (clock.decode_tokens, clock.decode_seconds) == (2, 1.5)


def test_a_single_token_has_no_decode_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch, 0.0, 1.0, 3.0)
    clock = worker.Clock(lambda: None, new_tokens=1)
    clock(Ids([[7]]))
    clock(Ids([[7]]))
    assert clock.ttfts == [1.0, 3.0]
    assert clock.decode_tokens == 0


def test_offloaded_layers_do_not_hide_the_device() -> None:
    """The library takes the first weight's device for the model's; an offloaded one lies on none."""

    def model(*devices: str) -> Any:
        weights = [SimpleNamespace(is_meta=name == "meta", device=SimpleNamespace(type=name)) for name in devices]
        return SimpleNamespace(parameters=lambda: iter(weights))

    assert worker.device_type(model("meta", "cuda", "cpu")) == "cuda"
    assert worker.device_type(model("cuda", "meta")) == "cuda"
    assert worker.device_type(model("meta", "meta")) == "cpu"


def test_the_clock_waits_for_the_device_at_both_ends_only() -> None:
    waits: list[int] = []
    clock = worker.Clock(lambda: waits.append(1), new_tokens=5)
    for _ in range(5):
        clock(Ids([[7]]))
    assert len(waits) == 3  # at the start, at the first token and at the last


class Row:
    """As much of a row of scores as the keeper asks for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def detach(self) -> "Row":
        return self

    float = cpu = clone = detach


@pytest.mark.parametrize("rows", [[[0, 0, 5, 6], [1, 2, 3, 4]], [[5, 6, 0, 0], [1, 2, 3, 4]]])
def test_scores_are_kept_by_prompt_whichever_side_is_padded(rows: list[list[int]]) -> None:
    keep = worker.Keep([[1, 2, 3, 4], [5, 6]], new_tokens=2)
    first, second, later = Row("first"), Row("second"), Row("later")
    scores = [first, second]
    assert keep(Ids(rows), scores) is scores
    keep(Ids([[*row, 9] for row in rows]), [later, later])
    assert keep.kept == {1: first, 0: second}


def test_scores_of_rows_that_are_no_prompt_are_left() -> None:
    keep = worker.Keep([[1, 2]], new_tokens=1)
    keep(Ids([[3, 4]]), [Row("x")])
    assert keep.answer() is None


def runs_for(seconds: float, disturbed: Any = lambda number: False, budget: float = 5.0) -> int:
    numbers = iter(range(100))
    made = worker.timed_runs(
        lambda: {"seconds": seconds, "disturbed": disturbed(next(numbers))}, lambda patience: 0.0, budget, 10.0
    )
    return len(made)


@pytest.mark.parametrize(("seconds", "expected"), [(0.01, worker.MOST_RUNS), (1.0, 6), (2.0, 3), (4.0, 2), (60.0, 2)])
def test_runs_fit_the_budget(seconds: float, expected: int) -> None:
    assert runs_for(seconds) == expected


def test_disturbed_runs_are_made_up_for_within_twice_the_budget() -> None:
    assert runs_for(2.0, disturbed=lambda number: number < 2) == 4
    assert runs_for(2.0, disturbed=lambda number: True) == 6


def test_waiting_for_quiet_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(worker, "say", lambda stage, **more: None)

    def wait(patience: float) -> float:
        asked.append(patience)
        return 6.0

    worker.timed_runs(lambda: {"seconds": 2.0, "disturbed": False}, wait, 5.0, 10.0)
    assert asked == [10.0, 4.0, -2.0]


def test_no_file_beside_the_child_shadows_a_library() -> None:
    beside = {path.stem for path in Path(worker.__file__).parent.glob("*.py")} - {"__init__"}
    assert not beside & sys.stdlib_module_names


MAKER = Path(worker.__file__).with_name("inside_demo_model.py")
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LOAD = Workload(batch=4, prompt_tokens=24, new_tokens=6, mixed_lengths=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("worker") / "model"
    made = child.run(sys.executable, MAKER, {"folder": str(place), "shape": TINY, "dtype": "float32"}, 120)
    assert isinstance(made, child.Answered), made
    return place


@cache
def measured(folder: Path, random: bool = False, workload: Workload = LOAD, **values: Any) -> Measured:
    subject = Subject(ModelReference("folder", str(folder), None, False), workload, random)
    setup = Setup(threads=1, **values)
    found = measure(sys.executable, recipe(subject, setup), setup.batching != "continuous", 0.2, 240, judge=True)
    assert isinstance(found, Measured), found.log[-3000:]
    return found


@pytest.mark.models
def test_a_loop_and_a_batch_say_the_same_in_float32(folder: Path) -> None:
    loop, batch = measured(folder, batching="loop"), measured(folder, batching="padded")
    ordered = measured(folder, batching="sorted", batch_size=3, pad_to_multiple_of=16)
    assert loop.tokens == batch.tokens == ordered.tokens
    assert [len(row) for row in loop.tokens] == [6] * 4
    for other in (batch, ordered):
        assert loop.logits is not None and other.logits is not None
        assert loop.logits.prompts == other.logits.prompts == (0, 1, 2, 3)
        finite = [(a, b) for a, b in zip(loop.logits.values, other.logits.values, strict=True) if abs(a) < 1e30]
        assert max(abs(a - b) for a, b in finite) < 1e-3
        assert loop.distributions is not None and other.distributions is not None
        thought = divergence(loop.distributions, other.distributions)
        assert thought is not None
        assert (thought.positions, thought.same_best) == (4 * 6, 1.0)
        assert 0 <= thought.mean < 1e-6 and (thought.distance or 0) < 1e-3


@pytest.mark.models
def test_the_users_own_prompts_take_the_place_of_the_recipes(folder: Path) -> None:
    subject = Subject(ModelReference("folder", str(folder), None, False), LOAD, False)
    setup = Setup(threads=1, batching="padded", padding_side="left")
    own = ((11, 12, 13), (21, 22, 23, 24, 25), (31,))
    found = measure(sys.executable, recipe(subject, setup), True, 0.1, 240, prompts=own, judge=True, alone=True)
    assert isinstance(found, Measured), found.log[-3000:]
    assert [len(row) for row in found.tokens] == [6] * 3
    assert found.distributions is not None and found.distributions.source == "your prompts"
    failed = measure(sys.executable, recipe(subject, setup), True, 0.1, 240, prompts=((10**6,),))
    assert isinstance(failed, Failed)
    assert "prompt 1 holds a token" in failed.reason


@pytest.mark.models
def test_figures_of_a_real_run_hang_together(folder: Path) -> None:
    found = measured(folder, batching="padded")
    run = found.runs[0]
    assert 0 < (run.ttft_seconds or 0) < run.seconds
    assert run.total_tokens_per_second == pytest.approx(24 / run.seconds, rel=0.05)
    decode_seconds = 20 / (run.decode_tokens_per_second or 0)
    assert (run.ttft_seconds or 0) + decode_seconds == pytest.approx(run.seconds, rel=0.2)
    assert found.versions["transformers"]
    assert found.threads == 1
    if sys.platform == "linux":
        assert (found.peak_bytes or 0) > 100_000_000


@pytest.mark.models
def test_continuous_batching_gives_the_same_tokens(folder: Path) -> None:
    assert measured(folder, batching="continuous").tokens == measured(folder, batching="loop").tokens


@pytest.mark.models
@pytest.mark.parametrize("quantization", ["bnb_int8", "bnb_nf4"])
def test_quantized_weights_run_and_stay_near(folder: Path, quantization: str) -> None:
    pytest.importorskip("bitsandbytes", exc_type=ImportError)
    found = measured(folder, batching="padded", quantization=quantization, device="cpu")
    assert [len(row) for row in found.tokens] == [6] * 4


@pytest.mark.models
def test_random_weights_are_the_same_in_every_run_and_type(folder: Path) -> None:
    one = measured(folder, random=True, batching="loop", dtype="float32")
    spread = measured(folder, random=True, batching="padded", dtype="float32", device_map="auto")
    assert one.tokens == spread.tokens


@pytest.mark.models
def test_the_exported_program_runs_by_itself(folder: Path, tmp_path: Path) -> None:
    import subprocess

    subject = Subject(ModelReference("folder", str(folder), None, False), LOAD, False, tokenizer=True)
    program = tmp_path / "mine.py"
    program.write_text(recipe(subject, Setup(batching="padded", threads=1)))
    told = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert "new tokens/s" in told and "4 prompts" in told
    program.write_text(program.read_text().replace("TEXTS = []", 'TEXTS = ["A class", "The function of a"]'))
    told = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert told.splitlines()[1].startswith("A class")


@pytest.mark.models
def test_an_error_in_the_recipe_is_told_with_its_stage() -> None:
    subject = Subject(ModelReference("folder", "/no/such/model", None, False), LOAD, False)
    failed = measure(sys.executable, recipe(subject, Setup()), True, 0.1, 120)
    assert isinstance(failed, Failed)
    assert failed.stage == "load"
    assert "recipe.py" in failed.log
