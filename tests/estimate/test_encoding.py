"""Embedding texts: what is counted and what is not; the peak of a pass against tensors that are really alive."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from advisor.estimate import formula, memory
from advisor.facts import Fact, Facts, Known, read_machine
from advisor.plan import Estimate
from advisor.probe import anatomy, inside_model, shapes
from advisor.probe.anatomy import Anatomy
from advisor.rulebook import full_vocabulary
from advisor.setup import Setup
from advisor.workload import Workload

MACHINES = Path(__file__).parents[1] / "machines"
T4 = read_machine(MACHINES / "t4.json", full_vocabulary())
BASE = Setup(device="cuda", dtype="float16", attn_implementation="sdpa", batching="padded", use_cache=True)
TEXTS = Workload(task="encode", batch=64, prompt_tokens=256)
PLAIN: Fact = Known("none", "test")


def model(shape: str) -> Facts:
    return anatomy.facts(shapes.load(shape).anatomy) | Facts({"model.checkpoint_quantization": PLAIN})


def estimate(load: Workload = TEXTS, shape: str = "bge-base-en-v1.5", **knobs: str | int | bool) -> Estimate:
    return formula.estimate(model(shape), T4, load, BASE.changed(knobs))


def rate(found: Estimate) -> float:
    assert found.speed.total_tokens_per_second is not None
    return found.speed.total_tokens_per_second


def activations(found: Estimate) -> int:
    assert found.memory.activation_peak_bytes is not None
    return found.memory.activation_peak_bytes


def test_an_encoder_has_weights_and_activations_and_no_cache() -> None:
    found = estimate().memory
    assert found.weights_bytes == 2 * 109_482_240
    assert (found.kv_cache_bytes, found.kv_cache_peak_bytes) == (0, 0)
    # 3 tensors of 768 and 2 of 3072 values for each token, 2 bytes each.
    assert found.activation_peak_bytes == 64 * 256 * (3 * 768 + 2 * 3072) * 2
    assert found.total_bytes == sum(
        size or 0 for size in (found.weights_bytes, found.activation_peak_bytes, found.overhead_bytes)
    )


def test_the_speed_is_that_of_batches_and_of_their_text() -> None:
    found = estimate(batch_size=16).speed
    assert found.decode_tokens_per_second is None
    assert found.ttft_seconds is not None
    assert found.total_tokens_per_second == pytest.approx(16 * 256 / found.ttft_seconds)
    assert found.bound == "compute"


def test_new_tokens_have_no_meaning() -> None:
    assert estimate(replace(TEXTS, new_tokens=1)) == estimate(replace(TEXTS, new_tokens=4000))


def test_one_text_at_a_time_is_slower_and_smaller() -> None:
    loop, batch = estimate(batching="loop"), estimate()
    assert rate(batch) > 3 * rate(loop)
    assert activations(batch) == 64 * activations(loop)
    assert loop.speed.bound == "host"


def test_padding_is_computed_and_is_no_text() -> None:
    many = replace(TEXTS, batch=512)
    mixed = replace(many, mixed_lengths=True)
    even, padded, sorted_ = (
        rate(found)
        for found in (
            estimate(many, batch_size=64),
            estimate(mixed, batch_size=64),
            estimate(mixed, batching="sorted", batch_size=64),
        )
    )
    assert padded < 0.8 * even
    assert 1.3 * padded < sorted_ <= 1.05 * even


def test_eager_attention_holds_scores_and_a_longer_text_more_of_them() -> None:
    short, long = (replace(TEXTS, prompt_tokens=tokens) for tokens in (128, 512))
    fused, eager = ([estimate(load, attn_implementation=name) for load in (short, long)] for name in ("sdpa", "eager"))
    assert activations(fused[1]) == 4 * activations(fused[0])
    assert activations(eager[1]) > 6 * activations(eager[0])
    assert rate(eager[1]) < rate(fused[1])


def test_an_encoder_sees_both_sides_so_attention_costs_twice_that_of_a_decoder() -> None:
    short, long = replace(TEXTS, batch=128, prompt_tokens=128), replace(TEXTS, batch=16, prompt_tokens=1024)
    both_ways = model("bge-base-en-v1.5")
    causal = both_ways | Facts({"model.decoder_only": Known(True, "test")})
    seconds = {
        (name, load.prompt_tokens): formula.estimate(facts, T4, load, BASE).speed.ttft_seconds or 0.0
        for name, facts in (("both", both_ways), ("causal", causal))
        for load in (short, long)
    }
    # As many tokens in both; the pairs of tokens, which are what the mask halves, are eight times as many.
    more = {tokens: seconds["both", tokens] - seconds["causal", tokens] for tokens in (128, 1024)}
    assert more[1024] == pytest.approx(8 * more[128], rel=0.05)
    assert seconds["both", 1024] > 1.1 * seconds["causal", 1024]


def test_a_window_saves_time_with_flash_attention_alone() -> None:
    load = replace(TEXTS, batch=1, prompt_tokens=8192)
    fused, flash = (
        rate(estimate(load, "modernbert-base", attn_implementation=f)) for f in ("sdpa", "flash_attention_2")
    )
    assert flash > 1.3 * fused


def test_a_decoder_that_embeds_loads_no_head_and_keeps_the_cache_unless_told() -> None:
    kept, free = (estimate(shape="llama-3.2-3b", use_cache=use).memory for use in (True, False))
    whole = estimate(Workload(), "qwen3-8b").memory.weights_bytes
    alone = estimate(shape="qwen3-8b").memory.weights_bytes
    assert whole is not None and alone is not None
    assert whole - alone == 2 * (model("qwen3-8b").count("model.parameters_head") or 0) > 0
    assert kept.kv_cache_bytes == 2 * 64 * 256 * 28 * 2 * 8 * 128
    assert free.kv_cache_bytes == 0


def test_the_largest_batch_and_the_longest_text_that_fit() -> None:
    setup = BASE.changed({"batching": "padded"})
    rows = memory.largest_batch(model("bge-base-en-v1.5"), T4, TEXTS, setup)
    assert rows is not None and rows > 1000
    for size, fits in ((rows, True), (rows + 1, False)):
        assert estimate(replace(TEXTS, batch=size)).memory.fits is fits
    # The model was made for 512 tokens; nothing is generated after them.
    assert memory.largest_context(model("bge-base-en-v1.5"), T4, TEXTS, setup) == 512


def test_what_is_not_known_is_not_guessed() -> None:
    nothing = Facts({name: model("bge-base-en-v1.5").get(name) for name in ("model.type", "model.decoder_only")})
    found = formula.estimate(nothing, T4, TEXTS, BASE)
    assert (found.memory.total_bytes, found.speed.total_tokens_per_second) == (None, None)
    cpu = read_machine(MACHINES / "cpu-only.json", full_vocabulary())
    assert formula.estimate(model("bge-base-en-v1.5"), cpu, TEXTS, BASE.changed({"device": "cpu"})).speed.bound is None


SMALL = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "vocab_size": 1000,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
}
SPECIAL = {f"{name}_token_id": None for name in ("bos", "eos", "cls", "sep")}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {"model_type": "bert", **SMALL},
    "xlm-roberta": {"model_type": "xlm-roberta", **SMALL},
    "mpnet": {"model_type": "mpnet", **SMALL},
    "modernbert": {"model_type": "modernbert", **SMALL, **SPECIAL},
}
ROWS, TOKENS = 4, 256


@pytest.mark.models
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("name", "backend"), [*((n, "eager") for n in CONFIGS), ("bert", "sdpa"), ("modernbert", "sdpa")]
)
def test_weights_and_peak_of_one_pass(
    name: str, backend: str, padded: bool, peak_of: Callable[[Any, Callable[[], object]], int]
) -> None:
    import torch
    import transformers

    config = CONFIGS[name]
    request = {"config": config, "source": None, "revision": None, "trust_remote_code": False}
    seen = json.loads(json.dumps(inside_model.describe(request)))
    made = Anatomy("", seen["text"], tuple(seen["cache_layers"]), seen["groups"], seen["supports"], None, "test")
    encoder = transformers.AutoModel.from_config(
        transformers.AutoConfig.for_model(**config), attn_implementation=backend
    )
    encoder = encoder.to(torch.bfloat16).eval()
    mask = torch.ones((ROWS, TOKENS), dtype=torch.long)
    if padded:
        mask[0, TOKENS // 2 :] = 0
    ids = torch.randint(3, 900, (ROWS, TOKENS))
    measured = peak_of(encoder, lambda: encoder(input_ids=ids, attention_mask=mask))
    load = Workload(task="encode", batch=ROWS, prompt_tokens=TOKENS, mixed_lengths=padded)
    setup = Setup(device="cpu", dtype="bfloat16", attn_implementation=backend, batching="padded")
    facts = anatomy.facts(made) | Facts({"model.checkpoint_quantization": PLAIN})
    found = memory.memory(facts, Facts(), load, setup)
    assert found.weights_bytes == sum(parameter.numel() * 2 for parameter in encoder.parameters())
    assert found.activation_peak_bytes == pytest.approx(measured, rel=0.06)
