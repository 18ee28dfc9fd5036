"""Do two setups still say the same? Greedy tokens, the scores of the first new token, and what each thinks of a text.

Exact tokens cannot be demanded where the arithmetic changes: in 16 bits a batch rounds differently from a single
prompt, and greedy decoding turns the smallest difference between two equally good tokens into another continuation.
What tells a rounding error from a broken setup is how far the distributions of the next token lie apart on one and the
same text. How much is allowed depends on what was changed (kinds.py; docs/verification.md explains each threshold).
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from advisor.run.acceptance import CANNOT
from advisor.run.distributions import Divergence, divergence
from advisor.run.figures import Logits, Measured
from advisor.run.kinds import QUANTIZED_WEIGHTS, Kind, kind_of
from advisor.run.loading import weights_made_on
from advisor.setup import Setup


@dataclass(frozen=True)
class Terms:
    """What is compared, as far as it decides how much agreement can be expected."""

    baseline: Setup
    plan: Setup
    random_weights: bool

    @property
    def kind(self) -> Kind:
        return kind_of(self.baseline, self.plan)

    @property
    def quantizes(self) -> bool:
        return self.kind in QUANTIZED_WEIGHTS

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
    |a - b| / |a| over the scores of the first new token; `text` is how far the distributions of the next token lie
    apart on one text. None: not comparable. `kind` is what was changed, `quality` what the perplexity of the text
    says, and `broken` the reason why the outputs differ by more than the change explains, else None."""

    greedy_tokens_equal: float | None
    requests_equal: float | None
    first_tokens_equal: float | None
    logit_distance: float | None
    expected: str
    broken: str | None
    kind: str | None = None
    text: Divergence | None = None
    quality: str | None = None

    def to_json(self) -> dict[str, Any]:
        known = self.logit_distance is not None and math.isfinite(self.logit_distance)
        text = self.text.to_json() if self.text else None
        return {**asdict(self), "logit_distance": self.logit_distance if known else None, "text": text}


def agreement(baseline: Measured, plan: Measured, terms: Terms) -> Agreement:
    """Compare the outputs of the two sides' warm-up requests, which saw the same prompts, and their view of a text."""
    expected = expectation(terms)
    if terms.other_weights:
        return Agreement(None, None, None, None, expected, None, terms.kind.name)
    pairs = list(zip(baseline.tokens, plan.tokens, strict=False))
    distance = first = text = None
    if baseline.logits is not None and plan.logits is not None:
        distance, first = compare_logits(baseline.logits, plan.logits)
    if baseline.distributions is not None and plan.distributions is not None:
        text = divergence(baseline.distributions, plan.distributions)
    return Agreement(
        greedy_tokens_equal=_share([one == other for a, b in pairs for one, other in zip(a, b, strict=False)]),
        requests_equal=_share([a == b for a, b in pairs]),
        first_tokens_equal=first,
        logit_distance=distance,
        expected=expected,
        broken=_broken(distance, terms) or _parted(text, terms),
        kind=terms.kind.name,
        text=text,
        quality=_quality(text, terms),
    )


def _broken(distance: float | None, terms: Terms) -> str | None:
    """Why the distance of the first scores is more than the change explains, or None."""
    if distance is None:
        return None
    if not math.isfinite(distance):
        return "the scores are no longer numbers (NaN or infinite)"
    if terms.pads_elsewhere or (terms.quantizes and terms.random_weights):
        return None
    most = terms.kind.distance
    if distance <= most:
        return None
    cause = terms.kind.name
    return f"the outputs differ by more than {cause} explains (distance of the scores {distance:.2f}, at most {most})"


def _parted(text: Divergence | None, terms: Terms) -> str | None:
    """Why the view of the text differs by more than the change explains, or None."""
    if text is None:
        return None
    if not math.isfinite(text.mean):
        return "the scores of a fixed text are no longer numbers (NaN or infinite)"
    if terms.pads_elsewhere or (terms.quantizes and terms.random_weights):
        return None
    kind = terms.kind
    if text.distance is not None and text.distance > kind.text_distance:
        what = f"distance of the scores {text.distance:.2g}, at most {kind.text_distance}"
        return f"the scores of a fixed text differ by more than {kind.name} explains ({what})"
    if not terms.random_weights and text.mean > kind.divergence:
        what = f"{text.mean:.3g} nats a token, at most {kind.divergence}"
        return f"the next tokens of a fixed text differ by more than {kind.name} explains ({what})"
    worse = _worse(text)
    if not terms.random_weights and text.words and worse is not None and worse > kind.perplexity:
        what = f"perplexity times {worse:.3f}, at most {kind.perplexity}"
        return f"the model has become worse than {kind.name} explains ({what}, on {text.source})"
    return None


def _worse(text: Divergence) -> float | None:
    """By which factor the perplexity has grown; None where one is not known."""
    before, after = text.perplexities
    return after / before if before and after else None


def _quality(text: Divergence | None, terms: Terms) -> str | None:
    """What the perplexity says of the quality, in one sentence; None where the text was not put to both."""
    if terms.random_weights:
        return f"{CANNOT}: the weights are random"
    if text is None:
        return None
    if not text.words:
        return f"{CANNOT}: there is no tokenizer, so the text is {text.source}"
    before, after = text.perplexities
    if before is None or after is None:
        return f"{CANNOT}: the model rules out a token of the text"
    return f"perplexity {before:.4g} -> {after:.4g} on {text.positions} tokens ({text.source})"


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
    return terms.kind.expected


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
