"""What the processes that a setup asks for rule out: `transformers serve`, and ranks of a tensor-parallel model. Pure.

What `transformers serve` can be told was read in its command line (transformers 5.22.2): whatever it has no option for
cannot be measured with it, and is refused instead of left out.
"""

from advisor.setup import Setup, knobs

SERVE_QUANTIZATION = {"bnb_int8": "bnb-8bit", "bnb_nf4_double": "bnb-4bit"}
"""The server's word for weights quantized on load; bnb-4bit is nf4 with double quantization there."""

_TOLD: dict[str, tuple[object, ...] | None] = {
    "engine": None,
    "device": None,
    "device_map": ("none", "auto"),
    "dtype": None,
    "attn_implementation": None,
    "quantization": ("none", *SERVE_QUANTIZATION),
    "compile": ("none", "generate"),
    "cache_implementation": ("dynamic", "static"),
    "batching": ("loop", "continuous"),
    "batch_size": None,
    "max_batch_tokens": None,
    "page_size": None,
    "threads": None,
}
"""Knobs that reach the server, with the values that do; None: any."""

_NEUTRAL: dict[str, object] = {
    "use_cache": True,
    "compile_mode": "reduce-overhead",
    "speculation": "none",
    "use_kernels": False,
    "tensor_parallel": 1,
    "keep_cache": False,
    "huge_pages": False,
    "matmul_precision": "highest",
    "padding_side": "left",
    "adapters": "none",
    "optimizer": "adamw",
    "mixed_precision": "none",
    "gradient_checkpointing": False,
    "padding_free": False,
}
"""Values that say what the server does anyway."""


def process_conflict(setup: Setup) -> str | None:
    """Why these knobs do not go together, or None."""
    if setup.engine == "serve" and (wrong := _serve_conflict(setup)):
        return wrong
    return _ranks_conflict(setup) if (setup.tensor_parallel or 1) > 1 else None


def _ranks_conflict(setup: Setup) -> str | None:
    """What a tensor-parallel model rules out: the first is the library's own ValueError, the rest is not verified."""
    if setup.device_map not in (None, "none"):
        return "tensor parallel and device_map exclude each other: each rank loads its own part"
    if setup.device in ("mps", "xpu"):
        return "tensor parallel is run on NVIDIA and AMD GPUs, and on CPUs for a try"
    if setup.quantization not in (None, "none"):
        return "tensor parallel with weights quantized on load is not verified"
    if setup.compile not in (None, "none"):
        return "tensor parallel with compilation is not verified"
    if setup.batching == "continuous":
        return "tensor parallel with continuous batching is not verified"
    if setup.speculation not in (None, "none"):
        return "tensor parallel with tokens drafted ahead is not verified"
    return None


def _serve_conflict(setup: Setup) -> str | None:
    if setup.batching in ("padded", "sorted"):
        return "transformers serve pads no batches: set batching to loop (one after another) or continuous"
    for name in knobs():
        value = getattr(setup, name)
        if value is None or value == _NEUTRAL.get(name):
            continue
        if name not in _TOLD:
            return f"transformers serve has no option for {name}"
        values = _TOLD[name]
        if values is not None and value not in values:
            return f"transformers serve cannot be told {name}={value}"
    if setup.attn_implementation == "flash_attention_4":
        return "transformers serve does not take flash_attention_4"
    return _serve_pairs(setup)


def _serve_pairs(setup: Setup) -> str | None:
    compiled = setup.compile == "generate"
    if (setup.cache_implementation == "static") is not compiled:
        return "transformers serve compiles with a static cache, and does neither without the other (its --compile)"
    if compiled and setup.device == "cpu":
        return "transformers serve compiles on accelerators only"
    if setup.device_map == "auto" and setup.device == "cpu":
        return "transformers serve takes one device: cpu, or those that it finds itself (auto)"
    return None
