"""Predicted speed of a request: what the host needs to launch the operators against what memory and arithmetic need.

    step    = (host^p + (weights + keys and values)^p)^(1/p) + fetched weights      p = 4, on a CPU 1: a plain sum
    prefill = (host^p + (products + attention of the prompt)^p)^(1/p) + fetched weights
    request = for each call of generate: prefill + (new tokens - 1) * step

All terms are seconds. Pure and quick: the planner asks about hundreds of setups. What is not known gives None, never
another device's figure.
"""

from dataclasses import dataclass, replace

from packaging.version import Version

from advisor.estimate import calls, offload, room
from advisor.estimate.constants import Constants, constants
from advisor.estimate.quantized import Quantized, quantized, scheme_of
from advisor.estimate.shape import Shape, shape
from advisor.estimate.weights import BYTES, dtype
from advisor.facts import Facts
from advisor.plan import Memory, Speed
from advisor.setup import Setup
from advisor.workload import Workload

GRAPH_HOST_SECONDS = 0.35e-3
"""Host time of a step that is one CUDA graph: a static cache compiled by generate (published runs on A100)."""
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
"""Before it a Python loop visits every expert of every layer (published runs of Qwen3-30B-A3B)."""
EXTRA_DEVICE_HOST = 0.01
"""Host time that each further accelerator adds, as a share (published runs on 1 to 8 GPUs)."""
COMPILE_SECONDS = (6.0, 28.0)
"""What the first call costs when generate compiles: 6 s with Inductor's cache filled, 17 to 28 s without (20M to 600M
models on two idle cores; a slower or busy machine takes longer)."""
COMPILE_FORWARD_SECONDS = (11.0, 47.0)
"""The same for torch.compile of forward with a growing cache."""
CONTINUOUS_ON_CPU = 1.5
"""generate_batch against a padded batch on a CPU: 1.4 to 1.6 times as long (20M model, 16 ragged prompts)."""


@dataclass(frozen=True)
class Terms:
    """The seconds of one step: launched by the host, read from memory, computed beyond what reading hides."""

    host: float
    bandwidth: float
    compute: float
    total: float

    @property
    def bound(self) -> str:
        """The term that dominates."""
        return max((("host", self.host), ("bandwidth", self.bandwidth), ("compute", self.compute)), key=_second)[0]


def _second(pair: tuple[str, float]) -> float:
    return pair[1]


@dataclass(frozen=True)
class Running:
    """A model on a device in one setup: everything that the terms are computed from."""

    shape: Shape
    constants: Constants
    layers: Quantized
    setup: Setup
    on_cpu: bool
    element_bytes: int
    host_factor: float
    host_extra: float
    all_logits: bool
    fetch: float

    def step(self, rows: int, tokens: float) -> Terms | None:
        """One new token for each of `rows` sequences that hold `tokens` tokens each."""
        weights, read = self._weights(rows, rows), self._weights(1, 1)
        if weights is None or read is None:
            return None
        cache = self._cache_seconds(rows, tokens) + self._moved_seconds(rows, tokens)
        host = self._host(self.constants.step_host_seconds, compiled=self.setup.compile not in (None, "none"))
        total = self._combined(host, weights + cache) + self.fetch
        return Terms(host, min(read, weights) + cache + self.fetch, max(0.0, weights - read), total)

    def recomputed(self, rows: int, tokens: float) -> Terms | None:
        """A step without a cache: the whole sequence again."""
        seconds = self.prefill(rows, tokens)
        read = self._weights(1, 1)
        if seconds is None or read is None:
            return None
        host = self._host(self.constants.step_host_seconds, compiled=False)
        return Terms(host, read, max(0.0, seconds - host - read), seconds)

    def prefill(self, rows: int, tokens: float) -> float | None:
        """Seconds until the first new token of `rows` prompts of `tokens` tokens each."""
        shown = rows * tokens if self.all_logits else rows
        products = self._weights(rows * tokens, shown)
        attention = self._attention(rows, tokens)
        if products is None or attention is None:
            return None
        host = self._host(self.constants.step_host_seconds * PREPARING_STEPS, compiled=False)
        return self._combined(host, products + attention) + self.fetch

    def _host(self, outside: float, compiled: bool) -> float:
        """Host seconds of one pass, with `outside` spent around the layers. Compiled layers need no launching."""
        fixed = self.shape.layers * self.constants.layer_fixed_seconds
        if compiled and self.on_cpu:
            return fixed + outside
        if compiled and self.setup.cache_implementation == "static":
            return GRAPH_HOST_SECONDS
        layers = self.shape.layers * self.constants.layer_host_seconds * self.layers.host
        return fixed + (layers + outside) * self.host_factor + self.host_extra

    def _combined(self, host: float, device: float) -> float:
        power = self.constants.power
        return float((host**power + device**power) ** (1 / power))

    def _weights(self, rows: float, shown: float) -> float | None:
        """Seconds of all products for `rows` tokens; the output projection is computed for `shown` of them."""
        layer, head = self.layers.matrices.seconds(rows), self.constants.matrices.seconds(shown)
        experts = self._experts(rows)
        if layer is None or head is None or experts is None:
            return None
        return self.shape.dense * layer + self.shape.head * head + experts

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

    def _attention(self, rows: float, tokens: float) -> float | None:
        """Seconds of the attention of a whole prompt; eager attention writes and reads every score besides."""
        many = self.constants.matrices.seconds(MANY_ROWS)
        one = self.constants.matrices.seconds(1)
        if many is None or one is None:
            return None
        # Two operations for each value of a key and a value; the causal mask halves the pairs.
        pairs = rows * self.shape.attended_tokens(tokens) * tokens * self.shape.heads
        seconds = pairs * self.shape.width * many / (2 * MANY_ROWS) / ATTENTION_SHARE
        if self.setup.attn_implementation == "eager":
            seconds += pairs * (2 * self.element_bytes + 4) * one / self.element_bytes
        return seconds


def speed(model: Facts, machine: Facts, workload: Workload, setup: Setup, memory: Memory) -> Speed:
    """Predicted speed of one request of `workload`; None in every field that cannot be known.

    Rates count new tokens, of all prompts together. A request that is not repeated pays for compilation itself.
    """
    timed = _timed(model, machine, workload, setup, memory)
    if timed is None:
        return Speed(None, None, None)
    seconds = timed.seconds
    if not workload.repeats and (compiling := compile_seconds(setup)):
        seconds += sum(compiling) / 2
    tokens = workload.batch * workload.concurrency * workload.new_tokens
    return Speed(timed.ttft, timed.rows / timed.step.total, tokens / seconds, timed.step.bound)


def compile_seconds(setup: Setup) -> tuple[float, float] | None:
    """What the first call costs more because of compilation, in seconds (least, most); None when nothing compiles."""
    return {"generate": COMPILE_SECONDS, "forward": COMPILE_FORWARD_SECONDS}.get(setup.compile or "none")


def break_even_calls(
    model: Facts, machine: Facts, workload: Workload, setup: Setup, memory: Memory
) -> tuple[float, float] | None:
    """Requests of `workload` after which compilation as in `setup` has paid back (least, most).

    None when `setup` compiles nothing, when compilation saves nothing, or when the speed is unknown.
    """
    cost = compile_seconds(setup)
    plain = _timed(model, machine, workload, setup.changed({"compile": "none"}), memory)
    compiled = _timed(model, machine, workload, setup, memory)
    if cost is None or plain is None or compiled is None or plain.seconds <= compiled.seconds:
        return None
    saved = plain.seconds - compiled.seconds
    return cost[0] / saved, cost[1] / saved


@dataclass(frozen=True)
class Timed:
    """One request: seconds to the first token and in all, the step of its first call, and that call's prompts."""

    ttft: float
    seconds: float
    step: Terms
    rows: int


def _timed(model: Facts, machine: Facts, workload: Workload, setup: Setup, memory: Memory) -> Timed | None:
    running = _running(model, machine, setup, memory)
    if running is None:
        return None
    parts = calls.calls(workload, setup)
    found = [_call(running, workload, call) for call in parts]
    known = [pair for pair in found if pair is not None]
    if len(known) < len(found):
        return None
    slowed = CONTINUOUS_ON_CPU if setup.batching == "continuous" and running.on_cpu else 1.0
    seconds = sum(
        call.count * (first + (workload.new_tokens - 1) * step.total)
        for call, (first, step) in zip(parts, known, strict=True)
    )
    first, step = known[0]
    return Timed(first, slowed * seconds, replace(step, total=slowed * step.total), parts[0].rows)


def _call(running: Running, workload: Workload, call: calls.Call) -> tuple[float, Terms] | None:
    """Seconds to the first token of one call, and an average step after it."""
    first = running.prefill(call.rows, call.prompt_tokens)
    # A growing cache is half way through the new tokens on average; a static one is read whole from the start.
    grown = 1.0 if running.setup.cache_implementation in ("static", "offloaded_static") else 0.5
    tokens = call.prompt_tokens + grown * workload.new_tokens
    if running.setup.use_cache is False:
        step = running.recomputed(call.rows, call.prompt_tokens + 0.5 * workload.new_tokens)
    else:
        step = running.step(call.rows, tokens)
    return None if first is None or step is None else (first, step)


def _running(model: Facts, machine: Facts, setup: Setup, memory: Memory) -> Running | None:
    """The model in this setup, or None where something that its speed depends on is unknown."""
    found, scheme, kind = shape(model), scheme_of(model, setup), dtype(model, machine, setup)
    if kind not in BYTES:
        return None
    # Quantized layers compute in 16 bits, and their factors were measured against bf16.
    base = constants(machine, setup, kind if scheme == "none" or kind == "float16" else "bfloat16")
    fetch = offload.fetch_seconds(machine, setup, memory)
    if found is None or base is None or fetch is None or setup.cache_implementation == "quantized":
        return None
    layers = quantized(scheme, machine, setup, base.matrices)
    if layers is None:
        return None
    version = Version(machine.text("transformers.version") or "5")
    loop = found.experts * found.layers * EXPERT_LOOP_SECONDS if version < EXPERTS_AT_ONCE else 0.0
    return Running(
        shape=found,
        constants=base,
        layers=layers,
        setup=setup,
        on_cpu=room.device(machine, setup) == "cpu",
        element_bytes=BYTES[kind],
        host_factor=1 + EXTRA_DEVICE_HOST * (room.room(machine, setup).devices - 1),
        host_extra=loop,
        all_logits=version < FIRST_LOGITS_ONLY,
        fetch=fetch,
    )
