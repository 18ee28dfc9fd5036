"""The lengths that a script gives its tokenizer: what padding fills up to, and where longer texts are cut."""

from collections.abc import Iterator

from advisor.reading_code.calls import Call
from advisor.reading_code.findings import Reading, Statement


def padded(reading: Reading) -> Iterator[Statement]:
    """padding="max_length" with a length: that is what the model gets, however short a prompt is."""
    for call in [*reading.tokenizes, *reading.piped]:
        if reading.script.literal(call.arguments.get("padding")) == "max_length":
            yield from _length(reading, call)


def cut(reading: Reading) -> Iterator[Statement]:
    """truncation=True with a length: the longest sequence, by which the memory of training goes."""
    for call in reading.tokenizes:
        if reading.script.literal(call.arguments.get("truncation")) in (True, "longest_first"):
            yield from _length(reading, call)


def _length(reading: Reading, call: Call) -> Iterator[Statement]:
    given = call.arguments.get("max_length")
    value = reading.script.literal(given)
    if given is not None and isinstance(value, int) and not isinstance(value, bool):
        yield Statement("prompt_tokens", value, given.lineno)
