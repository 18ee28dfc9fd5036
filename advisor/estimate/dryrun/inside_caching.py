"""Loaded by inside_dry_run.py in the target interpreter: the library's caches on fake tensors, and what they hold.

Fake tensors say that they are on the CPU and stand for those on the device; what a cache moves to RAM goes to the fake
device `meta` instead, where it takes nothing of the device's memory.
"""

from __future__ import annotations  # The target may run an older Python than this program does.

import contextlib
import functools
import importlib
import inspect
from collections.abc import Iterator
from typing import Any

STATES, GROWING = "LinearAttentionLayer", "DynamicLayer"
"""Classes of cache layers, by name: one whose size never changes, one that holds every token and nothing else."""
IN_GROUPS, ONE_BY_ONE = ("QuantoQuantizedLayer", "HQQQuantizedLayer"), "Fp8QuantizedLayer"
"""Layers that quantize: new tokens once there are enough of them, or each token as it comes."""
RAM = "meta"


class Waits:
    """Stands in for the streams on which a cache is moved; here nothing is ever late."""

    def wait_stream(self, _: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        pass


def new(model: Any, case: dict[str, Any], transformers: Any) -> Any:
    """The cache that generate makes for this case; None where it keeps none.

    Raises:
        ValueError: the installed library has no such cache, or it is of another build than this was written for.
    """
    kind = case["cache"]
    config = model.config.get_text_config(decoder=True)
    if kind == "none":
        return None
    if kind == "quantized":
        options = {"backend": case["cache_backend"], "nbits": case["cache_bits"]}
        made = transformers.QuantizedCache(config=config, **{k: v for k, v in options.items() if v is not None})
        for layer in made.layers:
            if type(layer).__name__ == "QuantoQuantizedLayer":
                layer._quantize = functools.partial(packed_by_quanto, layer._quantize)
        return made
    static = kind in ("static", "offloaded_static")
    cache = transformers.StaticCache if static else transformers.DynamicCache
    last = max(1, case["prompt_tokens"] + case["new_tokens"] - 1)
    given = {"config": config, "max_cache_len": last, "max_batch_size": case["rows"], "device": "cpu"}
    known = inspect.signature(cache.__init__).parameters
    wanted = tuple(given) if static else ("config",)
    named = any(one.kind is one.VAR_KEYWORD for one in known.values())
    made = cache(**{name: given[name] for name in wanted if name in known or (named and name != "device")})
    if kind.startswith("offloaded"):
        offloaded(made, known)
    return made


def packed_by_quanto(quantize: Any, tensor: Any, axis: int) -> Any:
    """What quanto makes of a tensor. It packs several values into a byte only if the tensor is of torch's own class."""
    PackedTensor = importlib.import_module("optimum.quanto.tensor.packed").PackedTensor  # noqa: N806  # a class

    made = quantize(tensor, axis=axis)
    if not isinstance(made._data, PackedTensor):
        made._data = PackedTensor.pack(made._data, made._qtype.bits)
    return made


def offloaded(cache: Any, options: Any) -> None:
    """Let the library move layers to RAM and back, as it does with `offloading=True` (Cache of cache_utils.py).

    Raises:
        ValueError: its caches work in another way.
    """
    if "offload_only_non_sliding" not in options or not all(hasattr(layer, "prefetch") for layer in cache.layers):
        raise ValueError("this transformers moves caches in another way")
    cache.offloading, cache.only_non_sliding = True, options["offload_only_non_sliding"].default
    cache.prefetch_stream = Waits()
    for layer in cache.layers:
        layer.offload = functools.partial(to_ram, layer)


def to_ram(layer: Any) -> None:
    if layer.is_initialized:
        layer.keys, layer.values = layer.keys.to(RAM), layer.values.to(RAM)


@contextlib.contextmanager
def without_streams() -> Iterator[None]:
    """While a pass runs, streams are what never has to be waited for."""
    import torch

    before, torch.cuda.default_stream = torch.cuda.default_stream, lambda *_: Waits()
    try:
        yield
    finally:
        torch.cuda.default_stream = before


def stored(cache: Any) -> tuple[int, int]:
    """Bytes of the cache's storages, and those of them in RAM."""
    packed = any("Quantized" in type(layer).__name__ for layer in getattr(cache, "layers", ()))
    found = {}
    for tensor in kept_tensors(cache, set(), packed):
        storage = tensor.untyped_storage()
        found[storage._cdata] = (storage.nbytes(), storage.nbytes() if tensor.device.type == RAM else 0)
    return sum(size for size, _ in found.values()), sum(away for _, away in found.values())


def kept_tensors(value: Any, seen: set[int], packed: bool) -> Iterator[Any]:
    """The tensors that a cache holds, wherever this version puts them.

    Counters are left out: whole numbers, except where such matrices are packed values.
    """
    import torch

    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        for tensor in inner(value):
            if tensor.is_floating_point() or (packed and tensor.dim() > 1):
                yield tensor
        return
    parts: Any = ()
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    elif "cache" in type(value).__module__ and hasattr(value, "__dict__"):
        parts = vars(value).values()
    for part in parts:
        yield from kept_tensors(part, seen, packed)


def inner(tensor: Any) -> Iterator[Any]:
    """The tensors that act as this one together; itself where it is a plain one."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None or type(tensor).__name__ == "FakeTensor":
        yield tensor
        return
    for name in flatten()[0]:
        yield from inner(getattr(tensor, name))


def only_grows(cache: Any) -> bool:
    """Whether every layer keeps every token, and nothing else."""
    return {type(layer).__name__ for layer in getattr(cache, "layers", ())} == {GROWING}


def lengthen(cache: Any, prompt: int, steps: int) -> bool:
    """Make the cache as if it had read this prompt and so many steps; False where a layer is not known well enough."""
    layers = getattr(cache, "layers", ())
    names = {type(layer).__name__ for layer in layers}
    if not names or names - {GROWING, STATES, ONE_BY_ONE, *IN_GROUPS} or names == {STATES}:
        return False
    for layer in layers:
        name = type(layer).__name__
        if name == GROWING:
            layer.keys, layer.values = (like(one, prompt + steps) for one in (layer.keys, layer.values))
        elif name in (ONE_BY_ONE, *IN_GROUPS):
            whole = prompt + (steps - steps % layer.residual_length if name in IN_GROUPS else steps)
            quantized(layer, whole, prompt + steps)
    return True


def like(tensor: Any, tokens: int) -> Any:
    return tensor.new_empty((*tensor.shape[:-2], tokens, tensor.shape[-1]))


def quantized(layer: Any, whole: int, tokens: int) -> None:
    """Fill a layer that quantizes: `whole` tokens quantized, the rest as they are."""
    keys, values = layer._dequantize(layer._quantized_keys), layer._dequantize(layer._quantized_values)
    if type(layer).__name__ == ONE_BY_ONE:
        layer._quantized_keys = layer._quantize(like(keys, whole))
        layer._quantized_values = layer._quantize(like(values, whole))
    else:
        layer._quantized_keys = layer._quantize(like(keys, whole), axis=layer.axis_key)
        layer._quantized_values = layer._quantize(like(values, whole), axis=layer.axis_value)
        if tokens > whole:
            layer.keys, layer.values = like(keys, tokens - whole), like(values, tokens - whole)
    layer.cumulative_length = tokens


def fullest_step(cache: Any, steps: int) -> int | None:
    """The last step but one, of those up to `steps`, before which new tokens are quantized; None where none is."""
    group = min((getattr(layer, "residual_length", 0) for layer in getattr(cache, "layers", ())), default=0)
    return steps // group * group if group and steps >= group else None
