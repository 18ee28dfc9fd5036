"""Parameters by group, from the names and shapes of the stored tensors.

The names are those under which transformers saves its own architectures. What a quantized checkpoint packs is
counted as the weights that it stands for; scales, zero points and lookup tables of quantization are no parameters.
"""

import re
from collections.abc import Mapping

from advisor.probe.checkpoint import Tensor

LOOKUP = re.compile(
    r"(^|\.)(embed_tokens|embed_tokens_per_layer|wte|wpe|word_embeddings|embed_in|embed_positions|embeddings|"
    r"position_embeddings|tok_embeddings|token_embedding|token_type_embeddings|embed_tokens_extra)\.weight$"
)
HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output_projection)\.(weight|qweight|weight_packed)$")
NO_PARAMETER = re.compile(
    r"(\.attn\.(masked_)?bias|\.masked_bias|rotary_emb\.inv_freq|e_score_correction_bias|"
    r"\.scales|\.qzeros|\.g_idx|\.SCB|\.weight_format|_scales|\.weight_scale(_inv)?|\.weight_shape|\.input_scale|"
    r"\.absmax|\.quant_map|\.nested_absmax|\.nested_quant_map|\.quant_state\.bitsandbytes__\w+)$"
)
"""Buffers of older checkpoints (causal masks, frequencies) and what quantization stores beside the weights."""
TOWER = re.compile(r"(^|\.)(vision_tower|vision_model|visual|audio_tower|multi_modal_projector|embed_vision)\.")
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
ROUTER = re.compile(r"\.(gate|router|router\.layer)\.weight$")
STACKED_EXPERTS = re.compile(r"\.experts\.(gate_up_proj|down_proj|gate_proj|up_proj|w1|v1|w2)(_blocks)?$")


def groups(tensors: Mapping[str, Tensor], layers: int | None, tied: bool, bits: int | None) -> dict[str, int]:
    """Parameters by group. Layers at or behind `layers` (a checkpoint's extra prediction layers) are not loaded.

    `tied` leaves a stored copy of the embedding out; `bits` is the width of packed integers (GPTQ, AWQ).
    """
    counts = dict.fromkeys(("total", "embedding", "head", "linear", "experts", "other", "rest"), 0)
    for name, tensor in tensors.items():
        if NO_PARAMETER.search(name) or _is_behind(name, layers) or (tied and HEAD.search(name)):
            continue
        group = group_of(name, tensor)
        size = unpacked(name, tensor, tensors, bits)
        counts["total"] += size
        counts["linear" if group == "experts" else group] += size
        counts["experts"] += size if group == "experts" else 0
    return counts


def group_of(name: str, tensor: Tensor) -> str:
    """The group of one tensor by its name and shape."""
    if TOWER.search(name):
        return "rest"
    if HEAD.search(name):
        return "head"
    if LOOKUP.search(name):
        return "embedding"
    if STACKED_EXPERTS.search(name) or (".experts." in name and _is_matrix(name, tensor)):
        return "experts"
    if ROUTER.search(name) or not _is_matrix(name, tensor):
        return "other"
    return "linear"


def _is_matrix(name: str, tensor: Tensor) -> bool:
    """A linear layer's weight: two sides, both wider than one, or packed."""
    if name.endswith((".qweight", ".weight_packed", "_blocks")):
        return True
    return name.endswith(".weight") and len(tensor.shape) == 2


def _is_behind(name: str, layers: int | None) -> bool:
    found = LAYER.search(name)
    return found is not None and layers is not None and not TOWER.search(name) and int(found[1]) >= layers


def unpacked(name: str, tensor: Tensor, tensors: Mapping[str, Tensor], bits: int | None) -> int:
    """How many weights a stored tensor stands for.

    GPTQ, AWQ and compressed-tensors pack several integers into one of 32 bits; bitsandbytes and MXFP4 put two 4-bit
    values into a byte.
    """
    if name.endswith((".qweight", ".weight_packed")) and tensor.dtype == "I32":
        return tensor.size * (32 // (bits or 4))
    if tensor.dtype == "U8" and (name.endswith("_blocks") or f"{name}.absmax" in tensors):
        return tensor.size * 2
    return tensor.size


def has_head(tensors: Mapping[str, Tensor]) -> bool:
    """Whether an output projection is stored."""
    return any(HEAD.search(name) for name in tensors)
