"""What the dry run says against what the installed library and torch's allocator really do on a CPU."""

from typing import Any

import pytest

from advisor.estimate.dryrun import inside_dry_run

pytestmark = [
    pytest.mark.models,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

TYPES = ("llama", "qwen3", "mistral", "gemma3", "qwen3-moe", "gpt-neox", "gpt2", "deepseek", "qwen3-next")
PEAKS = (
    ("llama", "sdpa", "dynamic", False),
    ("llama", "eager", "dynamic", False),
    ("llama", "sdpa", "static", False),
    ("llama", "sdpa", "dynamic", True),
    ("gemma3", "sdpa", "dynamic", False),
    ("gpt-neox", "eager", "dynamic", False),
    ("qwen3-moe", "sdpa", "dynamic", False),
    ("deepseek", "sdpa", "dynamic", False),
    ("qwen3-next", "sdpa", "dynamic", False),
)
PEAK_TOLERANCE = 0.03
"""Rounding and what kernels use inside: tens of kilobytes, which are little for models of a usual size."""


@pytest.mark.parametrize("name", TYPES)
def test_the_cache_to_the_byte(small: Any, name: str) -> None:
    model = small.made(name)
    cases = [
        small.case(),
        small.case(rows=3),
        small.case("static"),
        small.case("static", rows=3),
        small.case(new=1),
        small.case(new=2),
    ]
    for wanted, said in zip(cases, small.dry(name, *cases), strict=True):
        last = said["last_step"] or said["prompt"]
        assert last["cache_bytes"] == small.stored(small.generated(model, wanted)), wanted


def test_layers_with_a_window_hold_the_whole_prompt_until_the_first_step(small: Any) -> None:
    (said,) = small.dry("gemma3", small.case(prompt=512, new=8))
    token = 2 * 2 * 32 * 2  # keys and values of two heads of 32 values, two bytes each
    assert said["prompt"]["cache_bytes"] == 4 * 512 * token
    assert said["first_step"]["cache_bytes"] == (3 * 96 + 513) * token
    assert said["last_step"]["cache_bytes"] == (3 * 96 + 519) * token


@pytest.mark.parametrize(("name", "attention", "cache", "padded"), PEAKS)
def test_the_peak_of_the_allocator(small: Any, name: str, attention: str, cache: str, padded: bool) -> None:
    wanted = small.case(cache, rows=2, prompt=256, attn_implementation=attention, padded=padded)
    (said,) = small.dry(name, wanted)
    peak = max(said[one]["peak_bytes"] for one in ("prompt", "first_step", "last_step") if said[one])
    assert peak == pytest.approx(small.allocator_peak(small.made(name, attention), wanted), rel=PEAK_TOLERANCE)


def test_long_prompts_of_linear_layers_lie_on_the_line(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = small.case(prompt=640)
    (drawn,) = small.dry("qwen3-next", wanted)
    monkeypatch.setattr(inside_dry_run, "LONGEST_LOOPED", 10_000)
    (exact,) = small.dry("qwen3-next", wanted)
    assert (drawn["drawn_out"], exact["drawn_out"]) == (True, False)
    assert drawn["prompt"]["peak_bytes"] == pytest.approx(exact["prompt"]["peak_bytes"], rel=0.01)
    assert drawn["prompt"]["operators"] == exact["prompt"]["operators"]
    for step in ("first_step", "last_step"):
        assert drawn[step] == exact[step]


def test_the_first_step_is_left_out_where_a_cache_only_grows(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at all the same, it holds less than the last one in every figure."""
    wanted = small.case(prompt=96, new=8)
    (said,) = small.dry("llama", wanted)
    assert said["first_step"] is None
    monkeypatch.setattr(inside_dry_run.caching, "only_grows", lambda _: False)
    (whole,) = small.dry("llama", wanted)
    assert whole["last_step"] == said["last_step"]
    for figure in ("peak_bytes", "cache_bytes"):
        assert whole["first_step"][figure] < said["last_step"][figure]


def test_weights_by_group_and_type(small: Any) -> None:
    (said,) = small.dry("qwen3-moe", small.case())
    model = small.made("qwen3-moe")
    groups = said["weights"]
    assert groups["embedding"] == {"bfloat16": 2000 * 256 * 2}
    assert groups["experts"] == {"bfloat16": 4 * 8 * 3 * 256 * 128 * 2}
    counted = sum(sum(types.values()) for group, types in groups.items() if group != "buffers")
    assert counted == 2 * sum(parameter.numel() for parameter in model.parameters())
    assert said["weights_held_bytes"] >= counted


def test_tied_weights_count_once(small: Any) -> None:
    (said,) = small.dry("qwen3", small.case())
    assert "head" not in said["weights"]


def test_the_attention_that_runs(small: Any) -> None:
    fused, plain = small.dry("llama", small.case(), small.case(attn_implementation="eager"))
    assert fused["prompt"]["attention"] == ["_scaled_dot_product_flash_attention_for_cpu.default"]
    assert plain["prompt"]["attention"] == []
    assert plain["prompt"]["at"] == "_softmax.default"


def test_one_case_may_fail_and_the_next_is_answered(small: Any) -> None:
    import transformers

    before = transformers.masking_utils._ignore_causal_mask_sdpa
    refused, fine = small.dry("llama", small.case(attn_implementation="no_such_kernel"), small.case())
    assert "no_such_kernel" in refused["error"]
    assert fine["prompt"]["peak_bytes"] > 0
    assert transformers.masking_utils._ignore_causal_mask_sdpa is before


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("no_such_type", "does not know model_type no_such_type"),
        ("t5", "no class of t5"),
        ("distilbert", "no class of"),
    ],
)
def test_what_is_no_model_for_text(small: Any, kind: str, told: str) -> None:
    (said,) = inside_dry_run.answers({"config": {"model_type": kind}, "cases": [small.case()]})
    assert told in said["error"]


@pytest.mark.parametrize("name", ["llama", "qwen3", "qwen3-moe", "gpt2"])
def test_weights_by_layer(small: Any, name: str) -> None:
    (said,) = small.dry(name, small.case())
    layers = said["by_layer"]
    assert len(layers["layers"]) == 4
    assert len(set(layers["layers"])) == 1
    assert layers["embedding"] >= 2000 * 256 * 2
    assert (layers["head"] == 0) == (name in ("qwen3", "gpt2"))  # tied to the embedding
    whole = sum(layers["layers"]) + layers["embedding"] + layers["head"] + layers["rest"]
    assert whole == said["weights_held_bytes"]
