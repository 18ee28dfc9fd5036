"""What a model thought of a fixed text, and how far two models' thoughts of it lie apart.

Of each position only the best tokens are known, so that the divergence is a lower bound: tokens that both sides know
are compared one by one, what is left as one lump. On real text nearly all probability lies with the best tokens, and
the bound is the divergence itself.
"""

import base64
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Place = tuple[int, int]
TINY = 1e-12
RANDOM = "random tokens"
"""What inside_forcing.py calls a text that is none."""


@dataclass(frozen=True)
class Distributions:
    """The best `top` tokens of each place (sequence, position) with the natural logarithms of their probabilities,
    those of some tokens evenly `spread` over the vocabulary, and that of the text's own token. `source` says where the
    text comes from."""

    source: str
    places: tuple[Place, ...]
    top: int
    vocabulary: int
    ids: "array[int]" = field(repr=False)
    logs: "array[float]" = field(repr=False)
    spread: "array[float]" = field(repr=False)
    text_logs: tuple[float, ...] = field(repr=False)

    def at(self, number: int) -> tuple["array[int]", "array[float]"]:
        """Tokens and logarithms of the place of this number, the best one first."""
        part = slice(number * self.top, (number + 1) * self.top)
        return self.ids[part], self.logs[part]

    @property
    def perplexity(self) -> float | None:
        """Of the text; None where the model gives a token of it no finite logarithm."""
        mean = math.fsum(self.text_logs) / len(self.text_logs) if self.text_logs else math.nan
        return math.exp(-mean) if math.isfinite(mean) and -mean < 700 else None


def read(data: dict[str, Any] | None) -> Distributions | None:
    """The answer of inside_forcing.py.

    Raises:
        KeyError, TypeError, ValueError: it is not as agreed.
    """
    if data is None:
        return None
    ids, logs = array("i", base64.b64decode(data["ids_int32"])), array("f", base64.b64decode(data["logs_float32"]))
    places = tuple((int(sequence), int(position)) for sequence, position in data["places"])
    text_logs = tuple(map(float, data["text_logs"]))
    top = int(data["top"])
    spread = array("f", base64.b64decode(data["spread_float32"]))
    whole = len(spread) % max(len(places), 1) == 0
    if not len(ids) == len(logs) == len(places) * top or len(text_logs) != len(places) or not whole:
        raise ValueError("distributions of another size")
    return Distributions(str(data["source"]), places, top, int(data["vocabulary"]), ids, logs, spread, text_logs)


@dataclass(frozen=True)
class Divergence:
    """Kullback-Leibler divergence of the second from the first, in nats: its mean and its largest over the positions
    (not finite where the second is no longer a distribution), the share of positions with the same best token, and the
    perplexities of the text. `distance` is |a - b| / |a| of logarithms over tokens of the whole vocabulary, less their
    mean: other than nats it means the same whether a model is sure of itself or, with random weights, of nothing."""

    mean: float
    largest: float
    same_best: float
    distance: float | None
    positions: int
    perplexities: tuple[float | None, float | None]
    source: str

    @property
    def words(self) -> bool:
        """Whether the text is language, of which a perplexity says something."""
        return self.source != RANDOM

    def to_json(self) -> dict[str, Any]:
        finite = math.isfinite(self.mean)
        return {
            "kl_mean_nats": self.mean if finite else None,
            "kl_largest_nats": self.largest if finite else None,
            "top_token_equal": self.same_best,
            "distance": self.distance,
            "positions": self.positions,
            "perplexity": {"baseline": self.perplexities[0], "plan": self.perplexities[1]},
            "source": self.source,
        }


def divergence(one: Distributions, other: Distributions) -> Divergence | None:
    """How far `other` lies from `one`; None where they are not of the same text, or `one` is no distribution."""
    if one.places != other.places or one.vocabulary != other.vocabulary or not one.places:
        return None
    found = [_at_one_place(one.at(number), other.at(number)) for number in range(len(one.places))]
    if any(math.isnan(value) for value in one.logs):
        return None
    best = sum(one.ids[n * one.top] == other.ids[n * other.top] for n in range(len(found)))
    return Divergence(
        math.fsum(found) / len(found) if all(map(math.isfinite, found)) else math.nan,
        max(found) if all(map(math.isfinite, found)) else math.nan,
        best / len(found),
        _distance(one, other),
        len(found),
        (one.perplexity, other.perplexity),
        one.source,
    )


def _distance(one: Distributions, other: Distributions) -> float | None:
    """Of the tokens spread over the vocabulary; None where they are not of the same number, or all alike."""
    if len(one.spread) != len(other.spread):
        return None
    size = len(one.spread) // len(one.places)
    away = whole = 0.0
    for start in range(0, len(one.spread), size):
        pairs = zip(one.spread[start : start + size], other.spread[start : start + size], strict=True)
        # Tokens that generate forbids have a logarithm of minus infinity on both sides.
        known = [(a, b) for a, b in pairs if a != -math.inf and b != -math.inf]
        mean_one, mean_other = (math.fsum(pair[side] for pair in known) / max(len(known), 1) for side in (0, 1))
        away += math.fsum((a - mean_one - b + mean_other) ** 2 for a, b in known)
        whole += math.fsum((a - mean_one) ** 2 for a, _ in known)
    return math.sqrt(away / whole) if whole > 0 and math.isfinite(away) else None


Best = tuple["array[int]", "array[float]"]


def _at_one_place(one: Best, other: Best) -> float:
    """The least divergence that the known tokens allow, in nats; NaN where `other` is no distribution."""
    if any(math.isnan(value) for value in other[1]):
        return math.nan
    known = dict(zip(*other, strict=True))
    missed = 0.0
    terms, shared_one, shared_other = [], [], []
    for token, log in _finite(one):
        if token in known:
            # Probability that `other` rules out altogether counts as TINY.
            against = max(known[token], math.log(TINY))
            terms.append(math.exp(log) * (log - against))
            shared_one.append(math.exp(log))
            shared_other.append(math.exp(against))
        else:
            missed += math.exp(log)
    rest_one = max(0.0, 1 - math.fsum(shared_one) - missed)
    rest_other = max(TINY, 1 - math.fsum(shared_other))
    # Tokens that `other` does not count among its best have at most the probability of its last one, and together what
    # its best leave over.
    best = [math.exp(log) for _, log in _finite(other)]
    room = min(1 - math.fsum(best), min(best, default=0.0) * (len(one[0]) - len(shared_one)))
    return max(0.0, math.fsum(terms) + _lumps(missed, rest_one, room, rest_other))


def _lumps(missed: float, rest: float, room: float, others_rest: float) -> float:
    """The least divergence of two lumps (`missed` and `rest`) from one of `others_rest`, of which the first may take at
    most `room`: spread in proportion where there is room for it, else all the room."""
    whole = missed + rest
    if whole <= TINY:
        return 0.0
    share = others_rest * missed / whole
    if share <= room or missed <= TINY:
        return whole * math.log(whole / others_rest)
    room = max(room, TINY)
    left = max(others_rest - room, TINY)
    return missed * math.log(missed / room) + (rest * math.log(rest / left) if rest > TINY else 0.0)


def _finite(best: Best) -> Iterator[tuple[int, float]]:
    return ((token, log) for token, log in zip(*best, strict=True) if log != -math.inf)
