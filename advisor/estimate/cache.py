"""Bytes that keys and values take, as the caches of transformers really store them.

Counted are the storages of the tensors. A window of a longer tensor keeps the longer one alive: a sliding layer holds
the whole prompt until its first decode step, and one token more than its window of past tokens afterwards.
"""

from dataclasses import dataclass
from math import ceil

from packaging.version import Version

from advisor.facts import Facts
from advisor.setup import Setup
from advisor.workload import Workload

LATENT_SINCE = Version("5.15")
"""transformers keeps the latent of MLA models from here on; before, every head's keys and values."""
RESIDUAL_TOKENS = 128
GROUP = 64
DEFAULT_BITS = 4
THREE_BITS = 32 * 7 / 64
"""A quantized cache's defaults: 4 bits, scale and zero point in the cache's type for each 64 values, new tokens as
they are until 128 of them are quantized together with all others (QuantizedLayer in cache_utils.py). Byte for byte
what caches of quanto 0.2.7 and hqq 0.2.8 held, of 2 and 4 bits and of 1, 2, 3, 4 and 8; hqq packs 64 values of 3 bits
into seven words. The fp8 cache has one scale for all values and keeps no tokens as they are (Fp8QuantizedLayer)."""
WHOLE_LAYERS = 2
"""Layers in full precision that exist while one layer of a quantized cache is used: read back, and joined with the new
tokens."""
PAGE_TOKENS = {"cpu": 16}
ACCELERATOR_PAGE_TOKENS = 256
"""Pages of continuous batching as a recipe sets them."""

UNREAD_PAGES = 2


@dataclass(frozen=True)
class Request:
    """One call of generate: prompts side by side, the length that they are padded to, and the tokens to come."""

    rows: int
    prompt_tokens: int
    new_tokens: int

    @property
    def stored_tokens(self) -> int:
        """Tokens of one row whose keys and values exist when generation ends: the last token is never fed back."""
        return self.prompt_tokens + self.new_tokens - 1


@dataclass(frozen=True)
class Kept:
    """Bytes of the cache after the prompt, when generation ends, and of one layer that keeps every token.

    `transient` is what exists beside it at the worst moment of decoding because of the way it is kept.
    """

    prefill: int
    end: int
    layer: int
    transient: int = 0

    @property
    def peak(self) -> int:
        return max(self.prefill, self.end)


def request(workload: Workload, setup: Setup) -> Request:
    """The largest call that answers the workload."""
    prompts = workload.batch * workload.concurrency
    rows = 1 if setup.batching == "loop" else min(setup.batch_size or workload.batch, prompts)
    if setup.batching == "continuous":
        rows = min(setup.batch_size or prompts, prompts)
    multiple = setup.pad_to_multiple_of or 1
    return Request(rows, ceil(workload.prompt_tokens / multiple) * multiple, workload.new_tokens)


def kept(model: Facts, machine: Facts, setup: Setup, call: Request, itemsize: int) -> Kept | None:
    """The cache's bytes for one call; None where the model's layers are not known.

    `itemsize` is the number of bytes of one cached value.
    """
    if setup.use_cache is False:
        return Kept(0, 0, 0)
    token = token_values(model, machine)
    layers = _layers(model)
    if token is None or layers is None:
        return None
    full, sliding, window = layers
    row = call.rows * token * itemsize
    if setup.batching == "continuous":
        return _paged(setup, call, row, full + sliding)
    state = _states(model, call, itemsize)
    if state is None:
        return None
    if setup.cache_implementation == "quantized":
        return _quantized(setup, call, row, full, itemsize) if not sliding and not state else None
    if setup.cache_implementation in ("static", "offloaded_static"):
        size = row * (full * call.stored_tokens + sliding * min(window, call.stored_tokens)) + state
        return Kept(size, size, row * call.stored_tokens)
    after = call.prompt_tokens if call.new_tokens == 1 else min(window, call.stored_tokens)
    return Kept(
        prefill=row * (full + sliding) * call.prompt_tokens + state,
        end=row * (full * call.stored_tokens + sliding * after) + state,
        layer=row * call.stored_tokens,
    )


def token_values(model: Facts, machine: Facts) -> int | None:
    """Values that one layer caches for one token of one row: keys and values of all heads, or the latent of MLA."""
    latent, key = model.count("model.kv_latent_values"), model.count("model.head_dim")
    value = model.count("model.value_head_dim")
    version = machine.text("transformers.version")
    if latent is not None and (version is None or Version(version) >= LATENT_SINCE):
        return latent
    heads = model.count("model.kv_heads")
    return None if heads is None or key is None or value is None else heads * (key + value)


def _layers(model: Facts) -> tuple[int, int, int] | None:
    """Layers that keep every token, layers that keep a window, and its length."""
    full, sliding = model.count("model.full_layers"), model.count("model.sliding_layers")
    window = model.count("model.sliding_window_tokens")
    if full is None or sliding is None or (sliding and window is None):
        return None
    return full, sliding, window or 0


def _states(model: Facts, call: Request, itemsize: int) -> int | None:
    """Bytes of the constant states of linear layers."""
    if not model.count("model.linear_layers"):
        return 0
    recurrent, convolution = model.count("model.linear_state_bytes"), model.count("model.linear_conv_values")
    if recurrent is None or convolution is None:
        return None
    return call.rows * (recurrent + convolution * itemsize)


def _quantized(setup: Setup, call: Request, row: int, layers: int, itemsize: int) -> Kept:
    in_groups = setup.cache_backend != "fp8"
    bits: float = setup.cache_bits or DEFAULT_BITS
    bits = (THREE_BITS if bits == 3 else bits) + 2 * 8 * itemsize / GROUP if in_groups else 8
    small = row / itemsize * bits / 8
    new = call.new_tokens - 1
    residual, most = (new % RESIDUAL_TOKENS, min(new, RESIDUAL_TOKENS - 1)) if in_groups else (0, 0)
    end = round(layers * (small * (call.stored_tokens - residual) + row * residual))
    waiting = round(layers * (most - residual) * (row - small))
    layer = row * call.stored_tokens
    return Kept(round(layers * small * call.prompt_tokens), end, layer, WHOLE_LAYERS * layer + waiting)


def _paged(setup: Setup, call: Request, row: int, layers: int) -> Kept:
    """Continuous batching reserves whole pages for the longest request of every row and one page more.

    The library adds two pages that nobody reads (continuous_batching/cache.py). Exact where all layers are alike,
    2 % too low for a small hybrid model.
    """
    page = setup.page_size or PAGE_TOKENS.get(setup.device or "cpu", ACCELERATOR_PAGE_TOKENS)
    pages = call.rows * (ceil((call.prompt_tokens + call.new_tokens) / page) + 1) + UNREAD_PAGES
    layer = row // call.rows * pages * page
    return Kept(layers * layer, layers * layer, layer)
