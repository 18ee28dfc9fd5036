"""Runs a program as if nobody stood between it and its terminal, and keeps the end of what it says."""

from advisor.passing.program import Ended, NotStarted, run
from advisor.passing.tail import Tail

__all__ = ["Ended", "NotStarted", "Tail", "run"]
