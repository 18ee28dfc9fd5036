"""Advice beside a plan: who speaks, in which order, and what its lines say."""

from hypothesis import given
from hypothesis import strategies as st

from advisor.facts import Facts, Known
from advisor.notes import filled, written

FACTS = Facts(
    {
        "model.name": Known("org/model; rm -rf ~", "you"),
        "gpu.count": Known(2, "driver"),
        "gpu.memory_free_bytes": Known(15 * 2**30, "driver"),
        "estimate.offloaded_share": Known(0.254, "estimate"),
        "gpu.name": Known("A\x1b[31mcard", "driver"),
    }
)


def test_a_line_is_filled_with_what_is_known() -> None:
    assert filled("torchrun --nproc-per-node {gpu.count} x.py", FACTS) == "torchrun --nproc-per-node 2 x.py"
    assert filled('max_memory={0: "{gpu.memory_free_bytes}"}', FACTS) == 'max_memory={0: "15GiB"}'
    assert filled("{estimate.offloaded_share} of the weights", FACTS) == "25% of the weights"


def test_what_is_unknown_stays_to_be_filled_in() -> None:
    assert filled("--max-model-len {workload.total_tokens}", FACTS) == "--max-model-len <workload.total_tokens>"


def test_a_name_cannot_break_out_of_the_line() -> None:
    assert filled("vllm serve {model.name}", FACTS) == "vllm serve 'org/model; rm -rf ~'"
    assert "\x1b" not in filled("{gpu.name}", FACTS)


def test_braces_of_python_are_left_alone() -> None:
    assert filled('{"": 0} {0: 1} f"{x}" {}', FACTS) == '{"": 0} {0: 1} f"{x}" {}'


@given(st.text())
def test_no_text_brings_control_characters(text: str) -> None:
    assert all(" " <= character <= "~" for character in written("model.name", text))
