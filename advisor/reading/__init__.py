"""From a pasted text to facts about the failure in it. Pure: nothing here touches the machine."""

from advisor.reading.masking import masked
from advisor.reading.passage import Passage, read

__all__ = ["Passage", "masked", "read"]
