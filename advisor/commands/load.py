"""`apply --request-rate R --requests N`: the plan's workload as requests that arrive by themselves."""

from dataclasses import replace

from advisor.errors import Mistake, RequestError
from advisor.plan import Plan
from advisor.workload import USUAL_REQUESTS, Arrivals, wrong_arrivals


def under_load(plan: Plan, rate: float | None, requests: int | None) -> Plan:
    """The plan with requests that arrive at this rate; as it is without one.

    Raises:
        RequestError: a number of requests without a rate, or one that cannot be made.
    """
    if rate is None:
        if requests is not None:
            raise RequestError(Mistake("--requests", "is the number of requests at a rate", "add --request-rate R"))
        return plan
    found = Arrivals(requests or USUAL_REQUESTS, rate)
    if wrong := wrong_arrivals(found):
        raise RequestError(Mistake("--request-rate, --requests", wrong))
    # A process that serves arrivals is no process for one request.
    return replace(plan, workload=replace(plan.workload, arrivals=found, repeats=True))
