"""Do two setups still say the same? Greedy tokens and the scores of the first new token, compared.

Exact tokens cannot be demanded where the arithmetic changes: in 16 bits a batch rounds differently from a single
prompt, and greedy decoding turns the smallest difference between two equally good tokens into another continuation.
What tells a rounding error from a broken setup is the distance of the scores.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from advisor.run.figures import Logits, Measured
from advisor.run.loading import weights_made_on
from advisor.setup import Setup

MOST_ROUNDING = 0.2
"""Relative distance of the scores that rounding may explain. Measured on random-weight Llamas of 20 and 150 million
parameters against a float32 loop: float32 batch 4e-7, float16 0.001, bfloat16 0.008 and 0.011; deep models add up
more of it, a broken cache or mask gives about 1."""
MOST_QUANTIZATION = 0.8
"""The same for quantized real weights; unrelated scores have 1.4. On the random weights above int8 gave 0.03 and 0.05,
nf4 0.33 and 0.43, fp4 0.43 and 0.55: they exaggerate, so there only NaN and infinity count as broken."""


@dataclass(frozen=True)
class Terms:
    """What is compared, as far as it decides how much agreement can be expected."""

    baseline: Setup
    plan: Setup
    random_weights: bool

    @property
    def quantizes(self) -> bool:
        return (self.baseline.quantization or "none") != (self.plan.quantization or "none")

    @property
    def pads_elsewhere(self) -> bool:
        return (self.baseline.padding_side or "left") != (self.plan.padding_side or "left")

    @property
    def other_weights(self) -> bool:
        """Random weights from the same seed differ between devices."""
        return self.random_weights and weights_made_on(self.baseline) != weights_made_on(self.plan)


@dataclass(frozen=True)
class Agreement:
    """How far the outputs agree. Shares are of all tokens, of whole requests, and of first tokens; `logit_distance` is
    |a - b| / |a| over the scores of the first new token. None: not comparable. `broken` is the reason why the outputs
    differ by more than the change explains, else None."""

    greedy_tokens_equal: float | None
    requests_equal: float | None
    first_tokens_equal: float | None
    logit_distance: float | None
    expected: str
    broken: str | None

    def to_json(self) -> dict[str, Any]:
        known = self.logit_distance is not None and math.isfinite(self.logit_distance)
        return {**asdict(self), "logit_distance": self.logit_distance if known else None}


def agreement(baseline: Measured, plan: Measured, terms: Terms) -> Agreement:
    """Compare the outputs of the two sides' warm-up requests, which saw the same prompts."""
    expected = expectation(terms)
    if terms.other_weights:
        return Agreement(None, None, None, None, expected, None)
    pairs = list(zip(baseline.tokens, plan.tokens, strict=False))
    distance = first = None
    if baseline.logits is not None and plan.logits is not None:
        distance, first = compare_logits(baseline.logits, plan.logits)
    return Agreement(
        greedy_tokens_equal=_share([one == other for a, b in pairs for one, other in zip(a, b, strict=False)]),
        requests_equal=_share([a == b for a, b in pairs]),
        first_tokens_equal=first,
        logit_distance=distance,
        expected=expected,
        broken=_broken(distance, terms),
    )


def _broken(distance: float | None, terms: Terms) -> str | None:
    """Why the distance is more than the change explains, or None."""
    if distance is None:
        return None
    if not math.isfinite(distance):
        return "the scores are no longer numbers (NaN or infinite)"
    if terms.pads_elsewhere or (terms.quantizes and terms.random_weights):
        return None
    most, cause = (MOST_QUANTIZATION, "quantization") if terms.quantizes else (MOST_ROUNDING, "rounding")
    if distance <= most:
        return None
    return f"the outputs differ by more than {cause} explains (distance of the scores {distance:.2f}, at most {most})"


def expectation(terms: Terms) -> str:
    """What may be expected of the outputs, in one sentence."""
    if terms.other_weights:
        return "random weights differ between devices, so the outputs cannot be compared"
    if terms.quantizes and terms.random_weights:
        return "random weights exaggerate quantization errors; the quality cannot be judged from them"
    if terms.quantizes:
        return "quantization changes the weights: judge the quality on your own task"
    if terms.pads_elsewhere:
        return "the padding moved to the other side, which changes what the model sees where lengths differ"
    sixteen = {terms.baseline.dtype, terms.plan.dtype} - {"float32"}
    if sixteen:
        return "16-bit rounding differs between kernels; greedy tokens may part where two are nearly equal"
    return "the same tokens: nothing that rounds differently has changed"


def _share(equal: Sequence[bool]) -> float | None:
    return sum(equal) / len(equal) if equal else None


def compare_logits(one: Logits, other: Logits) -> tuple[float | None, float | None]:
    """Relative distance |a - b| / |a| and the share of equal best tokens, over the prompts that both sides have."""
    common = [prompt for prompt in one.prompts if prompt in other.prompts]
    if not common or one.vocabulary != other.vocabulary:
        return None, None
    away = size = 0.0
    equal = 0
    for prompt in common:
        a, b = one.row(prompt), other.row(prompt)
        equal += _best(a) == _best(b)
        for x, y in zip(a, b, strict=True):
            # Tokens that generate forbids have a score of minus infinity on both sides.
            if x != -math.inf:
                size += x * x
                away += (x - y) * (x - y)
    if not math.isfinite(size) or size == 0:
        return None, equal / len(common)
    return math.sqrt(away / size), equal / len(common)


def _best(scores: "array[float]") -> int:
    return max(range(len(scores)), key=scores.__getitem__)
