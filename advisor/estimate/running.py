"""What one pass through a model costs in a setup: a step of decoding, a prompt, or the check of drafted tokens.

    step    = (host^p + (weights + keys and values)^p)^(1/p) + fetched weights      p = 4, on a CPU 1: a plain sum
    prefill = (host^p + (products + attention of the prompt)^p)^(1/p) + fetched weights, for each chunk of the prompt

All terms are seconds. What is not known gives None, never another device's figure.
"""

from dataclasses import dataclass
from math import ceil

from packaging.version import Version

from advisor.conflicts import BITSANDBYTES, QUANTO, skips_compilation
from advisor.estimate import offload, room
from advisor.estimate.constants import BANDWIDTH_SHARE, Constants, Matrices, Roofline, constants
from advisor.estimate.operators import USUAL_MATRICES, host_factor, matrices_of_layer
from advisor.estimate.quantized import Quantized, quantized, scheme_of
from advisor.estimate.shape import Shape, shape
from advisor.estimate.terms import Packed, Terms
from advisor.estimate.weights import BYTES, dtype, is_kept
from advisor.facts import Facts
from advisor.plan import Memory
from advisor.setup import Setup

GRAPH_SECONDS, GRAPH_LAYER_SECONDS = 0.35e-3, 0.09e-3
"""What a step costs at least as one CUDA graph (a static cache compiled by generate), beside what generate does around
the layers: in all (published runs on A100), and for each layer, whose kernels follow one another however small they
are. The second comes from T5-small, which is nearly all host: six layers went from 3.85 to 1.10 ms a step
(transformers pull request 30845), of which a seventh of 3.85 ms stays around the layers. Its layers attend to the
encoder too, so that the figure is rather high for others."""
HBM_BITS = 2048
"""Buses as wide as this belong to stacked memory (HBM2 has 1024 bits a stack); GDDR cards have at most 512."""
HBM_SHARES = ((8e6, 0.32), (32e6, 0.51), (128e6, 0.66), (512e6, 0.71))
GDDR_SHARES = ((8e6, 0.64),)
"""Share of the bandwidth that one product reaches by the size of its matrix in bytes (published kernel tables of an
A100, where an H100 reaches the same below 32 MB and more above; and of an RTX PRO 6000). Larger ones reach
`BANDWIDTH_SHARE`: matrices of small models are too small to fill the device."""
UNCOMPILED = (*BITSANDBYTES, *QUANTO, "gptq", "gptq_int8", "awq", "hqq", "mxfp4")
"""Ways to keep weights whose quantizer says that generate may not compile the model (transformers 5.22)."""
PREPARING_STEPS = 5.0
"""Host time before the first token, in units of the step's time outside the layers (seen on tiny models)."""
ATTENTION_SHARE = 0.5
"""Attention of a prompt reaches this share of the rate of large products (150M model, 1024 tokens, fp32 and bf16)."""
MANY_ROWS = 4096
"""Rows at which products are limited by arithmetic on every device."""
FIRST_LOGITS_ONLY = Version("4.45")
"""From here on generate computes the output projection of a prompt for its last token alone."""
EXPERTS_AT_ONCE = Version("5.0")
EXPERT_LOOP_SECONDS = 0.08e-3
"""Before it, or if asked to, a Python loop visits every expert of every layer (published runs of Qwen3-30B-A3B)."""
ENCODER_HOST = 0.75
"""Host time of an encoder's layer as a share of a decoder's, whose time is measured: BERT and MPNet 0.8, ModernBERT 0.7
of Llama (tiny models on one core, transformers 5.22). On a GPU the share may be smaller: BERT launches 12 kernels a
layer and Llama 36."""
EXTRA_DEVICE_HOST = 0.01
"""Host time that each further accelerator adds, as a share (published runs on 1 to 8 GPUs)."""


@dataclass(frozen=True)
class Running:
    """A model on a device in one setup: everything that the terms are computed from."""

    shape: Shape
    constants: Constants
    layers: Quantized
    head: Matrices
    setup: Setup
    compiled: bool
    on_cpu: bool
    element_bytes: int
    layer_factor: float
    """Host time of a layer against one of Llama."""
    host_factor: float
    host_extra: float
    all_logits: bool
    fetch: float
    matrix_shares: tuple[tuple[float, float], ...]

    def step(self, rows: int, tokens: float) -> Terms | None:
        """One new token for each of `rows` sequences that hold `tokens` tokens each."""
        weights, read = self._weights(rows, rows), self._weights(1, 1)
        if weights is None or read is None:
            return None
        compiled = self.compiled
        small = self._small_matrices()
        weights, read = weights * small, read * small
        cache = self._cache_seconds(rows, tokens) + self._moved_seconds(rows, tokens)
        host = self._host(self.constants.step_host_seconds, compiled, rows)
        total = self._combined(host, weights + cache) + self.fetch
        return Terms(host, min(read, weights) + cache + self.fetch, max(0.0, weights - read), total)

    def checked(self, drafted: int, tokens: float) -> float | None:
        """Seconds of one pass that checks `drafted` tokens of one sequence and makes one more."""
        weights = self._weights(drafted + 1, drafted + 1)
        if weights is None:
            return None
        cache = self._cache_seconds(1, tokens) + self._moved_seconds(1, tokens)
        host = self._host(self.constants.step_host_seconds, compiled=False, rows=drafted + 1)
        return self._combined(host, weights + cache) + self.fetch

    def packed(self, tokens: Packed) -> Terms | None:
        """One pass of continuous batching.

        Other than flash attention, the kernels meet every token with the whole cache of all sequences, and a mask
        takes back what belongs to others (`attention_mask_bytes` in continuous_batching/cache.py).
        """
        together, mean = tokens.decoding + tokens.reading, tokens.held / tokens.sequences
        shown = together if self.all_logits else tokens.decoding + tokens.ended
        weights, read = self._weights(together, shown), self._weights(1, 1)
        attended = self.shape.attended_tokens(mean)
        if "flash" in (self.setup.attn_implementation or ""):
            scored = self._scored(tokens.pairs * attended / mean, halved=1)
        else:
            scored = self._scored(together * tokens.sequences * attended, halved=1)
        if weights is None or read is None or scored is None:
            return None
        weights, read = weights * self._small_matrices(), read * self._small_matrices()
        cache = self._cache_seconds(tokens.sequences, mean) + self._moved_seconds(tokens.sequences, mean)
        host = self._host(self.constants.step_host_seconds, compiled=False, rows=together)
        total = self._combined(host, weights + cache + scored) + self.fetch
        return Terms(host, min(read, weights) + cache + self.fetch, max(0.0, weights + scored - read), total)

    def recomputed(self, rows: int, tokens: float) -> Terms | None:
        """A step without a cache: the whole sequence again."""
        seconds = self.prefill(rows, tokens)
        read = self._weights(1, 1)
        if seconds is None or read is None:
            return None
        host = self._host(self.constants.step_host_seconds, compiled=False)
        return Terms(host, read, max(0.0, seconds - host - read), seconds)

    def prefill(self, rows: int, tokens: float) -> float | None:
        """Seconds until the first new token of `rows` prompts of `tokens` tokens each, taken in chunks where asked."""
        chunk = min(self.setup.prefill_chunk_size or tokens, tokens)
        passes = ceil(tokens / chunk)
        shown = rows * chunk if self.all_logits else rows
        products = self._weights(rows * chunk, shown)
        attention = self._attention(rows, tokens)
        if products is None or attention is None:
            return None
        host = self._host(self.constants.step_host_seconds * PREPARING_STEPS / passes, compiled=False)
        return passes * (self._combined(host, products + attention / passes) + self.fetch)

    def encoded(self, rows: int, tokens: float, both_ways: bool) -> Terms | None:
        """One pass over `rows` texts without logits, with nothing of generate around it.

        `both_ways` is true of encoders, where no causal mask halves the pairs.
        """
        products, read = self._layers(rows * tokens), self._layers(1)
        attention = self._attention(rows, tokens, both_ways)
        if products is None or read is None or attention is None:
            return None
        host = self._host(0.0, compiled=False) * (ENCODER_HOST if both_ways else 1.0)
        total = self._combined(host, products + attention) + self.fetch
        return Terms(host, read + self.fetch, max(0.0, products + attention - read), total)

    def _host(self, outside: float, compiled: bool, rows: float = 1) -> float:
        """Host seconds of one pass, with `outside` spent around the layers. Compiled layers need no launching."""
        fixed = self.shape.layers * self.constants.layer_fixed_seconds
        if compiled and self.on_cpu:
            return fixed + outside
        if self._is_graph(compiled):
            return max(GRAPH_SECONDS, self.shape.layers * GRAPH_LAYER_SECONDS) + outside * self.host_factor
        layers = self.shape.layers * self.constants.layer_host_seconds * self.layer_factor * self.layers.host
        layers *= self.layers.host_many if rows > 1 else 1.0
        return fixed + (layers + outside) * self.host_factor + self.host_extra

    def _is_graph(self, compiled: bool) -> bool:
        return compiled and not self.on_cpu and self.setup.cache_implementation == "static"

    def _small_matrices(self) -> float:
        """How much longer small matrices take to read than the constants, which are those of large ones, say."""
        if not isinstance(self.constants.matrices, Roofline):
            return 1.0
        size = self.shape.dense / self.shape.layers / USUAL_MATRICES * self.element_bytes
        return next((BANDWIDTH_SHARE / share for limit, share in self.matrix_shares if size < limit), 1.0)

    def _combined(self, host: float, device: float) -> float:
        power = self.constants.power
        return float((host**power + device**power) ** (1 / power))

    def _weights(self, rows: float, shown: float) -> float | None:
        """Seconds of all products for `rows` tokens; the output projection is computed for `shown` of them."""
        layers, head = self._layers(rows), self.head.seconds(shown)
        return None if layers is None or head is None else layers + self.shape.head * head

    def _layers(self, rows: float) -> float | None:
        """Seconds of the products of all layers for `rows` tokens."""
        layer, experts = self.layers.matrices.seconds(rows), self._experts(rows)
        return None if layer is None or experts is None else self.shape.dense * layer + experts

    def _experts(self, rows: float) -> float | None:
        """Seconds of the routed experts: those that any of `rows` tokens chose, each with its share of the tokens."""
        if not self.shape.experts:
            return 0.0
        chance = self.shape.experts_active / self.shape.experts
        visited = 1 - (1 - chance) ** rows
        each = self.layers.matrices.seconds(rows * chance / visited)
        return None if each is None else self.shape.routed * visited * each

    def _cache_seconds(self, rows: float, tokens: float) -> float:
        repeated = self.shape.attended_tokens(tokens) * self.shape.heads * self.shape.width * self.element_bytes
        share = 1.0 if self.constants.kv_repeated else self.shape.stored_share
        return rows * repeated * share * self.constants.kv_byte_seconds

    def _moved_seconds(self, rows: float, tokens: float) -> float:
        """Seconds in which an offloaded cache is fetched from host memory and put back, each layer once a step."""
        if self.setup.cache_implementation not in ("offloaded", "offloaded_static"):
            return 0.0
        values = self.shape.attended_tokens(tokens) * self.shape.heads * self.shape.width * self.shape.stored_share
        return 2 * rows * values * self.element_bytes / offload.PINNED_BYTES_PER_SECOND

    def _attention(self, rows: float, tokens: float, both_ways: bool = False) -> float | None:
        """Seconds of the attention of a whole prompt.

        An encoder's window masks pairs that are computed all the same, but by flash attention.
        """
        # The causal mask halves the pairs.
        attended, halved = (self._seen_tokens(tokens), 1) if both_ways else (self.shape.attended_tokens(tokens), 2)
        return self._scored(rows * attended * tokens, halved)

    def _scored(self, pairs: float, halved: int) -> float | None:
        """Seconds in which queries meet keys, in so many pairs over all layers; eager attention writes and reads every
        score besides."""
        many = self.constants.matrices.seconds(MANY_ROWS)
        one = self.constants.matrices.seconds(1)
        if many is None or one is None:
            return None
        pairs *= self.shape.heads
        # Two operations for each value of a key and a value.
        seconds = pairs * self.shape.width * many / (halved * MANY_ROWS) / ATTENTION_SHARE
        if self.setup.attn_implementation == "eager":
            seconds += pairs * (2 * self.element_bytes + 4) * one / self.element_bytes
        return seconds

    def _seen_tokens(self, tokens: float) -> float:
        """Tokens that a token of an encoder meets on both sides, summed over the layers."""
        flash = "flash" in (self.setup.attn_implementation or "")
        window = min(tokens, 2 * self.shape.window) if flash else tokens
        return self.shape.full_layers * tokens + self.shape.sliding_layers * window


def running(model: Facts, machine: Facts, setup: Setup, memory: Memory) -> Running | None:
    """The model in this setup, or None where something that its speed depends on is unknown."""
    found, scheme, kind = shape(model), _scheme(model, machine, setup), dtype(model, machine, setup)
    if kind not in BYTES or scheme is None:
        return None
    # The factors of quantized layers were measured against bf16; the output projection is kept in the type of the rest.
    own = constants(machine, setup, kind)
    base = own if scheme == "none" or kind == "float16" else constants(machine, setup, "bfloat16")
    fetch = offload.fetch_seconds(model, machine, setup, memory)
    if found is None or own is None or base is None or fetch is None or setup.cache_implementation == "quantized":
        return None
    matrix_parameters = found.dense / (found.layers * matrices_of_layer(model.text("model.type")))
    layers = quantized(scheme, machine, setup, base.products(matrix_parameters))
    if layers is None:
        return None
    version = Version(machine.text("transformers.version") or "5")
    looped = version < EXPERTS_AT_ONCE or setup.experts_implementation == "eager"
    loop = found.experts * found.layers * EXPERT_LOOP_SECONDS if looped else 0.0
    return Running(
        shape=found,
        constants=base,
        layers=layers,
        head=own.output_projection(found.hidden),
        setup=setup,
        compiled=not skips_compilation(setup) and scheme not in UNCOMPILED,
        on_cpu=room.device(machine, setup) == "cpu",
        element_bytes=BYTES[kind],
        layer_factor=host_factor(model.text("model.type"), kind),
        host_factor=1 + EXTRA_DEVICE_HOST * (room.room(machine, setup).devices - 1),
        host_extra=loop,
        all_logits=version < FIRST_LOGITS_ONLY,
        fetch=fetch,
        matrix_shares=_matrix_shares(machine),
    )


def _matrix_shares(machine: Facts) -> tuple[tuple[float, float], ...]:
    """The table for this kind of memory; none where the bus is unknown."""
    bits = machine.count("gpu.bus_width_bits")
    return () if bits is None else HBM_SHARES if bits >= HBM_BITS else GDDR_SHARES


def _scheme(model: Facts, machine: Facts, setup: Setup) -> str | None:
    """How the weights are kept on this device: what it cannot use is written out on load; None where unknown."""
    scheme = scheme_of(model, setup)
    if scheme not in ("fp8", "mxfp4"):
        return scheme
    kept = is_kept(scheme, machine, room.device(machine, setup))
    return None if kept is None else scheme if kept else "none"
