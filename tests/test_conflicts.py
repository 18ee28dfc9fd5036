"""Knobs that do not go together are refused with the reason, and nothing else is."""

from typing import Any

import pytest

from advisor.conflicts import conflict
from advisor.setup import Setup, knobs


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"quantization": "quanto_int8", "compile": "forward"}, "quanto cannot be compiled"),
        ({"use_cache": False, "prefill_chunk_size": 64}, "in chunks without a cache"),
        ({"cache_implementation": "quantized", "cache_backend": "quanto", "cache_bits": 8}, "takes 2, 4 bits"),
        ({"cache_implementation": "quantized", "cache_bits": 8}, "takes 2, 4 bits"),
        ({"cache_implementation": "quantized", "cache_backend": "hqq", "cache_bits": 5}, "takes 1, 2, 3, 4, 8 bits"),
        ({"speculation": "prompt_lookup", "batch_size": 2}, "one prompt at a time"),
        ({"speculation": "prompt_lookup", "cache_implementation": "static"}, "static cache cannot take"),
        ({"speculation": "prompt_lookup", "cache_implementation": "quantized"}, "from a quantized cache"),
        ({"speculation": "prompt_lookup", "use_cache": False}, "needs the cache"),
        ({"speculation": "prompt_lookup", "batching": "continuous"}, "does not draft"),
        ({"batching": "continuous", "page_size": 3}, "at least 4 tokens"),
        ({"quantization": "fp8", "device": "cpu"}, "need a GPU or XPU"),
        ({"quantization": "torchao_int4", "device": "cpu"}, "need an NVIDIA GPU"),
        ({"quantization": "torchao_int4", "dtype": "float16"}, "need bfloat16"),
        ({"speculation": "assistant"}, "needs assistant_model"),
        ({"speculation": "assistant", "assistant_model": "a/b", "batch_size": 2}, "one prompt at a time"),
        (
            {"speculation": "assistant", "assistant_model": "a/b", "cache_implementation": "offloaded"},
            "all but the growing",
        ),
        ({"keep_cache": True}, "only a static cache is kept"),
        ({"keep_cache": True, "cache_implementation": "offloaded_static"}, "only a static cache is kept"),
        ({"attn_at_run_time": True}, "needs attn_implementation"),
        ({"sdpa_backend": "math", "attn_implementation": "eager"}, "does not use torch's sdpa kernels"),
        ({"sdpa_backend": "cudnn", "device": "cpu"}, "no cudnn kernel for CPUs"),
        ({"sdpa_backend": "mem_efficient", "device": "cpu"}, "no mem_efficient kernel for CPUs"),
        ({"sdpa_backend": "flash", "device": "cuda", "cache_implementation": "static"}, "takes no mask"),
        ({"sdpa_backend": "math", "batching": "continuous"}, "chooses its own attention"),
        ({"tensor_parallel": 2, "device_map": "auto"}, "exclude each other"),
        ({"tensor_parallel": 2, "device": "mps"}, "NVIDIA and AMD"),
        ({"tensor_parallel": 2, "quantization": "bnb_nf4"}, "not verified"),
        ({"tensor_parallel": 2, "batching": "continuous"}, "not verified"),
        ({"tensor_parallel": 2, "speculation": "prompt_lookup"}, "not verified"),
        ({"tensor_parallel": 2, "engine": "serve"}, "no option for tensor_parallel"),
        ({"engine": "serve", "batching": "padded"}, "pads no batches"),
        ({"engine": "serve", "speculation": "prompt_lookup"}, "no option for speculation"),
        ({"engine": "serve", "max_memory": ("0=10GiB",)}, "no option for max_memory"),
        ({"engine": "serve", "quantization": "bnb_nf4"}, "cannot be told quantization=bnb_nf4"),
        ({"engine": "serve", "attn_implementation": "flash_attention_4"}, "does not take flash_attention_4"),
        ({"engine": "serve", "cache_implementation": "static"}, "neither without the other"),
        (
            {"engine": "serve", "cache_implementation": "static", "compile": "generate", "device": "cpu"},
            "on accelerators only",
        ),
    ],
)
def test_what_the_library_refuses(values: dict[str, Any], told: str) -> None:
    assert told in (conflict(Setup(**values)) or "")


@pytest.mark.parametrize(
    "values",
    [
        {"quantization": "torchao_int8", "compile": "generate", "cache_implementation": "static", "device": "cuda"},
        {"quantization": "torchao_int4", "device": "cuda", "dtype": "bfloat16"},
        {"cache_implementation": "quantized", "cache_backend": "hqq", "cache_bits": 8},
        {"cache_implementation": "dynamic", "cache_backend": "hqq", "cache_bits": 8},
        {"speculation": "prompt_lookup", "batching": "loop", "batch_size": 8},
        {"speculation": "prompt_lookup", "prefill_chunk_size": 64},
        {"speculation": "none", "cache_implementation": "static"},
        {"page_size": 1},
        {"sdpa_backend": "math", "device": "cpu"},
        {"sdpa_backend": "flash", "device": "cpu", "cache_implementation": "static"},
        {"sdpa_backend": "mem_efficient", "device": "cuda", "cache_implementation": "static"},
        {"speculation": "none", "assistant_model": "a/b", "batch_size": 8},
        {"keep_cache": False, "cache_implementation": "dynamic"},
        {"batching": "continuous", "page_size": 4},
        {"prefill_chunk_size": 64, "cache_implementation": "static"},
    ],
)
def test_what_it_takes_or_ignores(values: dict[str, Any]) -> None:
    assert conflict(Setup(**values)) is None


def test_no_value_is_refused_for_itself() -> None:
    """A value that conflicts with nothing but itself would be no value."""
    alone = [(name, value) for name, knob in knobs().items() for value in knob.values]
    refused = {(name, value) for name, value in alone if conflict(Setup(**{name: value}))}  # type: ignore[arg-type]
    # Compiling needs a static cache beside it, an assistant its model, and one cache for all requests is a static one.
    assert refused == {("compile", "generate"), ("speculation", "assistant")}
