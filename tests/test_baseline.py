import pytest

from advisor.baseline import baseline, device_facts
from advisor.facts import Fact, Facts, Known, Unknown, Value
from advisor.setup import Setup


def facts(**values: object) -> Facts:
    found: dict[str, Fact] = {}
    for name, value in values.items():
        found[name.replace("__", ".")] = Unknown("test") if value is None else Known(value, "test")  # type: ignore[arg-type]
    return Facts(found)


BF16_MODEL = facts(model__checkpoint_dtype="bfloat16", model__supports_sdpa=True)


def test_transformers_5_keeps_the_checkpoints_type_and_4_does_not() -> None:
    assert baseline({}, facts(transformers__version="5.22.2"), BF16_MODEL)[0].dtype == "bfloat16"
    setup, sources = baseline({}, facts(transformers__version="4.57.6"), BF16_MODEL)
    assert setup.dtype == "float32"
    assert sources["dtype"] == "default of transformers 4.57.6"


def test_what_is_stated_wins_and_says_so() -> None:
    setup, sources = baseline({"dtype": "float16"}, facts(transformers__version="5.22.2"), BF16_MODEL)
    assert setup.dtype == "float16"
    assert sources["dtype"] == "you"


@pytest.mark.parametrize(
    ("stated", "knob", "value"),
    [
        ({"compile": "generate"}, "compile_mode", "reduce-overhead"),
        ({"compile": "forward"}, "compile_mode", "default"),
        ({"compile": "generate", "compile_mode": "max-autotune"}, "compile_mode", "max-autotune"),
        ({}, "compile_mode", None),
        ({"cache_implementation": "quantized"}, "cache_backend", "quanto"),
        ({"cache_implementation": "quantized", "cache_backend": "hqq"}, "cache_backend", "hqq"),
        ({"cache_implementation": "static"}, "cache_backend", None),
    ],
)
def test_defaults_that_follow_from_another_knob(stated: dict[str, Value], knob: str, value: str | None) -> None:
    setup, sources = baseline(stated, facts(), BF16_MODEL)
    assert getattr(setup, knob) == value
    assert (sources.get(knob) == "you") is (knob in stated)


@pytest.mark.parametrize(
    ("machine", "device"),
    [
        (facts(torch__sees_gpu=True, torch__build="cuda"), "cuda"),
        (facts(torch__sees_gpu=True, torch__build="rocm"), "cuda"),
        (facts(torch__sees_gpu=True, torch__build="mps"), "mps"),
        (facts(torch__sees_gpu=False, torch__build="cpu", gpu__count=1), "cpu"),
        (facts(gpu__count=1, gpu__vendor="nvidia"), "cuda"),
        (facts(), "cpu"),
    ],
)
def test_the_device_is_where_torch_runs_fastest(machine: Facts, device: str) -> None:
    assert baseline({}, machine, BF16_MODEL)[0].device == device


def test_a_class_without_sdpa_runs_eager() -> None:
    assert baseline({}, facts(), facts(model__supports_sdpa=False))[0].attn_implementation == "eager"
    assert baseline({}, facts(), facts())[0].attn_implementation is None


def test_the_kind_of_cache_stays_the_default_while_it_is_off() -> None:
    """So that rules about the cache see what they will find once it is on again."""
    assert baseline({"use_cache": False}, facts(), BF16_MODEL)[0].cache_implementation == "dynamic"


@pytest.mark.parametrize(
    ("capability", "bf16", "fp16"), [(6.1, False, False), (7.0, False, True), (7.5, False, True), (8.0, True, True)]
)
def test_16_bit_types_by_compute_capability(capability: float, bf16: bool, fp16: bool) -> None:
    found = device_facts(facts(gpu__capability=capability), Setup(device="cuda"))
    assert (found.value("device.fast_bf16"), found.value("device.fast_fp16")) == (bf16, fp16)


@pytest.mark.parametrize(
    ("avx", "amx", "arm", "fast"),
    [
        (True, False, False, True),
        (False, True, False, True),
        (False, False, True, True),
        (False, False, False, False),
        (None, True, None, True),
    ],
)
def test_bf16_on_a_cpu_needs_one_of_three_units(
    avx: bool | None, amx: bool | None, arm: bool | None, fast: bool
) -> None:
    machine = facts(host__avx512_bf16=avx, host__amx_bf16=amx, host__arm_bf16=arm)
    assert device_facts(machine, Setup(device="cpu")).value("device.fast_bf16") is fast


def test_an_unknown_unit_leaves_it_open() -> None:
    machine = facts(host__avx512_bf16=None, host__amx_bf16=False)
    assert device_facts(machine, Setup(device="cpu")).value("device.fast_bf16") is None


def test_an_idle_accelerator_and_crowded_cores_are_noticed() -> None:
    machine = facts(torch__sees_gpu=True, host__cores_usable=2)
    found = device_facts(machine, Setup(device="cpu", threads=4))
    assert found.is_true("device.accelerator_idle")
    assert found.is_true("device.threads_exceed_cores")
    assert device_facts(machine, Setup(device="cuda")).value("device.threads_exceed_cores") is None
