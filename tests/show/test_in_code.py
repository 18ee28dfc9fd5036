from typing import Any

import pytest

from advisor.setup import knobs
from advisor.show.in_code import in_code


def test_a_change_is_written_as_the_user_would_write_it() -> None:
    assert in_code({"dtype": "bfloat16", "attn_implementation": "sdpa"}) == [
        'from_pretrained(..., dtype=torch.bfloat16, attn_implementation="sdpa")'
    ]
    assert in_code({"cache_implementation": "static", "use_cache": True}) == [
        'generate(..., cache_implementation="static", use_cache=True)'
    ]
    assert in_code({"quantization": "bnb_int8", "batch_size": 1}) == [
        "from_pretrained(..., quantization_config=BitsAndBytesConfig(load_in_8bit=True))",
        "one prompt in one call",
    ]


def test_a_knob_without_a_line_of_its_own_is_named() -> None:
    assert in_code({"pad_to_multiple_of": 8}) == ["pad_to_multiple_of: 8"]
    assert in_code({}) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"quantization": "none"}, "from_pretrained(..., quantization_config=None)"),
        (
            {"quantization": "torchao_int8"},
            "from_pretrained(..., quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))",
        ),
        ({"quantization": "fp8"}, "from_pretrained(..., quantization_config=FineGrainedFP8Config())"),
        ({"use_kernels": True}, "from_pretrained(..., use_kernels=True)"),
        (
            {"cache_implementation": "quantized", "cache_backend": "hqq", "cache_bits": 8},
            'generate(..., cache_implementation="quantized", cache_config={"backend": "hqq", "nbits": 8})',
        ),
        ({"speculation": "none"}, "generate(..., prompt_lookup_num_tokens=None)"),
        ({"speculation": "prompt_lookup"}, "generate(..., prompt_lookup_num_tokens=10)"),
        (
            {"speculation": "prompt_lookup", "prompt_lookup_num_tokens": 4},
            "generate(..., prompt_lookup_num_tokens=4)",
        ),
        (
            {"max_batch_tokens": 512, "page_size": 64},
            "ContinuousBatchingConfig(..., max_batch_tokens=512, page_size=64)",
        ),
        ({"optimizer": "paged_adamw_8bit"}, 'TrainingArguments(..., optim="paged_adamw_8bit")'),
        ({"optimizer": "adamw"}, 'TrainingArguments(..., optim="adamw_torch_fused")'),
        ({"matmul_precision": "high"}, 'torch.set_float32_matmul_precision("high")'),
        ({"adapters": "lora"}, 'get_peft_model(model, LoraConfig(r=16, target_modules="all-linear"))'),
    ],
)
def test_each_knob_stands_where_the_library_takes_it(change: dict[str, Any], line: str) -> None:
    assert in_code(change) == [line]


def test_every_way_to_quantize_has_a_line() -> None:
    for scheme in knobs()["quantization"].values:
        assert in_code({"quantization": scheme})


def test_sequences_of_one_pass_are_accumulated_to_the_step() -> None:
    (line,) = in_code({"batch_size": 2}, step=8)
    assert line == "TrainingArguments(..., per_device_train_batch_size=2, gradient_accumulation_steps=4)"
    assert in_code({"batch_size": 2}) == ["2 prompts in one call"]
