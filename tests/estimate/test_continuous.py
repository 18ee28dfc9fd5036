"""Seconds of continuous batching, from constants that make every term easy to tell."""

from dataclasses import replace

import pytest

from advisor.estimate.constants import Constants, Measured
from advisor.estimate.continuous import CALL_SECONDS, PASS_SECONDS, timed
from advisor.estimate.quantized import Quantized
from advisor.estimate.running import Running
from advisor.estimate.shape import Shape
from advisor.estimate.terms import Packed
from advisor.setup import Setup
from advisor.workload import Workload

FREE = Measured(0.0, 0.0, 0.0)
SETUP = Setup(device="cpu", dtype="float32", device_map="none", attn_implementation="sdpa", batching="continuous")
LOAD = Workload(batch=4, prompt_tokens=10, new_tokens=5)


def model(
    products: Measured = FREE, host: float = 0.0, kv: float = 0.0, on_cpu: bool = False, **knobs: object
) -> Running:
    """Two layers of 100 parameters and an output projection of 10, one head with keys and values of one value."""
    shape = Shape(2, 2, 0, 0, 8, 1, 2.0, 1.0, 100, 0, 0, 0, 10)
    constants = Constants(0.0, 0.0, host, products, kv, kv_repeated=True, power=1.0, measured=True)
    return Running(
        shape=shape,
        constants=constants,
        layers=Quantized(1.0, products),
        head=products,
        setup=SETUP.changed(knobs),
        compiled=False,
        on_cpu=on_cpu,
        element_bytes=4,
        layer_factor=1.0,
        host_factor=1.0,
        host_extra=0.0,
        all_logits=False,
        fetch=0.0,
        matrix_shares=(),
    )


def test_every_pass_costs_the_host_once() -> None:
    # 40 tokens of prompts in one pass, then four steps.
    found = timed(model(host=1.0), LOAD)
    assert found is not None
    assert (found.ttft, found.last_ttft, found.seconds, found.decode_rate) == (1.0, 1.0, 5.0, 4.0)


def test_on_a_cpu_the_call_and_every_pass_cost_what_was_measured_around_the_model() -> None:
    found = timed(model(host=1.0, on_cpu=True), LOAD)
    assert found is not None
    assert found.seconds == pytest.approx(5.0 + CALL_SECONDS + 5 * PASS_SECONDS)
    assert found.ttft == pytest.approx(1.0 + CALL_SECONDS + PASS_SECONDS)


def test_prompts_that_are_read_one_after_another_answer_one_after_another() -> None:
    # Ten tokens a pass: the second of four prompts is answered after the passes 10, 1 + 9 and 1 + 1 + 8.
    found = timed(model(host=1.0, max_batch_tokens=10), LOAD)
    assert found is not None
    assert found.ttft == 3.0
    assert found.ttft < found.last_ttft < found.seconds
    assert found.seconds > 5.0


def test_fewer_in_flight_wait_for_those_before_them() -> None:
    few, all_ = (timed(model(host=1.0, batch_size=rows), LOAD) for rows in (1, 4))
    assert few is not None and all_ is not None
    assert few.seconds > all_.seconds
    assert few.ttft > all_.ttft


def test_more_requests_than_groups_cost_as_many_times_more() -> None:
    host = model(Measured(1.0, 8.0, 256.0), max_batch_tokens=2048, attn_implementation="flash_attention_2")
    few, many = (timed(host, replace(LOAD, batch=size)) for size in (64, 6400))
    assert few is not None and many is not None
    assert many.seconds == pytest.approx(100 * few.seconds, rel=0.05)


def test_one_new_token_has_the_rate_of_the_steps_that_would_follow() -> None:
    found = timed(model(host=1.0), replace(LOAD, new_tokens=1))
    assert found is not None
    assert (found.seconds, found.decode_rate) == (1.0, 4.0)


def test_without_flash_attention_every_token_meets_the_cache_of_all() -> None:
    products = Measured(1.0, 8.0, 256.0)
    tokens = Packed(decoding=4, reading=0, ended=0, sequences=4, held=40, pairs=0)
    masked, flash = (model(products, attn_implementation=kind).packed(tokens) for kind in ("sdpa", "flash_attention_2"))
    assert masked is not None and flash is not None
    # 4 tokens x 40 held x 2 layers, 2 values of a key and a value at one second each, at half of the products' rate.
    assert masked.total - flash.total == pytest.approx(4 * 40 * 2 * 2 * 2)
