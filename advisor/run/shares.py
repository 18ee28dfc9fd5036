"""Each step's share, measured beside predicted: a waterfall from the baseline to the final setup. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from advisor.run.choices import Choices
from advisor.run.fallback import Climbed
from advisor.run.figures import Measured, Measurement
from advisor.run.verify import Aim, request_seconds


@dataclass(frozen=True)
class Share:
    """What a step did on top of the kept ones before it. `speed` is the factor by which a request got faster,
    `memory_bytes` the change of the peak; `from_seconds` and `to_seconds` are those of a request without and with it.
    None: not measured, or not predicted. `kept` is whether the next step was measured on top of it."""

    speed: float | None
    predicted_speed: float | None
    memory_bytes: int | None
    predicted_memory_bytes: int | None
    from_seconds: float | None
    to_seconds: float | None
    kept: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def shares(baseline: Measurement, climbed: Climbed, aim: Aim) -> Mapping[str, Share]:
    """The share of each step that was measured, by its rule, in the plan's order."""
    return dict(_shares(baseline, climbed.choices, climbed.measured, aim))


def _shares(
    before: Measurement, choices: Choices, measured: Mapping[str, Measurement], aim: Aim
) -> Iterator[tuple[str, Share]]:
    for choice in choices:
        after = measured.get(choice.step.rule)
        if after is None:
            continue
        one, other = (request_seconds(side, aim) if isinstance(side, Measured) else None for side in (before, after))
        peaks = [side.peak_bytes if isinstance(side, Measured) else None for side in (before, after)]
        yield (
            choice.step.rule,
            Share(
                speed=one / other if one and other else None,
                predicted_speed=choice.step.effect.speed,
                memory_bytes=peaks[1] - peaks[0] if peaks[0] is not None and peaks[1] is not None else None,
                predicted_memory_bytes=choice.step.effect.memory_bytes,
                from_seconds=one,
                to_seconds=other,
                kept=choice.kept,
            ),
        )
        if choice.kept:
            before = after
