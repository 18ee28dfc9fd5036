"""Kinds of change, and how far each may move what a model says. docs/verification.md has the figures behind them."""

from dataclasses import dataclass

from advisor.setup import Setup


@dataclass(frozen=True)
class Kind:
    """A kind of change and the most that it explains: `distance`, relative, of the scores of the first new token;
    `text_distance`, the same over a fixed text; `divergence`, in nats a token on average over that text, and
    `perplexity`, the factor by which the text's may grow, both with real weights alone. `expected` says what it does to
    greedy tokens."""

    name: str
    distance: float
    text_distance: float
    divergence: float
    perplexity: float
    expected: str


SAME = Kind(
    "the same arithmetic", 0.01, 0.001, 1e-4, 1.001, "the same tokens: nothing that rounds differently has changed"
)
ROUNDING = Kind(
    "16-bit rounding",
    0.2,
    0.1,
    0.02,
    1.02,
    "16-bit rounding differs between kernels; greedy tokens may part where two are nearly equal",
)
CACHE = Kind("a quantized cache", 0.8, 0.8, 0.3, 1.3, "a quantized cache changes what is remembered, a little")
EIGHT_BITS = Kind("8-bit quantization", 0.8, 0.2, 0.05, 1.05, "quantization changes the weights")
FOUR_BITS = Kind("4-bit quantization", 0.8, 0.8, 0.3, 1.3, "quantization changes the weights")
QUANTIZED_WEIGHTS = (EIGHT_BITS, FOUR_BITS)
EIGHT = frozenset({"bnb_int8", "torchao_int8", "quanto_int8", "fp8"})


def kind_of(baseline: Setup, plan: Setup) -> Kind:
    """The kind that explains most of what lies between two setups."""
    schemes = {one.quantization or "none" for one in (baseline, plan)}
    if len(schemes) > 1:
        return EIGHT_BITS if schemes - {"none"} <= EIGHT else FOUR_BITS
    caches = {(one.cache_implementation, one.cache_backend, one.cache_bits) for one in (baseline, plan)}
    if len(caches) > 1 and any(one[0] == "quantized" for one in caches):
        return CACHE
    # Weights quantized on both sides multiply in 16 bits or in integers, whatever the type of the rest.
    exact = all(one.dtype == "float32" and one.matmul_precision != "high" for one in (baseline, plan))
    return SAME if exact and schemes == {"none"} else ROUNDING
