"""A model that is split over ranks: the program, how it is started, and the same tokens as from one process."""

import os
import sys
from typing import Any

import pytest
from packaging.version import Version

from advisor import api
from advisor.errors import PlanError
from advisor.plan import ModelReference
from advisor.run import inside_ranks
from advisor.run.figures import Measured
from advisor.run.measure import error_in, measure
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.setup import Setup
from advisor.workload import Arrivals, Workload

LOAD = Workload(batch=2, prompt_tokens=24, new_tokens=6)
CONFIG = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512,
}  # fmt: skip


def program(ranks: int | None, version: str = "5.22.2", load: Workload = LOAD, **knobs: Any) -> str:
    subject = Subject(ModelReference("shape", "x", None, True), load, True, CONFIG, Version(version))
    return recipe(subject, Setup(**{"device": "cpu", "dtype": "float32", "tensor_parallel": ranks, **knobs}))


def test_the_library_is_told_as_its_version_wants() -> None:
    assert "distributed_config=split," in program(2) and "DistributedConfig(tp_size=RANKS)" in program(2)
    old = program(2, "5.10")
    assert 'tp_plan="auto",' in old and "DistributedConfig" not in old
    with pytest.raises(PlanError, match="tensor_parallel"):
        program(2, "4.57")


def test_one_rank_is_the_plain_program() -> None:
    assert program(1) == program(None)
    assert "RANKS" not in program(1)


def test_ranks_are_counted_against_gpus_where_there_should_be_some() -> None:
    assert "torch.cuda.device_count() < RANKS" in program(2, device="cuda")
    assert "device_count" not in program(2)


def test_arrivals_are_not_run_by_ranks() -> None:
    with pytest.raises(PlanError, match="arrive one by one"):
        program(2, load=Workload(arrivals=Arrivals(8, 1.0)))


def test_heads_that_do_not_divide_and_a_start_without_torchrun_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    text = program(3)
    lines = text[text.index('    if "RANK"') : text.index("    split =")].replace("\n    ", "\n").strip()
    lines = lines.replace("sizes = config.get_text_config()", "sizes = config")
    config = type("Config", (), {"num_attention_heads": 4, "num_key_value_heads": 2})
    space = {"os": os, "sys": sys, "RANKS": 3, "config": config}
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SystemExit, match="torchrun --nproc-per-node 3"):
        exec(lines, dict(space))
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="4 query and 2 key-value heads do not divide over 3 ranks"):
        exec(lines, dict(space))


def test_a_recipe_with_ranks_becomes_torchrun_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(inside_ranks.os, "execv", lambda _, words: started.append(words))
    monkeypatch.delenv("RANK", raising=False)
    inside_ranks.start(program(None), ["worker.py"])
    assert started == []
    inside_ranks.start(program(2), ["worker.py", "request", "answer"])
    words = started[0]
    assert words[1:5] == ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    assert "127.0.0.1" in words and words[-3:] == ["worker.py", "request", "answer"]
    monkeypatch.setenv("RANK", "1")
    inside_ranks.start(program(2), ["worker.py"])
    assert len(started) == 1, "a rank starts no other"


@pytest.mark.parametrize("knobs", [{"tensor_parallel": 2}, {"engine": "serve", "batching": "loop"}])
def test_what_takes_other_processes_is_not_loaded_into_ones_own(knobs: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"of (its|their) own"):
        api._refuse_elsewhere(Setup(**knobs))


def test_alone_nothing_is_agreed_upon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert inside_ranks.rank() == 0 and inside_ranks.others() == ()
    assert inside_ranks.agreed(True) and not inside_ranks.agreed(None)
    assert inside_ranks.summed({"peak_bytes": 1}) == {"peak_bytes": 1}


def test_the_reason_is_that_of_the_rank_that_failed() -> None:
    trace = "Traceback (most recent call last):\n"
    log = f"{trace}ValueError: 4 heads\n{trace}torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n"
    assert error_in(log, "exit code 1") == "ValueError: 4 heads"


@pytest.mark.models
def test_two_ranks_give_the_tokens_of_one_process() -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    found = [measure(sys.executable, program(ranks, threads=1), True, 0.1, 120.0) for ranks in (1, 2)]
    one, two = found
    assert isinstance(one, Measured) and isinstance(two, Measured), found
    assert two.tokens == one.tokens
    assert two.peak_bytes is not None and one.peak_bytes is not None
    assert two.peak_bytes > 1.5 * one.peak_bytes, "the memory of both"
