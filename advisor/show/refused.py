"""Setups that fit and yet cannot run: the library or the first forward pass refuses them, so they have no speed."""

from advisor.plan import Plan, Step

REFUSALS = frozenset({
    "flash-attention-without-its-package", "flash-attention-3-without-its-package",
    "flash-attention-4-without-its-package", "flash-attention-on-an-older-gpu", "flash-attention-3-on-another-gpu",
    "flash-attention-4-on-another-gpu", "flash-attention-on-cpu-or-apple-gpu", "flash-attention-in-a-class-without-it",
    "flash-attention-on-wide-heads", "fused-attention-in-a-class-without-it",
})  # fmt: skip
"""Rules that mend nothing slower or larger, but a backend of attention that is not there."""


def refusal(plan: Plan) -> Step | None:
    """The step without which the present setup cannot run; None where there is none."""
    if plan.baseline.attn_implementation == plan.setup.attn_implementation:
        return None
    return next((step for step in plan.steps if step.rule in REFUSALS), None)


def runs_now(plan: Plan) -> bool:
    """Whether the present setup can run, as far as is known."""
    return plan.baseline_estimate.memory.fits is not False and refusal(plan) is None
