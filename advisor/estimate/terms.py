"""What is said of one pass through a model, and of a whole request: its terms, its figures, what it takes."""

from dataclasses import dataclass


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
class Timed:
    """All calls of one request: seconds until half of the prompts and until the last have their first token, and in
    all; new tokens a second while decoding; the term that dominates a step of the first call."""

    ttft: float
    last_ttft: float
    seconds: float
    decode_rate: float
    bound: str


@dataclass(frozen=True)
class Packed:
    """Tokens that one pass takes of many sequences: one of each that decodes, and `reading` ones of prompts, of which
    `ended` prompts end with it. `sequences` hold `held` tokens in all; the prompts' meet `pairs` of their own ones."""

    decoding: float
    reading: float
    ended: float
    sequences: float
    held: float
    pairs: float
