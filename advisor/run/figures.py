"""What measuring a setup gave: figures of one or several processes, or a failure with its reason."""

import statistics
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from advisor.run.distributions import Distributions


@dataclass(frozen=True)
class Served:
    """What became of requests that arrived one by one. Seconds count from each one's own arrival: to its first token
    (ttft) and to its whole answer (latency). A percentile is the smallest value that so many do not exceed."""

    requests: int
    ttft_p50_seconds: float
    ttft_p95_seconds: float
    latency_p50_seconds: float
    latency_p95_seconds: float
    tokens_per_second: float
    requests_per_second: float


@dataclass(frozen=True)
class Run:
    """One request: all prompts at hand. `neighbour_cores` is what other programs used of our cores meanwhile.

    With `serving` it is a round of requests that arrived by themselves, and `seconds` go from the first arrival to the
    last answer.
    """

    seconds: float
    ttft_seconds: float | None
    decode_tokens_per_second: float | None
    total_tokens_per_second: float
    neighbour_cores: float | None
    disturbed: bool
    serving: Served | None = None


@dataclass(frozen=True)
class Peak:
    """Most memory held, in bytes. On CUDA of the allocator: handed out, taken from the device; `used_by_all_bytes` is
    in use on the devices by all processes. Of the process on the host: resident, and how it was made up at the end."""

    resident_bytes: int | None
    anonymous_bytes: int | None
    file_bytes: int | None
    allocated_bytes: int | None
    reserved_bytes: int | None
    used_by_all_bytes: int | None

    @property
    def device_bytes(self) -> int | None:
        """What counts against the device's memory: the allocator's peak on CUDA, resident memory on the host."""
        return self.resident_bytes if self.allocated_bytes is None else self.allocated_bytes


@dataclass(frozen=True)
class Logits:
    """Scores of the first new token for some prompts, one row after another."""

    prompts: tuple[int, ...]
    vocabulary: int
    values: "array[float]" = field(repr=False)

    def row(self, prompt: int) -> "array[float]":
        start = self.prompts.index(prompt) * self.vocabulary
        return self.values[start : start + self.vocabulary]


@dataclass(frozen=True)
class Measured:
    """What one or several processes with the same setup measured.

    `load_seconds` and `first_seconds` (the first request, compilation included) hold one figure for each process.
    """

    runs: tuple[Run, ...]
    load_seconds: tuple[float, ...]
    first_seconds: tuple[float, ...]
    load_peak: Peak
    run_peak: Peak
    tokens: tuple[tuple[int, ...], ...] = field(repr=False)
    logits: Logits | None
    versions: Mapping[str, str]
    device: str
    threads: int
    free_bytes: int | None = None
    """What was free for the process before it loaded: of the CUDA devices, else of the host."""
    distributions: Distributions | None = field(default=None, repr=False)
    """What the model thought of a fixed text, where it was asked."""

    @property
    def counted(self) -> tuple[Run, ...]:
        """The runs that no other program disturbed; all where none was quiet."""
        return tuple(run for run in self.runs if not run.disturbed) or self.runs

    @property
    def quiet(self) -> bool:
        """Whether at least one run was left alone by other programs."""
        return any(not run.disturbed for run in self.runs)

    @property
    def disturbed_runs(self) -> int:
        return sum(run.disturbed for run in self.runs)

    @property
    def seconds(self) -> float:
        """Seconds of one request, the median."""
        return statistics.median(run.seconds for run in self.counted)

    @property
    def slowest_first_seconds(self) -> float:
        """The first request as slow as it was at first: later processes find compiled code ready."""
        return max(self.first_seconds)

    @property
    def quickest_load_seconds(self) -> float:
        """Loading with the files in the page cache."""
        return min(self.load_seconds)

    @property
    def total_tokens_per_second(self) -> float:
        return statistics.median(run.total_tokens_per_second for run in self.counted)

    @property
    def ttft_seconds(self) -> float | None:
        return _median(run.ttft_seconds for run in self.counted)

    @property
    def decode_tokens_per_second(self) -> float | None:
        return _median(run.decode_tokens_per_second for run in self.counted)

    @property
    def peak_bytes(self) -> int | None:
        """The larger of the peaks of loading and running."""
        return max((peak for peak in (self.load_peak.device_bytes, self.run_peak.device_bytes) if peak), default=None)

    @property
    def serving(self) -> Served | None:
        """What became of requests that arrived one by one: the median of each figure over the counted runs."""
        rounds = [run.serving for run in self.counted if run.serving is not None]
        if not rounds:
            return None
        middle = {f.name: statistics.median(getattr(one, f.name) for one in rounds) for f in fields(Served)}
        return replace(rounds[0], **{name: value for name, value in middle.items() if name != "requests"})

    @property
    def spread(self) -> float:
        """How far the counted runs lie apart, as a share of their median."""
        return spread([run.seconds for run in self.counted])

    def to_json(self) -> dict[str, Any]:
        return {
            "ttft_seconds": self.ttft_seconds,
            "decode_tokens_per_second": self.decode_tokens_per_second,
            "total_tokens_per_second": self.total_tokens_per_second,
            "peak_bytes": self.peak_bytes,
            "load_seconds": self.quickest_load_seconds,
            "runs": len(self.counted),
            "spread": self.spread,
            "request_seconds": self.seconds,
            "first_request_seconds": self.slowest_first_seconds,
            "disturbed_runs": self.disturbed_runs,
            "load_peak": vars(self.load_peak),
            "run_peak": vars(self.run_peak),
            "device": self.device,
            "threads": self.threads,
            "versions": dict(self.versions),
            **({} if self.serving is None else {"serving": vars(self.serving)}),
        }


@dataclass(frozen=True)
class Failed:
    """No figures: the stage that was reached, why it ended in one line, and what the process printed last."""

    stage: str
    reason: str
    log: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"stage": self.stage, "reason": self.reason}


Measurement = Measured | Failed


def pooled(measurements: Sequence[Measured]) -> Measured:
    """Several processes with the same setup as one: all their runs, the highest of their peaks, the first's outputs."""
    first = measurements[0]
    return Measured(
        runs=tuple(run for one in measurements for run in one.runs),
        load_seconds=tuple(seconds for one in measurements for seconds in one.load_seconds),
        first_seconds=tuple(seconds for one in measurements for seconds in one.first_seconds),
        load_peak=max((one.load_peak for one in measurements), key=lambda peak: peak.device_bytes or 0),
        run_peak=max((one.run_peak for one in measurements), key=lambda peak: peak.device_bytes or 0),
        tokens=first.tokens,
        logits=first.logits,
        versions=first.versions,
        device=first.device,
        threads=first.threads,
        distributions=next((one.distributions for one in measurements if one.distributions), None),
    )


def spread(values: Sequence[float]) -> float:
    """The middle half of the values, or all of fewer than four, as a share of their median; 0 for a single one."""
    if len(values) < 2:
        return 0.0
    if len(values) < 4:
        low, high = min(values), max(values)
    else:
        low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / statistics.median(values)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
