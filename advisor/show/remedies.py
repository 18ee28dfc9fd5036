"""What would make it fit, on the screen: the gap, then the ways out with what each would take."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from advisor.amounts import size
from advisor.remedies import Remedies, Way
from advisor.show.in_code import in_code
from advisor.workload import Workload

_SIZES = {"batch": "batch of {}", "prompt_tokens": "prompts of {} tokens"}
_TOGETHER = {False: ("still does not fit", "fits"), True: ("does not save enough either", "saves enough")}
_BASIS = {"formula": "by formula", "dry run": "by dry run"}


def screen(remedies: Remedies) -> RenderableType:
    """Below an explanation."""
    return Group("", Text("What would make it fit, by the estimate", style="bold"), *_lines(remedies))


def _lines(remedies: Remedies) -> Iterator[Text]:
    memory = remedies.estimate.memory
    if memory.total_bytes is None or memory.available_bytes is None:
        yield Text("The estimate cannot tell: too little is known of the model or the device.")
        return
    yield Text(_gap(remedies))
    for number, way in enumerate(remedies.ways, start=1):
        yield from _way(number, way, None if remedies.by_text else memory.available_bytes)
    if remedies.together:
        verdict = _TOGETHER[remedies.by_text][remedies.together_fits is True]
        yield Text(f"No change alone suffices; the plan of `diagnose --goal fit` {verdict}:")
        yield from (Text(f"    {line}", style="cyan") for line in in_code(remedies.together))
    elif remedies.sizes_known and not remedies.ways and 0 < (remedies.missing_bytes or 0) < memory.total_bytes:
        yield Text("No change that the rules know saves memory here.")


def _gap(remedies: Remedies) -> str:
    memory = remedies.estimate.memory
    assert memory.total_bytes is not None
    assert memory.available_bytes is not None
    told = (
        f"{size(memory.total_bytes)} needed of {size(memory.available_bytes)} for {_sizes(remedies.workload)} "
        f"({_BASIS[remedies.estimate.basis]})"
    )
    if not remedies.by_text:
        if remedies.missing_bytes:
            return f"{told}: {size(remedies.missing_bytes)} missing"
        return f"{told}, which would fit. If your requests are larger, say so to perf-advisor diagnose --from-error."
    missing = f"the text shows {size(remedies.missing_bytes or 0)} missing"
    if (remedies.missing_bytes or 0) >= memory.total_bytes:
        return f"{told}, which would fit; {missing}: it is about far larger requests, or another model."
    if not remedies.sizes_known:
        options = "--batch N --prompt-tokens N --new-tokens N"
        return (
            f"{told}, which would fit; {missing}. The text does not tell how large the requests were, so it is not "
            f"known what would help. Say it: perf-advisor diagnose --from-error ... {options}"
        )
    return f"{told}, which would fit; {missing}. So more is taken than predicted; what follows counts from there."


def _sizes(workload: Workload) -> str:
    """The requests that the estimate is about; those that nobody stated are assumed."""
    sizes = [("batch", f"batch {workload.batch}"), ("prompt_tokens", f"{workload.prompt_tokens} prompt tokens")]
    if workload.task == "generate":
        sizes.append(("new_tokens", f"{workload.new_tokens} new tokens"))
    return ", ".join(words if name in workload.stated else f"{words} (assumed)" for name, words in sizes)


def _way(number: int, way: Way, available: int | None) -> Iterator[Text]:
    """The change as it is typed, then what it would take, then what it costs. What only just is `available` bytes is
    too much, because the allocator loses some to rounding."""
    knobs = {name: value for name, value in way.change.items() if name not in _SIZES}
    lines = [*in_code(knobs), *(words.format(way.change[name]) for name, words in _SIZES.items() if name in way.change)]
    for mark, line in zip((str(number), *" " * len(lines)), lines, strict=False):
        yield Text.assemble(f"{mark}  ", (line, "cyan"))
    needed = "unknown" if way.total_bytes is None else size(way.total_bytes)
    verdict = {True: "enough", False: "not enough alone", None: "unknown whether it is enough"}[way.enough]
    if way.enough is False and way.total_bytes is not None and available is not None and way.total_bytes <= available:
        verdict = "too close, for the allocator loses some to rounding"
    saved = "" if way.saved_bytes is None else f", {size(way.saved_bytes)} less"
    speed = "" if way.speed is None else f"; speed x{way.speed:.2f}"
    yield Text(f"   {verdict}: needs {needed}{saved}{speed}")
    if way.quality:
        yield Text(f"   Outputs: {way.quality}", style="dim")
