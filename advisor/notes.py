"""Rules that only advise -> notes beside the plan, their lines filled with what is known here. Pure."""

import re
import shlex
from collections.abc import Sequence

from advisor.facts import Facts, Known, Value
from advisor.loop_terms import in_loop
from advisor.plan import Note
from advisor.rule import Decision, Fires

PLACEHOLDER = re.compile(r"\{([a-z]\w*(?:\.\w+)+)\}")
"""A fact in a line of advice. Braces of Python code look otherwise."""
OPTIONS = "code.unread_options"
"""Typed as they are: made here of the names of knobs, with nothing of the script in them."""
PRINTABLE = re.compile(r"[^\x20-\x7e]")


def notes(decisions: Sequence[Decision], facts: Facts) -> tuple[Note, ...]:
    """A note for each advising rule that fires, what is wrong now before what could be better."""
    fired = [d for d in decisions if not d.rule.change and isinstance(d.verdict, Fires)]
    ordered = sorted(fired, key=lambda d: (not d.rule.always, d.rule.step_on_ladder))
    return tuple(
        Note(
            rule=decision.rule.id,
            rung=decision.rule.rung,
            summary=decision.rule.summary,
            advice=tuple(
                in_loop(filled(line, facts), facts.text("code.training_loop"))
                for line in decision.rule.advice
                if not _about_nothing(line, facts)
            ),
            because=tuple(reason.to_json() for reason in decision.verdict.because),
            evidence=decision.rule.evidence,
            urgent=decision.rule.always,
        )
        for decision in ordered
    )


def _about_nothing(line: str, facts: Facts) -> bool:
    """Whether a line lists what is known to be none."""
    return any(facts.value(name) == () for name in PLACEHOLDER.findall(line))


def filled(line: str, facts: Facts) -> str:
    """A line of advice with its facts' values. What is unknown stays a name to fill in by hand."""

    def value(found: re.Match[str]) -> str:
        fact = facts.get(found[1])
        return written(found[1], fact.value) if isinstance(fact, Known) else f"<{found[1]}>"

    return PLACEHOLDER.sub(value, line)


def written(name: str, value: Value) -> str:
    """A value as it can be typed. Lines are pasted into shells, so texts of a machine or a model are quoted for one."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**30:.3g}GiB"
    if name.endswith("_share") and isinstance(value, int | float):
        return f"{value:.0%}"
    if isinstance(value, float):
        return f"{value:.3g}"
    if name == OPTIONS and isinstance(value, tuple):
        return " ".join(value)
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return shlex.quote(PRINTABLE.sub("?", text))
