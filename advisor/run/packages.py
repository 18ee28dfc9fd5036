"""Which packages a setup needs beside torch and transformers: a closed table. Pure."""

from advisor.setup import Setup

QUANTIZERS = {"bnb": "bitsandbytes", "torchao": "torchao", "quanto": "optimum-quanto"}
CACHES = {"quanto": "optimum-quanto", "hqq": "hqq"}
INSTALLABLE = ("accelerate", "bitsandbytes", "flash-attn", "hqq", "kernels", "optimum-quanto", "torchao")
"""Names on the package index, and the only ones that pip is ever asked for."""


def needed(setup: Setup) -> tuple[str, ...]:
    """The distributions that a setup's knobs import, in the order of the alphabet."""
    found = set()
    if quantizer := QUANTIZERS.get((setup.quantization or "").partition("_")[0]):
        found |= {quantizer, "accelerate"}
    if setup.device_map not in (None, "none"):
        found.add("accelerate")
    if setup.cache_implementation == "quantized" and (setup.cache_backend or "quanto") in CACHES:
        found.add(CACHES[setup.cache_backend or "quanto"])
    if setup.attn_implementation == "flash_attention_2":
        found.add("flash-attn")
    if setup.use_kernels or "/" in (setup.attn_implementation or ""):
        found.add("kernels")
    return tuple(sorted(found))
