"""What a plan's programs are about: the model, with which weights, and the environment that runs it."""

from packaging.version import InvalidVersion, Version

from advisor.errors import Mistake, PlanError
from advisor.facts import Facts
from advisor.plan import Plan
from advisor.probe import shapes
from advisor.run.subject import Subject


def subject(plan: Plan, weights: str | None) -> Subject:
    """What the plan's programs are about.

    Raises:
        PlanError: real weights are asked for where there are none, or the shipped shape is unknown.
    """
    reference = plan.model
    config = None
    if reference.kind == "shape":
        if reference.name not in shapes.names():
            raise PlanError(Mistake("model.name", f"{reference.name!r} is no shipped shape"))
        config = shapes.load(reference.name).config
    random = random_weights(plan, weights)
    beside = reference.kind in ("folder", "hub") and plan.model_facts.is_true("model.tokenizer")
    versions = {package: version_of(package, plan.machine) for package in ("transformers", "torch")}
    quantized = not random and plan.model_facts.text("model.checkpoint_quantization") not in (None, "none")
    return Subject(
        reference, plan.workload, random, config, tokenizer=beside and not random, quantized=quantized, **versions
    )


def random_weights(plan: Plan, weights: str | None) -> bool:
    """Whether the weights are random: as asked for, else where only a configuration is at hand.

    Raises:
        PlanError: real ones are asked for where there are none.
    """
    if weights == "real" and plan.model.random_weights:
        raise PlanError(Mistake("model", "only a configuration is at hand, no weights", "use --weights random"))
    return plan.model.random_weights if weights is None else weights == "random"


def version_of(package: str, machine: Facts) -> Version | None:
    """The installed version of transformers or torch, as a recipe's subject takes it; None where it is not known."""
    try:
        return Version(machine.text(f"{package}.version") or "")
    except InvalidVersion:
        return None
