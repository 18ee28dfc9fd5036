"""From a pasted text and the error rules to a diagnosis."""

from advisor.explain.cases import test_cases
from advisor.explain.diagnosis import Diagnosis, FixFound
from advisor.explain.story import explain

__all__ = ["Diagnosis", "FixFound", "explain", "test_cases"]
