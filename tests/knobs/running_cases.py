"""Cases of knobs of generation: caches, drafting, compilation, batches, and what holds for a whole process."""

import sys
from typing import Any

KnobCase = sys.modules["knobs_knob_case"].KnobCase  # cases.py has loaded it: this folder is no package
ONLY_CUDA = "needs CUDA"
STATIC: dict[str, Any] = {"cache_implementation": "static"}

LOOP: dict[str, Any] = {"batching": "loop"}

CACHE = (
    KnobCase(
        {"keep_cache": True},
        ("seen.cache == 'StaticCache'", "len(seen.calls) == 4", "len(seen.places) == 1"),
        beside={**STATIC, **LOOP, "compile": "none"},
        load="ragged",
        same_tokens=True,
    ),
    KnobCase({"use_cache": True}, ("seen.cache == 'DynamicCache'", "min(seen.widths) == 1"), same_tokens=True),
    KnobCase({"use_cache": False}, ("seen.cache is None", "max(seen.widths) == 51"), same_tokens=True),
    KnobCase(
        {"cache_implementation": "dynamic"}, ("seen.cache == 'DynamicCache'", "seen.layer == 'DynamicLayer'"),
        same_tokens=True,
    ),
    KnobCase(
        {"cache_implementation": "static", "compile": "none"},
        ("seen.cache == 'StaticCache'", "seen.calls[0]['disable_compile']", "seen.compiled == []"),
        same_tokens=True,
    ),
    *(
        KnobCase(
            {"cache_implementation": name},
            (f"seen.cache == '{kind}'", "seen.calls[0]['cache_implementation'] == '" + name + "'"),
            beside={"compile": "none"},
            same_tokens=True,
            cpu="there is nothing to offload from",
        )
        for name, kind in (("offloaded", "DynamicCache"), ("offloaded_static", "StaticCache"))
    ),
    KnobCase(
        {"cache_implementation": "quantized", "cache_backend": "quanto", "cache_bits": 4},
        ("seen.layer == 'QuantoQuantizedLayer'", "seen.calls[0]['cache_config']['nbits'] == 4"),
        packages=("optimum.quanto",),
    ),
    KnobCase(
        {"cache_implementation": "quantized", "cache_backend": "hqq", "cache_bits": 8},
        ("seen.layer == 'HQQQuantizedLayer'", "seen.calls[0]['cache_config']['nbits'] == 8"),
        packages=("hqq",),
    ),
    KnobCase(
        {"cache_backend": "fp8"},
        ("seen.layer == 'Fp8QuantizedLayer'",),
        beside={"cache_implementation": "quantized"},
    ),
    KnobCase({"prefill_chunk_size": 16}, ("seen.widths[:3] == [16, 16, 16]",), same_tokens=True),
    KnobCase(
        {"prefill_chunk_size": 20}, ("seen.widths[:3] == [20, 20, 8]",), beside={**STATIC, "compile": "none"},
        same_tokens=True,
    ),
)  # fmt: skip

DRAFTING = (
    KnobCase(
        {"speculation": "prompt_lookup", "prompt_lookup_num_tokens": 3},
        ("seen.calls[0]['prompt_lookup_num_tokens'] == 3", "seen.drafter == 'PromptLookupCandidateGenerator'"),
        beside=LOOP,
        same_tokens=True,
    ),
    KnobCase(
        {"speculation": "assistant", "assistant_model": "small_model"},
        (
            "seen.calls[0]['assistant_model'] is model.assistant[0]",
            "seen.drafts > 0",
            "len(list(model.children())) == 2",
        ),
        beside={**LOOP, "cache_implementation": "dynamic"},
        same_tokens=True,
        checkpoint="small_model",
    ),
)

NO_GRAPHS = "there are no CUDA graphs on a CPU, so that it is the same as"
COMPILED = (
    KnobCase(
        {"compile": "forward", "compile_fullgraph": False},
        ("seen.graphs > 0", "seen.compiled == [{'fullgraph': False}]"),
        model="layer",
        same_tokens=True,
    ),
    KnobCase(
        {"keep_cache": True, "compile": "generate", "compile_mode": "default", "compile_fullgraph": True},
        # Prompts of four lengths: of a cache made for each, the sizes would be compiled for anew.
        (
            "seen.graphs == 1",
            "seen.breaks == 0",
            "seen.compiled[0]['mode'] == 'default'",
            "seen.compiled[0]['fullgraph']",
            "len(seen.places) == 1",
        ),
        beside={**STATIC, **LOOP},
        model="layer",
        load="ragged",
        same_tokens=True,
    ),
    *(
        KnobCase(
            {"compile_mode": mode},
            ("seen.graphs > 0", f"seen.compiled[0]['mode'] == '{mode}'"),
            beside={**STATIC, "compile": "generate"},
            model="layer",
            same_tokens=True,
            cpu=f"{NO_GRAPHS} max-autotune" if mode == "max-autotune-no-cudagraphs" else None,
        )
        for mode in ("reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
    ),
)

BATCHES = (
    KnobCase({"batching": "loop"}, ("len(seen.calls) == 2", "set(seen.rows) == {1}"), same_tokens=True),
    KnobCase(
        {"batching": "padded"}, ("len(seen.calls) == 1", "set(seen.rows) == {4}"), load="ragged", same_tokens=True
    ),
    KnobCase(
        {"batching": "sorted", "batch_size": 2},
        ("len(seen.calls) == 2", "seen.calls[0]['input_ids'].shape[1] < seen.calls[1]['input_ids'].shape[1]"),
        load="ragged",
        same_tokens=True,
    ),
    KnobCase(
        {"batching": "continuous", "page_size": 32, "max_batch_tokens": 128},
        (
            "seen.calls[0]['continuous_batching_config'].page_size == 32",
            "seen.calls[0]['continuous_batching_config'].max_batch_tokens == 128",
        ),
        load="ragged",
        same_tokens=True,
    ),
    KnobCase(
        {"padding_side": "left"}, ("seen.calls[0]['attention_mask'][:, -1].all()",), load="ragged", same_tokens=True
    ),
    KnobCase(
        {"padding_side": "right"},
        ("seen.calls[0]['attention_mask'][:, 0].all()", "not seen.calls[0]['attention_mask'][:, -1].all()"),
        load="ragged",
    ),
    KnobCase(
        {"pad_to_multiple_of": 32}, ("seen.calls[0]['input_ids'].shape[1] == 64", "seen.widths[0] == 64"),
        same_tokens=True,
    ),
)  # fmt: skip

SETTINGS = "torch.cuda.memory._snapshot()['allocator_settings']"

ALLOCATOR_LOOKS = {
    "expandable_segments:True": f"{SETTINGS}['expandable_segments']",
    "garbage_collection_threshold:0.8": f"{SETTINGS}['garbage_collection_threshold'] == 0.8",
    "max_split_size_mb:128": f"{SETTINGS}['max_split_size'] == 128 * 2**20",
    "backend:cudaMallocAsync": "torch.cuda.get_allocator_backend() == 'cudaMallocAsync'",
}

PROCESS = (
    KnobCase({"threads": 2}, ("torch.get_num_threads() == 2",), same_tokens=True),
    KnobCase(
        {"interop_threads": 3, "huge_pages": True},
        ("torch.get_num_interop_threads() == 3", "huge_page_bytes() > 2**24"),
        model="wide",
        alone=True,
        gpu="is about the CPU",
    ),
    KnobCase(
        {"huge_pages": False},
        ("seen.environment['THP_MEM_ALLOC_ENABLE'] == '0'", "huge_page_bytes() < 2**24"),
        model="wide",
        alone=True,
        gpu="is about the CPU",
    ),
    *(
        KnobCase({"allocator": setting}, (look,), alone=True, cpu=ONLY_CUDA)
        for setting, look in ALLOCATOR_LOOKS.items()
    ),
)

CASES = (*CACHE, *DRAFTING, *COMPILED, *BATCHES, *PROCESS)
