import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import spoken
from advisor.conflicts import conflict
from advisor.errors import Mistake
from advisor.setup import Setup, knobs, read_assignment, read_change, unusable


def test_a_setup_goes_to_json_and_back() -> None:
    setup = Setup(dtype="bfloat16", max_memory=("0=10GiB", "cpu=30GiB"), use_cache=False, threads=2)
    mistakes: list[Mistake] = []
    assert Setup().changed(read_change(setup.to_json(), "plan", mistakes)) == setup
    assert not mistakes


def test_difference_names_what_another_setup_sets() -> None:
    assert Setup(dtype="float32").difference(Setup(dtype="bfloat16", threads=2)) == {"dtype": "bfloat16", "threads": 2}
    assert Setup(dtype="float32").difference(Setup()) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dtpe=float32", "did you mean dtype?"),
        ("dtype", "is not KNOB=VALUE"),
        ("dtype=fp8", "not a value of dtype"),
        ("threads=0", "not between"),
        ("threads=two", "not a whole number"),
        ("use_cache=maybe", "not true or false"),
        ("attn_implementation=../x", "not a value"),
        ("max_memory=0=lots", "not a value"),
    ],
)
def test_assignments_that_are_wrong_say_so(text: str, told: str) -> None:
    mistakes: list[Mistake] = []
    assert read_assignment(text, "--set", mistakes) is None
    assert told in str(mistakes[0])


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("dtype=float32", ("dtype", "float32")),
        ("use_cache=false", ("use_cache", False)),
        ("batch_size=8", ("batch_size", 8)),
        ("attn_implementation=kernels-community/flash-attn2", ("attn_implementation", "kernels-community/flash-attn2")),
        ("max_memory=0=10GiB,cpu=30GiB", ("max_memory", ("0=10GiB", "cpu=30GiB"))),
    ],
)
def test_assignments_that_are_right(text: str, pair: tuple[str, object]) -> None:
    mistakes: list[Mistake] = []
    assert read_assignment(text, "--set", mistakes) == pair
    assert not mistakes


@given(st.sampled_from(sorted(knobs())), st.text(max_size=30))
def test_only_declared_texts_get_through(name: str, text: str) -> None:
    if unusable(name, text) is None:
        allowed = "./@_-" if name != "assistant_model" else "./@_-\\\\:~+ "
        assert text in knobs()[name].values or all(letter.isalnum() or letter in allowed for letter in text)


@pytest.mark.parametrize(
    ("setup", "told"),
    [
        (Setup(quantization="bnb_nf4", compile="forward"), "cannot be compiled"),
        (Setup(compile="generate", cache_implementation="dynamic"), "static cache"),
        (Setup(compile="generate", cache_implementation="static", device_map="auto"), "spread over devices"),
        (Setup(use_cache=False, cache_implementation="static"), "no cache to choose"),
        (Setup(cache_implementation="quantized", cache_backend="hqq", cache_bits=5), "hqq takes 1, 2, 3, 4, 8 bits"),
        (Setup(cache_implementation="quantized", cache_backend="fp8", cache_bits=8), "fp8 is not told"),
        (Setup(batching="continuous", cache_implementation="static"), "its own paged cache"),
        (Setup(batching="continuous", attn_implementation="flex_attention"), "flex_attention"),
        (Setup(device="cpu", cache_implementation="offloaded"), "needs an accelerator"),
        (Setup(attn_implementation="flash_attention_2", dtype="float32"), "16-bit"),
        (Setup(attn_implementation="kernels-community/flash-attn2", device="cpu"), "GPU"),
    ],
)
def test_knobs_that_do_not_go_together(setup: Setup, told: str) -> None:
    assert told in (conflict(setup) or "")


def test_knobs_that_do() -> None:
    assert conflict(Setup()) is None
    assert conflict(Setup(compile="generate", cache_implementation="static", dtype="bfloat16")) is None
    assert conflict(Setup(quantization="none", compile="none", device_map="none")) is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("dtype=fp16", ("dtype", "float16")),
        ("torch_dtype=torch.bfloat16", ("dtype", "bfloat16")),
        ("attn_implementation=fa2", ("attn_implementation", "flash_attention_2")),
        ("quantization=nf4", ("quantization", "bnb_nf4")),
        ("device=gpu", ("device", "cuda")),
        ("quantization = int8", ("quantization", "bnb_int8")),
    ],
)
def test_other_spellings_are_understood(typed: str, meant: tuple[str, str]) -> None:
    mistakes: list[Mistake] = []
    assert read_assignment(typed, "--set", mistakes) == meant
    assert not mistakes


@pytest.mark.parametrize(
    "typed",
    [
        *("load_in_4bit=true", "dtype=auto", "max_new_tokens=10", "device=auto", "num_beams=4"),
        *("attention=flash", "compile=True", "quantization=load_in_4bit", "quantization=int4"),
        *("fp16=true", "quantization=gptq"),
    ],
)
def test_what_is_said_otherwise_here_is_pointed_at(typed: str) -> None:
    mistakes: list[Mistake] = []
    assert read_assignment(typed, "--set", mistakes) is None
    assert len(mistakes) == 1 and mistakes[0].hint.startswith("say ")


def test_every_spelling_leads_to_a_value_that_exists() -> None:
    for (name, _), value in spoken.VALUES.items():
        assert unusable(name, value) is None
    assert set(spoken.NAMES.values()) <= set(knobs())
    assert not set(spoken.NAMES) & set(knobs())
