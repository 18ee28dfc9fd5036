"""Which knobs do not go together: what the installed library refuses, ignores or gets wrong. Pure.

Only what lies in the setup itself is told here. What a machine or a version must offer stands in the rules, and what
depends on the number of prompts is refused when the program is written.
"""

from advisor.process_conflicts import process_conflict
from advisor.setup import Setup

BITSANDBYTES = ("bnb_int8", "bnb_nf4", "bnb_nf4_double", "bnb_fp4")
QUANTO = ("quanto_int8", "quanto_int4")
CACHE_BITS: dict[str, tuple[int, ...]] = {"quanto": (2, 4), "hqq": (1, 2, 3, 4, 8), "fp8": ()}
"""Bits of a cached value that each kind of cache can be told (QuantoQuantizedLayer, HQQQuantizedLayer; fp8 has no
choice and refuses the argument)."""
LEAST_PAGE_TOKENS = 4
"""The library's lower bound (BOUNDS in continuous_batching/initialization.py)."""
STATIC = ("static", "offloaded_static")


def skips_compilation(setup: Setup) -> bool:
    """Whether generate passes over the compilation that is asked for, or nothing is asked for."""
    return not compiles(setup) or _compile_conflict(setup) is not None


def conflict(setup: Setup) -> str | None:
    """Why these knobs do not go together, or None. Each reason was seen by running it or stands in the library."""
    return (
        process_conflict(setup)
        or _compile_conflict(setup)
        or _cache_conflict(setup)
        or (_continuous_conflict(setup) if setup.batching == "continuous" else None)
        or _speculation_conflict(setup)
        or _attention_conflict(setup)
        or _device_conflict(setup)
    )


def quantizes(setup: Setup) -> bool:
    """Whether weights are quantized on load."""
    return setup.quantization not in (None, "none")


def compiles(setup: Setup) -> bool:
    """Whether anything is compiled."""
    return setup.compile not in (None, "none")


def spread(setup: Setup) -> bool:
    """Whether layers are put where there is room for them, rather than all on one device."""
    return setup.device_map not in (None, "none")


def speculates(setup: Setup) -> bool:
    """Whether tokens are drafted ahead."""
    return setup.speculation not in (None, "none")


def _compile_conflict(setup: Setup) -> str | None:
    if not compiles(setup):
        return None
    if setup.quantization in (*BITSANDBYTES, *QUANTO):
        package = "bitsandbytes" if setup.quantization in BITSANDBYTES else "quanto"
        return f"weights quantized by {package} cannot be compiled (generate's own check refuses it)"
    if spread(setup):
        return "a model that is spread over devices is not compiled by generate"
    if setup.compile == "generate" and setup.cache_implementation not in STATIC:
        return "generate compiles only with a static cache"
    return None


def _attention_conflict(setup: Setup) -> str | None:
    """`sdp_kernel` of torch offers flash and math on a CPU; its flash kernel for CUDA takes no mask (sdp_utils.cpp)."""
    if setup.attn_at_run_time and setup.attn_implementation is None:
        return "attn_at_run_time needs attn_implementation: the backend that is to be set"
    if setup.sdpa_backend is None:
        return None
    if setup.attn_implementation not in (None, "sdpa"):
        return f"{setup.attn_implementation} attention does not use torch's sdpa kernels"
    if setup.device == "cpu" and setup.sdpa_backend in ("mem_efficient", "cudnn"):
        return f"torch has no {setup.sdpa_backend} kernel for CPUs, only flash and math"
    if setup.batching == "continuous":
        return "continuous batching chooses its own attention kernel"
    if setup.device == "cuda" and setup.sdpa_backend == "flash" and setup.cache_implementation in STATIC:
        return "torch's flash kernel takes no mask, which a static cache needs"
    return None


def _cache_conflict(setup: Setup) -> str | None:
    if setup.keep_cache and setup.cache_implementation != "static":
        return "only a static cache is kept between requests"
    if setup.use_cache is False and setup.cache_implementation not in (None, "dynamic"):
        return "there is no cache to choose while use_cache is off"
    if setup.use_cache is False and setup.prefill_chunk_size is not None:
        return "the prompt cannot be taken in chunks without a cache"
    if setup.cache_implementation == "quantized" and setup.cache_bits is not None:
        taken = CACHE_BITS[setup.cache_backend or "quanto"]
        if setup.cache_bits not in taken:
            allowed = f"takes {', '.join(map(str, taken))} bits" if taken else "is not told a number of bits"
            return f"a cache quantized by {setup.cache_backend or 'quanto'} {allowed}"
    return None


def _continuous_conflict(setup: Setup) -> str | None:
    if setup.cache_implementation not in (None, "dynamic"):
        return "continuous batching brings its own paged cache"
    if compiles(setup):
        return "continuous batching compiles by its own configuration"
    if quantizes(setup):
        return "continuous batching of quantized weights is not verified"
    if setup.attn_implementation == "flex_attention":
        return "continuous batching refuses flex_attention"
    if speculates(setup):
        return "continuous batching does not draft tokens ahead"
    if setup.page_size is not None and setup.page_size < LEAST_PAGE_TOKENS:
        return f"a page of continuous batching holds at least {LEAST_PAGE_TOKENS} tokens"
    return None


def _speculation_conflict(setup: Setup) -> str | None:
    if setup.speculation == "assistant" and setup.assistant_model is None:
        return "speculation=assistant needs assistant_model: the model that drafts"
    if not speculates(setup):
        return None
    if setup.batching != "loop" and (setup.batch_size or 1) > 1:
        return "tokens are drafted ahead for one prompt at a time (batch size 1)"
    if setup.cache_implementation in STATIC:
        return "a static cache cannot take drafted tokens back"
    if setup.cache_implementation == "quantized":
        return "drafted tokens cannot be taken back from a quantized cache (it fails with a size mismatch)"
    if setup.speculation == "assistant" and setup.cache_implementation not in (None, "dynamic"):
        return "an assistant shares its settings of the cache, and refuses all but the growing one"
    if setup.use_cache is False:
        return "drafting tokens ahead needs the cache"
    return None


def _device_conflict(setup: Setup) -> str | None:
    if setup.device == "cpu" and setup.cache_implementation in ("offloaded", "offloaded_static"):
        return "an offloaded cache needs an accelerator to offload from"
    if _is_flash(setup) and (setup.dtype == "float32" or setup.device == "cpu"):
        return "flash attention needs a GPU and 16-bit weights"
    if setup.quantization == "fp8" and setup.device in ("cpu", "mps"):
        return "fp8 weights need a GPU or XPU"
    if setup.quantization == "torchao_int4":
        return _int4_conflict(setup)
    return None


def _int4_conflict(setup: Setup) -> str | None:
    """What torchao asks of weights that torch's own int4 kernel multiplies (Int4TilePackedTo4dTensor)."""
    if setup.device not in (None, "cuda"):
        return "torchao's int4 weights need an NVIDIA GPU (other devices want another packing)"
    return "torchao's int4 weights need bfloat16" if setup.dtype in ("float32", "float16") else None


def _is_flash(setup: Setup) -> bool:
    return bool(setup.attn_implementation and "flash" in setup.attn_implementation)
