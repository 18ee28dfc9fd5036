"""What fits, by type of weights and length of context."""

import time

import pytest

from advisor.estimate.fit_table import Row, contexts, fit_table
from advisor.facts import Facts, Known, Value
from advisor.probe import anatomy, shapes
from advisor.setup import Setup
from advisor.workload import Workload

GIB = 2**30
CUDA = Setup(device="cuda", device_map="none", dtype="float32", attn_implementation="sdpa")
ONE = Workload(goal="fit", batch=1, prompt_tokens=512, new_tokens=128)


def machine(**more: Value) -> Facts:
    known: dict[str, Value] = {"gpu.count": 1, "gpu.memory_free_bytes": 24 * GIB, "transformers.version": "5.22.2"}
    return Facts({name: Known(value, "test") for name, value in {**known, **more}.items()})


def model(shape: str = "llama-3.1-8b", quantized: str = "none") -> Facts:
    return anatomy.facts(shapes.load(shape).anatomy) | Facts(
        {"model.checkpoint_quantization": Known(quantized, "test")}
    )


def table(setup: Setup = CUDA, **more: Value) -> dict[str, Row]:
    rows = fit_table(model(), machine(**more), ONE, setup)
    assert rows is not None
    return {row.weights: row for row in rows}


@pytest.mark.parametrize(
    ("longest", "expected"),
    [
        (2048, (2048,)),
        (8192, (2048, 4096, 8192)),
        (131072, (2048, 8192, 32768, 131072)),
        (40960, (2048, 4096, 8192, 16384, 32768, 40960)),
        (1024, (1024,)),
        (None, (2048,)),
    ],
)
def test_lengths_go_up_to_the_models_own(longest: int | None, expected: tuple[int, ...]) -> None:
    assert contexts(longest, 128) == expected


def test_an_answer_longer_than_the_context_leaves_no_length() -> None:
    assert contexts(2048, 2048) == ()


def test_smaller_weights_and_shorter_contexts_take_less() -> None:
    rows = table()
    assert list(rows) == ["bfloat16", "int8", "nf4"]
    for row in rows.values():
        totals = [cell.total_bytes or 0 for cell in row.cells]
        assert totals == sorted(totals) and totals[0] > 0
    assert rows["bfloat16"].cells[0].fits and not rows["bfloat16"].cells[-1].fits
    shortest = [row.cells[0].total_bytes or 0 for row in rows.values()]
    assert shortest == sorted(shortest, reverse=True)


def test_a_missing_package_is_named() -> None:
    assert [row.needs for row in table().values()] == [None, "bitsandbytes", "bitsandbytes"]
    assert not any(row.needs for row in table(**{"bitsandbytes.installed": True}).values())


def test_the_setups_own_type_of_16_bits_stays() -> None:
    assert next(iter(table(CUDA.changed({"dtype": "float16"})))) == "float16"


def test_a_quantized_checkpoint_has_one_row() -> None:
    rows = fit_table(model(quantized="gptq"), machine(), ONE, CUDA)
    assert rows is not None
    assert [(row.weights, row.change) for row in rows] == [("gptq", {})]


def test_nothing_is_said_of_what_does_not_generate() -> None:
    assert fit_table(model(), machine(), Workload(task="encode"), CUDA) is None


def test_a_table_takes_milliseconds() -> None:
    started = time.perf_counter()
    table()
    assert time.perf_counter() - started < 0.2
