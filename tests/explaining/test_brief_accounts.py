"""Accounts of a few words, and whose memory it is that they say ran out."""

import pytest

from advisor import errorbook, rulebook
from advisor.explaining import explain

RULES = errorbook.load(rulebook.shipped() / "errors", kept=False)


@pytest.mark.parametrize("whose", ["my GPU", "GPU", "my card", "the RTX 3060"])
@pytest.mark.parametrize("when", ["when I use batch 8", "when I use a long prompt", "when I load the model"])
def test_memory_of_a_device_that_is_named_is_the_device_s(whose: str, when: str) -> None:
    assert explain(f"{whose} runs out of memory {when}\n", "log", None, RULES).kind == "gpu_oom"


@pytest.mark.parametrize("whose", ["my PC", "my laptop"])
def test_memory_of_a_computer_is_the_host_s(whose: str) -> None:
    assert explain(f"{whose} runs out of memory when I load the model\n", "log", None, RULES).kind == "cpu_oom"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("it OOMs", "gpu_oom"),
        ("training crashes with OOM after 300 steps", "gpu_oom"),
        ("OOM on second epoch", "gpu_oom"),
        ("training crashes: out of memory", "gpu_oom"),
        ("RuntimeError: out of memory", "gpu_oom"),
        ("inference runs out of memory", "gpu_oom"),
        ("my notebook kernel dies when loading the model", "killed"),
        ("We need to run out of memory deliberately in the test.", None),
        ("training never runs out of memory", None),
        ("OOM handling in the training loop", None),
        ("the kernel restarts", None),
    ],
)
def test_a_few_words_are_understood(text: str, kind: str | None) -> None:
    assert explain(f"{text}\n", "log", None, RULES).kind == kind


def test_a_told_training_gets_no_advice_for_inference() -> None:
    found = explain("training crashes with OOM after 300 steps\n", "log", None, RULES)
    assert found.training
    assert "accumulate_gradients" in {fix.id for fix in found.fixes}
