"""What does not hold is taken back: the step to blame goes to its next fallback, or out of the plan.

Pure apart from the measurements, which are handed in as a function.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from advisor.conflicts import conflict
from advisor.facts import Value
from advisor.plan import Step
from advisor.rule import RUNGS
from advisor.run.figures import Failed, Measured, Measurement
from advisor.run.verify import FAILS, HOLDS, NO_BETTER, SLOWER, Aim, Comparison, Verdict, judge
from advisor.setup import Setup

# How an error's text names the knob: words of libraries, found by making each knob fail.
NAMED_IN_ERRORS: tuple[tuple[str, str], ...] = (
    ("compile", r"inductor|dynamo|torch\.compile|CppCompile|C\+\+ compiler|cudagraph|BackendCompiler"),
    ("cache_implementation", r"static.?cache|cache_implementation|index_copy_|KV cache"),
    ("quantization", r"bitsandbytes|\bbnb\b|[48].?bit|quantiz"),
    ("batching", r"continuous.batching|generate_batch|paged"),
    ("attn_implementation", r"flash.?attn|flash.?attention|attn_implementation|flex_attention|kernels-community"),
    ("device_map", r"device_map|[`']accelerate[`']|offload"),
    ("device", r"not compiled with CUDA|No CUDA GPUs|no NVIDIA driver|cannot access accelerator"),
    ("dtype", r"not implemented for '(Half|BFloat16)'|the same dtype"),
)
OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|unable to mmap|killed by SIGKILL|MemoryError", re.IGNORECASE
)
PITFALLS = "pitfalls"


@dataclass(frozen=True)
class Choice:
    """What became of a step: `option` 0 is its change, n its n-th fallback, None taken back for `reason`."""

    step: Step
    option: int | None
    reason: str

    @property
    def change(self) -> Mapping[str, Value]:
        match self.option:
            case None:
                return {}
            case 0:
                return self.step.change
            case number:
                return self.step.fallbacks[number - 1]

    @property
    def kept(self) -> bool:
        return self.option is not None


Choices = tuple[Choice, ...]


@dataclass(frozen=True)
class Attempt:
    """One setup that was tried and its verdict."""

    setup: Setup
    verdict: Verdict


@dataclass(frozen=True)
class Found:
    """Where the search ended: the choices, the last comparison, everything that was tried, and whether it holds."""

    choices: Choices
    comparison: Comparison
    attempts: tuple[Attempt, ...]
    holds: bool


def setup_of(baseline: Setup, choices: Choices) -> Setup:
    """The baseline with the changes of all kept steps, in the plan's order."""
    for choice in choices:
        baseline = baseline.changed(choice.change)
    return baseline


def search(
    baseline: Setup,
    choices: Choices,
    compare: Callable[[Setup, Measurement | None], Comparison],
    more: Callable[[int], bool],
    known: Measurement | None = None,
) -> Found:
    """Try the plan; while it does not hold, take back what is to blame and try again.

    `compare` measures a setup against the baseline, given the baseline's measurement as far as there is one; `more`
    says, by the number of attempts so far, whether there is time for another.
    """
    attempts: list[Attempt] = []
    while True:
        setup = setup_of(baseline, choices)
        comparison = compare(setup, known)
        known = comparison.baseline
        attempts.append(Attempt(setup, comparison.verdict))
        if _good_enough(comparison.verdict, choices):
            return Found(choices, comparison, tuple(attempts), True)
        log = comparison.plan.log if isinstance(comparison.plan, Failed) else ""
        tried = {attempt.setup for attempt in attempts}
        less = take_back(baseline, choices, comparison.verdict, log, tried) if more(len(attempts)) else None
        if less is None:
            return Found(choices, comparison, tuple(attempts), False)
        choices = less


def _good_enough(verdict: Verdict, choices: Choices) -> bool:
    """It holds; or what is left are corrections alone and they cost nothing."""
    corrections = all(choice.step.rung == PITFALLS for choice in choices if choice.kept)
    return verdict.word == HOLDS or (verdict.word == NO_BETTER and corrections)


def take_back(baseline: Setup, choices: Choices, verdict: Verdict, log: str, tried: set[Setup]) -> Choices | None:
    """The choices after the step to blame gave way: its next fallback that was not tried yet, else without it.

    None where nothing is left to try.
    """
    while blamed := blame(choices, verdict, log):
        choices = _next_option(baseline, choices, blamed, verdict, tried)
        setup = setup_of(baseline, choices)
        if setup == baseline:
            return None
        if setup not in tried and conflict(setup) is None:
            return choices
    return None


def _next_option(baseline: Setup, choices: Choices, blamed: Choice, verdict: Verdict, tried: set[Setup]) -> Choices:
    assert blamed.option is not None
    for option in range(blamed.option + 1, len(blamed.step.fallbacks) + 1):
        others = _replaced(choices, replace(blamed, option=option, reason=f"instead: {verdict.reason}"))
        setup = setup_of(baseline, others)
        if setup not in tried and setup != baseline and conflict(setup) is None:
            return others
    return _replaced(choices, replace(blamed, option=None, reason=f"{verdict.word}: {verdict.reason}"))


def _replaced(choices: Choices, changed: Choice) -> Choices:
    return tuple(changed if choice.step is changed.step else choice for choice in choices)


def blame(choices: Choices, verdict: Verdict, log: str) -> Choice | None:
    """The step to take back first: whose knob the error names, then the highest rung; corrections come last."""
    kept = [choice for choice in choices if choice.kept]
    if verdict.word == FAILS:
        named = _named(kept, verdict.reason) or _named(kept, log[-5000:])
        if named is not None:
            return named
    return max(kept, key=lambda choice: _height(choice.step), default=None)


def _named(kept: Sequence[Choice], text: str) -> Choice | None:
    """The kept step whose knob the text names, or that takes the most memory where memory ran out."""
    for knob, words in NAMED_IN_ERRORS:
        for choice in kept:
            if choice.change.get(knob) not in (None, "none") and re.search(words, text, re.IGNORECASE):
                return choice
    if OUT_OF_MEMORY.search(text):
        hungry = [choice for choice in kept if (choice.step.effect.memory_bytes or 0) > 0]
        return max(hungry, key=lambda choice: choice.step.effect.memory_bytes or 0, default=None)
    return None


def _height(step: Step) -> int:
    """The step's place on the ladder; corrections of pitfalls stand below its foot."""
    return -1 if step.rung == PITFALLS else RUNGS.index(step.rung)


@dataclass(frozen=True)
class Climbed:
    """The plan tried step by step: what is left of it, and what each step measured on top of those before."""

    choices: Choices
    measured: Mapping[str, Measurement]


def step_by_step(
    baseline: Setup, choices: Choices, known: Measurement, aim: Aim, try_out: Callable[[Setup], Measurement]
) -> Climbed:
    """Measure the steps one after another, each on top of those that were kept; leave out what fails or harms."""
    measured: dict[str, Measurement] = {}
    best = known
    for choice in choices:
        setup = setup_of(baseline, _up_to(choices, choice))
        if problem := conflict(setup):
            choices = _replaced(choices, replace(choice, option=None, reason=problem))
            continue
        trial = measured[choice.step.rule] = try_out(setup)
        if wrong := _harm(best, trial, aim):
            choices = _replaced(choices, replace(choice, option=None, reason=wrong))
        else:
            best = trial
    return Climbed(choices, measured)


def _up_to(choices: Choices, last: Choice) -> Choices:
    return choices[: choices.index(last) + 1]


def _harm(before: Measurement, after: Measurement, aim: Aim) -> str | None:
    """Why the step between two measurements is left out, or None."""
    match before, after:
        case _, Failed(stage, reason):
            return f"{FAILS}: at {stage}: {reason}"
        case Measured(), Measured():
            verdict = judge(before, after, aim)
            return f"{SLOWER}: {verdict.reason}" if verdict.word == SLOWER else None
    return None
