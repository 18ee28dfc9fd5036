"""What `apply` may use to mend a plan that fails, as the plan's facts and workload say."""

from advisor.plan import Plan
from advisor.run.ladders import Means

PACKAGES = ("accelerate", "bitsandbytes")


def means(plan: Plan) -> Means:
    """The means of a plan: what its machine has, and what its user allows."""
    packages = {name for name in PACKAGES if plan.machine.is_true(f"{name}.installed")}
    if plan.machine.is_true("kernels.accepted"):
        packages.add("kernels")
    load = plan.workload
    return Means(
        packages=frozenset(packages),
        may_quantize=load.quantize != "never",
        batch=load.batch,
        sixteen_bits="float16" if _before_ampere(plan) else "bfloat16",
    )


def _before_ampere(plan: Plan) -> bool:
    """Whether the GPU has no arithmetic for bfloat16 (compute capability below 8.0, CUDA programming guide)."""
    capability = plan.machine.number("gpu.capability")
    return plan.setup.device == "cuda" and capability is not None and capability < 8.0
