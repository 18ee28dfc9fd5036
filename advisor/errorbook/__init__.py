"""The rules of rules/errors: what a pasted text means. One YAML file for each cause."""

from advisor.errorbook.load import load
from advisor.errorbook.rule import MEMORY_KINDS, STAGES, Case, ErrorRule, Fix, Sign

__all__ = ["MEMORY_KINDS", "STAGES", "Case", "ErrorRule", "Fix", "Sign", "load"]
