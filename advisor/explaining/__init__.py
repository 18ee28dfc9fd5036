"""From a pasted text and the error rules to a diagnosis."""

from advisor.explaining.cases import test_cases
from advisor.explaining.diagnosis import Diagnosis, FixFound
from advisor.explaining.story import explain

__all__ = ["Diagnosis", "FixFound", "explain", "test_cases"]
