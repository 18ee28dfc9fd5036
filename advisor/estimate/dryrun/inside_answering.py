"""Loaded by inside_dry_run.py in the target interpreter: operators that fake tensors refuse, or that hide what they do.

`PARTS` holds operators that a device carries out as several: these are run one by one, so that what lives between them
is seen. `REFUSED` holds operators that real tensors take and fake ones do not: their result is made as it would be.
"""

from __future__ import annotations  # The target may run an older Python than this program does.

from collections.abc import Callable
from typing import Any

ROW_BYTES = 16
"""Rows of a grouped product begin at multiples of this (create_grouped_gemm_output_tensor of torch's GroupedMMUtils.h).
"""

FUSED_ROWS = 4
"""Rows that bitsandbytes' kernel takes with 4-bit weights as they are, on every card (backends/cuda/ops.py, 0.50)."""


def safe_softmax(scores: Any, dim: int, dtype: Any = None) -> Any:
    """What the operator of SDPA's plain path does inside, where no mode sees it.

    Read off the allocations of torch 2.13: the softmax, a mark for each hidden score, and zeros written in place.
    """
    import torch

    out = torch.softmax(scores, dim, dtype=dtype)
    hidden = torch.all(scores.eq(float("-inf")), dim, keepdim=True)
    return out.masked_fill_(hidden, 0.0)


def grouped_product(rows: Any, matrices: Any, *_: Any, out_dtype: Any = None, **__: Any) -> Any:
    """The result of `_grouped_mm` for rows sorted by group, in any type; its fake form takes bfloat16 alone."""
    kind = out_dtype or rows.dtype
    width = matrices.shape[-1]
    step = ROW_BYTES // kind.itemsize
    return rows.new_empty_strided((rows.shape[0], width), (-(-width // step) * step, 1), dtype=kind)


def is_refused(name: str, args: tuple[Any, ...]) -> bool:
    import torch

    return name in REFUSED and args[0].dim() == 2 and args[1].dim() == 3 and args[0].dtype != torch.bfloat16


def outliers(rows: Any, threshold: float) -> Any:
    """The columns that LLM.int8 leaves in 16 bits. How many is known by their values alone: none are taken to be."""
    import torch

    if threshold == 0.0:
        return None
    (rows.abs() >= threshold).any()
    return torch.empty(0, dtype=torch.int64)


def to_int8_on_cpu(rows: Any, threshold: float = 0.0) -> Any:
    """int8_vectorwise_quant as bitsandbytes/backends/default/ops.py does it."""
    import torch

    columns = outliers(rows, threshold)
    largest = torch.max(rows.abs(), dim=1).values.float()
    return torch.round(rows * (127.0 / largest.unsqueeze(-1))).to(torch.int8), largest, columns


def to_int8_on_cuda(rows: Any, threshold: float = 0.0) -> Any:
    """The same by a kernel (backends/cuda/ops.py)."""
    import torch

    largest = torch.empty(rows.numel() // rows.shape[-1], dtype=torch.float32)
    small = torch.empty(rows.shape, dtype=torch.int8)
    return small, largest, outliers(rows, threshold)


def int8_mixed(rows: Any, small: Any, weights: Any, sizes: Any, scales: Any, _: Any = None, bias: Any = None) -> Any:
    import torch

    product = torch.ops.bitsandbytes.int8_scaled_mm.default
    return product(small, weights, sizes, scales, bias=bias, dtype=rows.dtype), rows.new_empty(0)


def int8_scaled(small: Any, weights: Any, sizes: Any, scales: Any, bias: Any = None, dtype: Any = None) -> Any:
    import torch

    whole = torch.ops.bitsandbytes.int8_linear_matmul.default(small, weights)
    return torch.ops.bitsandbytes.int8_mm_dequant.default(whole, sizes, scales, dtype=dtype or torch.float16, bias=bias)


def int8_product_on_cpu(small: Any, weights: Any) -> Any:
    """Whole numbers with AVX-512, else by way of float32 (backends/cpu/ops.py, default/ops.py)."""
    import torch

    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        return torch._int_mm(small.reshape(-1, small.shape[-1]), weights.t()).reshape(
            *small.shape[:-1], weights.shape[0]
        )
    return torch.matmul(small.float(), weights.float().t()).to(torch.int32)


def from_int8_on_cpu(whole: Any, sizes: Any, scales: Any, dtype: Any = None, bias: Any = None) -> Any:
    import torch

    factors = sizes.reshape(-1).unsqueeze(-1) * scales.reshape(-1).unsqueeze(0)
    out = whole.view(-1, whole.shape[-1]) * factors * 1.0
    del factors
    if bias is not None:
        out += bias
    return out.to(dtype or torch.float16)


def from_int8_on_cuda(whole: Any, _sizes: Any, _scales: Any, dtype: Any = None, bias: Any = None) -> Any:
    import torch

    out = torch.empty_like(whole, dtype=torch.float16)
    if bias is not None and bias.dtype != torch.float16:
        out.add_(bias)
    return out.to(dtype or torch.float16)


def written_out(
    rows: Any,
    packed: Any,
    shape: Any,
    absmax: Any,
    block: int,
    kind: str,
    bias: Any = None,
    absmax_8bit: Any = None,
    absmax_code: Any = None,
    absmax_offset: Any = None,
) -> Any:
    """gemm_4bit by writing the weights out (_gemm_4bit_default_impl, _dequant_linear_fallback of backends/cuda)."""
    import torch

    library = torch.ops.bitsandbytes
    if absmax_8bit is not None:
        absmax = library.dequantize_blockwise.default(absmax_8bit, absmax, absmax_code, 256, torch.float32)
        absmax = absmax + absmax_offset
    weights = library.dequantize_4bit.default(packed, absmax, block, kind, shape, rows.dtype)
    return torch.nn.functional.linear(rows, weights, bias)


def four_bit_on_cuda(rows: Any, packed: Any, shape: Any, absmax: Any, block: int, *more: Any, **named: Any) -> Any:
    """The fused kernel for few rows. For more, what a card's model and the shape decide is taken to be the larger."""
    if rows.numel() // rows.shape[-1] <= FUSED_ROWS and rows.shape[-1] % block == 0:
        return rows.new_empty((*rows.shape[:-1], shape[0]))
    return written_out(rows, packed, shape, absmax, block, *more, **named)


def repacked_on_cpu(rows: Any, _packed: Any, shape: Any, *_: Any) -> Any:
    """gemv_4bit, which takes any number of rows once the weights are packed for AVX-512 (backends/cpu/ops.py)."""
    import torch

    half = rows.to(torch.bfloat16).reshape(-1, rows.shape[-1])
    out = half.new_empty((half.shape[0], shape[0]))
    return out.to(rows.dtype).reshape(*rows.shape[:-1], shape[0])


ANYWHERE: dict[str, Callable[..., Any]] = {
    "_safe_softmax.default": safe_softmax,
    "bitsandbytes.int8_mixed_scaled_mm.default": int8_mixed,
    "bitsandbytes.int8_scaled_mm.default": int8_scaled,
}
PARTS: dict[str, dict[str, Callable[..., Any]]] = {
    "cpu": {
        "bitsandbytes.int8_vectorwise_quant.default": to_int8_on_cpu,
        "bitsandbytes.int8_linear_matmul.default": int8_product_on_cpu,
        "bitsandbytes.int8_mm_dequant.default": from_int8_on_cpu,
        "bitsandbytes.gemm_4bit.default": written_out,
        "bitsandbytes.gemv_4bit.default": repacked_on_cpu,
    },
    "cuda": {
        "bitsandbytes.int8_vectorwise_quant.default": to_int8_on_cuda,
        "bitsandbytes.int8_mm_dequant.default": from_int8_on_cuda,
        "bitsandbytes.gemm_4bit.default": four_bit_on_cuda,
    },
}
REFUSED: dict[str, Callable[..., Any]] = {"_grouped_mm.default": grouped_product}


def parts(device: str) -> dict[str, Callable[..., Any]]:
    """The operators that `device` carries out in parts, by name."""
    return {**ANYWHERE, **PARTS[device]}
