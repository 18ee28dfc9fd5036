from hypothesis import given
from hypothesis import strategies as st

from advisor.clauses import judge as judged
from advisor.clauses import parse_conditions
from advisor.errors import Mistake
from advisor.facts import Facts, Known, Unknown
from advisor.rulebook import full_vocabulary
from advisor.yaml_lines import Listing, read

VOCABULARY = full_vocabulary()


def parse(text: str) -> tuple[tuple, list[Mistake]]:
    node = read(text, "rule.yaml")
    assert isinstance(node, Listing)
    mistakes: list[Mistake] = []
    return parse_conditions(node.items, VOCABULARY, "rule.yaml", mistakes), mistakes


def holds(text: str, **facts: object) -> bool | None:
    conditions, mistakes = parse(f"- {text}")
    assert not mistakes, mistakes
    values = {name.replace("__", "."): Known(value, "test") for name, value in facts.items()}  # type: ignore[arg-type]
    return judged(conditions[0], Facts(values))


def test_versions_compare_as_versions() -> None:
    assert holds("torch.version >= 2.10", torch__version="2.9.1") is False
    assert holds("torch.version >= 2.10", torch__version="2.10.0") is True
    assert holds("torch.version >= 2.10", torch__version="2.11.0+cu130") is True
    assert holds("torch.version == 2.10", torch__version="2.10.0") is True


def test_flags_read_bare_and_negated() -> None:
    assert holds("model.supports_sdpa", model__supports_sdpa=True) is True
    assert holds("not model.supports_sdpa", model__supports_sdpa=True) is False
    assert holds("not model.supports_sdpa", model__supports_sdpa=False) is True


def test_yaml_words_stay_words() -> None:
    conditions, mistakes = parse("- setup.compile == none")
    assert not mistakes
    assert conditions[0].literal == "none"


def test_names_in_a_list_and_lists_that_have_a_name() -> None:
    assert holds("setup.dtype in [float16, bfloat16]", setup__dtype="bfloat16") is True
    assert holds("setup.dtype in [float16, bfloat16]", setup__dtype="float32") is False
    assert holds("transformers.attention has sdpa", transformers__attention=("eager", "sdpa")) is True
    assert holds("transformers.attention has sdpa", transformers__attention=("eager",)) is False
    assert holds("transformers.attention lacks sdpa", transformers__attention=("eager",)) is True
    assert holds("transformers.attention lacks sdpa", transformers__attention=("eager", "sdpa")) is False


def test_unknown_is_neither_true_nor_false() -> None:
    for text in (
        "gpu.capability >= 8.0",
        "model.supports_sdpa",
        "not model.supports_sdpa",
        "gpu.vendor != amd",
        "transformers.attention lacks sdpa",
    ):
        conditions, _ = parse(f"- {text}")
        assert judged(conditions[0], Facts()) is None
        assert judged(conditions[0], Facts({conditions[0].fact: Unknown("broken")})) is None


def test_any_is_true_when_one_holds_even_if_another_is_unknown() -> None:
    conditions, mistakes = parse("- any: [triton.installed, setup.device == cpu]")
    assert not mistakes
    cpu, gpu = Known("cpu", "test"), Known("cuda", "test")
    assert judged(conditions[0], Facts({"setup.device": cpu})) is True
    assert judged(conditions[0], Facts({"setup.device": gpu})) is None
    assert judged(conditions[0], Facts({"setup.device": gpu, "triton.installed": Known(False, "test")})) is False


def test_each_mistake_has_its_line_and_a_remedy() -> None:
    text = """
- gpu.capabilty >= 8.0
- model.supports_sdpa == yes
- gpu.vendor > amd
- torch.version >= new
- setup.dtype == fp33
- gpu.capability
- not gpu.count
- ;;
"""
    _, mistakes = parse(text)
    assert [mistake.where for mistake in mistakes] == [f"rule.yaml:{line}" for line in range(2, 10)]
    assert "did you mean gpu.capability?" in str(mistakes[0])
    assert "is a flag" in str(mistakes[1])
    assert "no order" in str(mistakes[2])
    assert "not a version" in str(mistakes[3])
    assert "setup.dtype" in str(mistakes[4])
    assert "compare it with a value" in str(mistakes[5])


@given(st.text(max_size=80))
def test_no_text_breaks_the_parser(text: str) -> None:
    from advisor.yaml_lines import Text

    mistakes: list[Mistake] = []
    conditions = parse_conditions((Text(text, 1),), VOCABULARY, "f", mistakes)
    assert bool(conditions) != bool(mistakes)
