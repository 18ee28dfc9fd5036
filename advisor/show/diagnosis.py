"""A diagnosis on the screen: what was found, what it costs here, what to type."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from advisor.explaining import Diagnosis, FixFound
from advisor.show.in_code import in_code

_MARKS = {"yes": ("→", "green"), "already": ("=", "dim"), "unknown": ("?", "yellow")}
_NAMES = {
    "gpu_oom": "GPU memory ran out", "cpu_oom": "Host memory ran out", "killed": "The process was killed",
    "host_pinned": "Page-locked host memory ran out", "kv_cache_budget": "The engine's memory budget does not suffice",
    "quant_dispatch": "The quantized model does not fit on the GPU", "disk_or_shm": "Disk or shared memory ran out",
    "alloc_failed_library": "A library could not have its memory", "error": "A known error",
}  # fmt: skip


def screen(diagnosis: Diagnosis) -> RenderableType:
    """The whole diagnosis. Texts of users are shown as they are, never read as markup."""
    if not diagnosis.recognized:
        return Group(*_unknown(diagnosis))
    parts: list[RenderableType] = [_headline(diagnosis)]
    if diagnosis.quoted_line:
        parts.append(_indented(Text(diagnosis.quoted_line, style="dim")))
    parts += ["", Text(diagnosis.what), *(_indented(Text(line)) for line in diagnosis.arithmetic)]
    parts += ["", Text(diagnosis.why), "", *_doubt(diagnosis)]
    parts += [*_fixes(diagnosis.fixes, diagnosis.training), Text(_rule_line(diagnosis), style="dim")]
    return Group(*parts)


def _headline(diagnosis: Diagnosis) -> Text:
    name = _NAMES.get(diagnosis.kind or "", diagnosis.kind or "")
    during = f" ({diagnosis.phase.replace('_', ' ')})" if diagnosis.phase else ""
    return Text.assemble((f"{name}{during}: ", "bold"), (diagnosis.summary, "bold"))


def _unknown(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    if diagnosis.what:
        yield Text.assemble((_source(diagnosis), "bold"), f": {diagnosis.what}")
        return
    yield Text.assemble((_source(diagnosis), "bold"), ": no rule knows this text.")
    yield Text(diagnosis.missing or "Paste the whole traceback, down to the last line of the error.")


def _doubt(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    """What to find out, where the text allows two causes."""
    if diagnosis.missing:
        yield Text(diagnosis.missing, style="yellow")
    if diagnosis.candidates and diagnosis.question:
        yield Text("The text tells little. It allows two causes:", style="yellow")
        yield from (_indented(Text(f"{each.cause}: {each.summary}")) for each in diagnosis.candidates)
        yield Text(f"To tell them apart: {diagnosis.question}")
        yield ""


def _fixes(fixes: tuple[FixFound, ...], training: bool) -> Iterator[RenderableType]:
    if not fixes:
        return
    yield Text("What to do", style="bold")
    for fix in sorted(fixes, key=lambda fix: _order(fix.applies)):
        mark, style = _MARKS.get(fix.applies, ("×", "dim"))
        yield Text.assemble((f"{mark} ", style), fix.summary, (_remark(fix.applies), "dim"))
        if not fix.applies.startswith("no"):
            yield from (_indented(line) for line in _to_type(fix, training))
    yield ""


def _order(applies: str) -> int:
    """What applies stands first, what is ruled out last."""
    names = ["yes", "unknown", "already"]
    return names.index(applies) if applies in names else len(names)


def _remark(applies: str) -> str:
    if applies == "yes":
        return ""
    if applies == "unknown":
        return "  (unknown whether this machine can)"
    return "  (in force already)" if applies == "already" else f"  ({applies})"


def _to_type(fix: FixFound, training: bool) -> Iterator[Text]:
    if fix.command:
        yield Text(fix.command, style="cyan")
    # The allocator is told by a variable, which is the command.
    change = {name: value for name, value in (fix.change or {}).items() if not (fix.command and name == "allocator")}
    yield from (Text(line, style="cyan") for line in in_code(change, training=training))


def _rule_line(diagnosis: Diagnosis) -> str:
    return f"cause {diagnosis.cause}, read from {_source(diagnosis)}"


def _source(diagnosis: Diagnosis) -> str:
    return "standard input" if diagnosis.source == "-" else diagnosis.source


def _indented(part: RenderableType) -> RenderableType:
    return Padding(part, (0, 0, 0, 4))
