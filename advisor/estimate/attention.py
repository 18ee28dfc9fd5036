"""Which kernel SDPA really takes. Where none of the fused ones does, attention costs what eager attention costs."""

from packaging.version import Version

from advisor.estimate.room import device
from advisor.facts import Facts
from advisor.setup import Setup
from advisor.workload import Workload

FLASH_CAPABILITY = 8.0
"""First NVIDIA compute capability with SDPA's flash kernel, the only fused one that takes grouped heads."""
GROUPED_SINCE = Version("4.54")
"""From here on transformers leaves grouped keys and values unexpanded where no mask is needed
(integrations/sdpa_attention.py)."""


def as_it_runs(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> Setup:
    """`setup` with eager attention where SDPA falls to its plain kernel, else `setup` itself.

    The plain kernel writes the scores of all heads in float32 and once more after the softmax (torch's
    `_scaled_dot_product_attention_math`), which is what eager attention holds.
    """
    return setup.changed({"attn_implementation": "eager"}) if _is_plain(model, machine, workload, setup) else setup


def _is_plain(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> bool:
    heads, kept = model.count("model.heads"), model.count("model.kv_heads")
    capability = machine.number("gpu.capability")
    version = machine.text("transformers.version")
    if setup.attn_implementation != "sdpa" or device(machine, setup) != "cuda" or not heads or not kept:
        return False
    if kept == heads or capability is None or version is None or Version(version) < GROUPED_SINCE:
        return False
    # A mask makes transformers expand the keys, and the memory-efficient kernel takes them then.
    masked = workload.mixed_lengths or setup.cache_implementation != "dynamic" or setup.batching == "continuous"
    return not masked and (capability < FLASH_CAPABILITY or setup.dtype == "float32")
