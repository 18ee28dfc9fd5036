"""Rules that were taken -> the steps of a plan, each with its predicted share. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from advisor.facts import Value
from advisor.plan import Effect, Estimate, Step
from advisor.rule import Decision, Rule
from advisor.setup import Setup


@dataclass(frozen=True)
class Taken:
    """A rule that fired, with its change in plain values."""

    decision: Decision
    change: Mapping[str, Value]
    fallbacks: tuple[dict[str, Value], ...]


def steps(estimate: Callable[[Setup], Estimate], baseline: Setup, taken: Sequence[Taken]) -> tuple[Step, ...]:
    """The steps with their predicted shares, each against the setup before it."""
    setup, end = baseline, baseline
    for move in taken:
        end = end.changed(move.change)
    found = []
    for move in taken:
        after = setup.changed(move.change)
        rule = move.decision.rule
        found.append(
            Step(
                rule=rule.id,
                rung=rule.rung,
                summary=rule.summary,
                change={name: value for name, value in move.change.items() if getattr(setup, name) != value},
                effect=_effect(estimate(setup), estimate(after), rule),
                evidence=rule.evidence,
                because=tuple(reason.to_json() for reason in move.decision.verdict.because),
                fallbacks=tuple(
                    way for way in move.fallbacks if way != dict(move.change) and _may_fit(estimate, end, way)
                ),
                rank=0,
            )
        )
        setup = after
    return _ranked(found)


def _may_fit(estimate: Callable[[Setup], Estimate], end: Setup, way: Mapping[str, Value]) -> bool:
    """Whether a fallback in the place of its step may fit."""
    return estimate(end.changed(way)).memory.fits is not False


def _effect(old: Estimate, new: Estimate, rule: Rule) -> Effect:
    """A step's share. There is no factor on the speed of a setup that cannot run, nor where the estimate is silent."""
    a, b = old.speed.total_tokens_per_second, new.speed.total_tokens_per_second
    c, d = old.memory.total_bytes, new.memory.total_bytes
    return Effect(
        speed=b / a if a and b and old.memory.fits is not False and not rule.unpredicted else None,
        memory_bytes=d - c if c is not None and d is not None else None,
        quality=rule.quality or rule.caution,
    )


def _ranked(steps: list[Step]) -> tuple[Step, ...]:
    """Number the steps by what each gains: speed first, then memory saved."""
    order = sorted(steps, key=lambda step: (-(step.effect.speed or 1.0), step.effect.memory_bytes or 0))
    rank = {step.rule: number for number, step in enumerate(order, start=1)}
    return tuple(replace(step, rank=rank[step.rule]) for step in steps)
