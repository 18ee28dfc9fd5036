"""From a pasted text to facts about the failure in it. Pure: nothing here touches the machine."""

from advisor.reading.masking import masked, masked_words
from advisor.reading.passage import Passage, read

__all__ = ["Passage", "masked", "masked_words", "read"]
