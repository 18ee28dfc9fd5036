"""Steps whose gain cannot be shown by what is measured are taken out before anything runs."""

from dataclasses import replace

from advisor.run.acceptance import CANNOT, DRAFTS, sets_drafting
from advisor.run.choices import Choice, Choices
from advisor.setup import Setup
from advisor.workload import Workload

COMPILATION = frozenset({"compile", "compile_mode", "compile_fullgraph", "cache_implementation"})
CHANGING = "under load batches are of ever other sizes and lengths, and each compiles anew"


def without_unjudged(choices: Choices, random_weights: bool) -> Choices:
    """The choices without steps whose gain random weights do not show; their other ways out are not tried either."""
    if not random_weights:
        return choices
    reason = f"{CANNOT}: {DRAFTS}; measure it with --weights real"
    return tuple(
        replace(choice, option=None, reason=reason) if sets_drafting(choice.change) else choice for choice in choices
    )


def without_changing_shapes(choices: Choices, baseline: Setup, setup: Setup, workload: Workload) -> Choices:
    """The choices without compilation where requests that arrive by chance are padded into batches.

    Measured, such a step took minutes to be taken back: every batch of a new shape waits for the compiler, so that 16
    requests gave 16 tokens a second instead of 99. A cache that is kept has one shape; other engines pad nothing.
    """
    at_a_rate = workload.arrivals is not None and workload.arrivals.rate_per_second is not None
    if not at_a_rate or setup.keep_cache or setup.batching == "continuous" or setup.engine == "serve":
        return choices
    return tuple(_uncompiled(choice, baseline) for choice in choices)


def _uncompiled(choice: Choice, baseline: Setup) -> Choice:
    """The choice without what it compiles; out of the plan where that is all that it does."""
    if choice.change.get("compile", "none") == "none":
        return choice
    own = {knob: getattr(baseline, knob) for knob in choice.change if knob in COMPILATION}
    if len(own) == len(choice.change):
        return replace(choice, option=None, reason=CHANGING)
    return replace(choice, mended=own, reason=f"instead: {CHANGING}")
