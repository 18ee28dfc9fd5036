"""A read text: its lines, the decisive message, the stretch that tells where it failed, and the facts `text.*`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from advisor.facts import Facts, Known, Value
from advisor.patterns import when_used
from advisor.reading import derived, trace
from advisor.reading.accounts import on_device, only_spoken_of, told_shortage
from advisor.reading.calls import tensor
from advisor.reading.cleaning import Line, clean
from advisor.reading.figures import figures, last_shape, listed_processes
from advisor.reading.forms import Form
from advisor.reading.messages import Said, decisive
from advisor.reading.phases import phase
from advisor.reading.prose import complaints, fine_on_fewer, model_loads, uneven_devices
from advisor.reading.settings import settings
from advisor.reading.squeezed import Squeezed, phrase, squeeze
from advisor.reading.talk import is_talk
from advisor.reading.told import tells
from advisor.reading.tongues import in_english
from advisor.reading.training import runs, told_runs
from advisor.text_facts import TEXT

_MODEL_CALL = r"\w{0,40}(?:model|net|encoder|backbone|extractor)\w{0,40}\(.{0,200}"
_APPENDS = when_used(
    r"\w\.(?:append|extend)\(\s*(?!(?:text|msg|message|prompt|path|name|row|line|word|answer|response|time|score)s?\b)"
    r"\w+(?:\[[^\[\]]{0,60}\]|\.\w+|\(\)){0,4}\s*\)\s*$"
    rf"|\w\.append\(\s*{_MODEL_CALL}\)\s*$"
    rf"|\w\[\w{{1,40}}\]\s*=\s*{_MODEL_CALL}|\w\s*\+=\s*\[{_MODEL_CALL}"
    r"|(?:^|\W)(\w{1,60})\s*=\s*(?:torch|np|jnp|tf)\.(?:cat|concat|concatenate|stack|vstack|hstack)\(\s*[\[(]\s*\1\s*,"
)
FEW = 1
"""Figures of memory up to which a text is an account rather than a message."""
SPOKEN = ("torch", "torch_bare", "class_only", "prose", "signal", "kernel_log")
"""Forms that people also write in sentences of their own."""
_TO_HOST = when_used(r"\.(?:cpu|item|numpy|tolist)\(|\.to\(\W{0,2}cpu|\bdecode\(")
_COMMENT = when_used(r"\s{1,40}#.*$")
_NO_AUTOGRAD = ("xla", "tensorflow", "tensorflow_pool", "ggml", "onnxruntime")
TRAINING = ("train_forward", "backward", "optimizer")
"""Phases of a step of training."""
LONGEST_DESCRIPTION = 60
"""Lines. What people write about a slow run is short; longer texts are logs."""
_EXCEPTION = when_used(
    r"^Traceback \(|^[\w.]{0,80}(?:Error|Exception)\b\s*(?::|$)|^(?:fatal|panic|error)\b.?:", re.IGNORECASE
)
_RAISED = when_used(r"(?:[\w.]{1,80}\.)?\w{0,60}(?:Error|Exception)\b\s?:.{0,100}tried to allocate \d", re.IGNORECASE)
_INTERACTIVE = when_used(r">>> |<ipython-input-|(?:Cell|Input) In ?\[|In \[\d+\]|File ~?\S{0,200}ipykernel")
_CUDA_BUILD = when_used(r"\d\+cu\d\d")
_TRAINS = when_used(
    r"(?<![a-z.])(?:train(?:ing|er|_|\.)|fine[-_]?tun|epochs?\b|criterion\b|optimi[sz]er\b|loss\b|step \d)|\.fit\(",
    re.IGNORECASE,
)
_INPUT_MOVES = when_used(
    r"(?<![\w.])(?:xs?|y|b|t|v|batch|data|img|imgs|images?|inputs?|input_ids|ids|tokens?|toks|enc|encoded|encodings?"
    r"|samples?"
    r"|labels?|targets?|masks?|attention_mask|waveform|audio|features?|pixel_values|prompts?|tensor|frames?|clip|video"
    r"|latents?"
    r"|noise|model_inputs)(?:\[[^\[\]]{0,30}\]|\.\w{1,20})?\.(?:to|cuda)\("
    r"|(?<![\w.])(?:tokenizer|tok|processor|feature_extractor|torch\.tensor|torch\.from_numpy"
    r"|transform)\([^()]{0,160}\)\.(?:to|cuda)\("
)
"""Inputs that are moved to the device: no phase of its own, and no move of a model."""
_PLAIN_CALL = when_used(
    r"^(?:[\w, *]{1,60}=\s*)?(?:self\.)?"
    r"(?!(?:load|build|create|get|make|init|setup|prepare|save|compile|wrap|quantize)_?)"
    r"\w*(?:model|net|vae|encoder|module|network)\w*\(.{1,300}"
)


@dataclass(frozen=True)
class Passage:
    """What a text says, ready to be judged. `figures` holds what the message states, without derived values."""

    lines: tuple[Line, ...]
    squeezed: Squeezed
    said: Said | None
    scope: tuple[int, int]
    figures: dict[str, int | float]
    facts: Facts
    tensor_at: int = -1
    """Where the call stands that tells which tensor failed; -1 where none does."""

    @property
    def of_training(self) -> bool:
        """Whether a step of training failed, by the phase or by what stands around it."""
        return self.facts.text("text.phase") in TRAINING or self.facts.is_true("text.training")

    def find(self, written: str) -> tuple[int, int] | None:
        """Begin and end of the last place of a phrase in the squeezed text."""
        wanted, text = phrase(written), self.squeezed.text
        return None if self.squeezed.lacks(wanted.needed) else wanted.last(text, 0, len(text))

    def find_in_scope(self, written: str) -> tuple[int, int] | None:
        """The same within the stretch that tells where it failed."""
        return phrase(written).last(self.squeezed.text, *self.scope)

    def line_at(self, position: int) -> str:
        """The line that stands at a position of the squeezed text, as it was shown."""
        return self.lines[self.squeezed.line_at(position)].shown


def read(text: str) -> Passage:
    """Everything that can be read from `text` without knowing the rules."""
    lines = clean(text)
    described = len(lines) <= LONGEST_DESCRIPTION and not any(_EXCEPTION.search(line.bare) for line in lines)
    if described:
        lines = in_english(lines)
    squeezed = Squeezed.of([line.bare for line in lines])
    said = decisive(lines, squeezed)
    if said and (
        _is_talk(lines, said) or (described and said.form.name in SPOKEN and only_spoken_of(lines, said.line))
    ):
        said = None
    if described and said is None:
        said = _told(lines, squeezed)
    elif described and said and said.form.name == "prose" and on_device(lines[said.line]):
        said = replace(said, form=replace(said.form, kind="gpu_oom"))
    whole = 0, len(lines)
    first, last = trace.scope(lines, said.line) if said else whole
    scope = squeezed.start(first), squeezed.start(last)
    told = figures(squeezed.text, said) if said else {}
    values: dict[str, Value] = {**told, **_settled(lines, squeezed, (first, last), described)}
    values |= _run(lines, (first, last), said, values)
    tensor_at = -1
    if said:
        values |= {**_of_message(said, told, squeezed), "tells": tells(lines, described and _few(told))}
        values |= _of_code(lines, first, last, values)
        if failed := tensor(lines, first, last, last_shape(squeezed.text, said)):
            values["tensor"], tensor_at = failed[0], squeezed.start(failed[1])
    known = {f"text.{name}": Known(value, "the text") for name, value in values.items() if name in _DECLARED}
    return Passage(lines, squeezed, said, scope, told, Facts(known), tensor_at)


def _is_talk(lines: tuple[Line, ...], said: Said) -> bool:
    """Whether memory that runs out is only spoken of; below a traceback it never is."""
    if not said.form.weak and said.form.name not in SPOKEN and said.form.kind != "killed":
        return False
    if any(line.bare.startswith("Traceback (") for line in lines):
        return False
    return is_talk(lines, shown=_RAISED.match(lines[said.line].bare) is not None)


def _few(told: dict[str, int | float]) -> bool:
    """Whether a text gives so few figures that it is an account rather than a message."""
    return _sizes(told) <= FEW


def _sizes(told: dict[str, int | float]) -> int:
    return sum(name.endswith("_bytes") for name in told)


def _told(lines: tuple[Line, ...], squeezed: Squeezed) -> Said | None:
    """The line of a description that tells in its own words that memory ran out."""
    found = told_shortage(lines, complaints(" ".join(line.bare for line in lines))["slow"] is True)
    if found is None or is_talk(lines, shown=False):
        return None
    kind, line = found
    return Said(Form("told", kind, (), weak=True), squeezed.start(line), squeezed.start(line + 1), line, 1)


_DECLARED = {declaration.name.removeprefix("text.") for declaration in TEXT}


def _settled(lines: tuple[Line, ...], squeezed: Squeezed, scope: tuple[int, int], described: bool) -> dict[str, Value]:
    """What is read without the message; `scope` are the lines that tell where it failed."""
    found: dict[str, Value] = {
        "settings": settings(squeezed),
        "cuda_build": bool(_CUDA_BUILD.search(squeezed.text)),
        "description": described,
    }
    if described:
        found |= complaints(" ".join(line.bare for line in lines))
    elif len(lines) <= LONGEST_DESCRIPTION:
        found["fewer_gpus_fine"] = fine_on_fewer(" ".join(line.shown for line in lines))
    first, last = scope
    during = phase(squeezed.text, squeezed.start(first), squeezed.start(last))
    if during == "to_device":
        rest = squeeze(" ".join(_INPUT_MOVES.sub("", line.bare) for line in lines[first:last]))
        during = phase(rest, 0, len(rest))
    return found if during is None else {**found, "phase": during}


def _run(
    lines: tuple[Line, ...], scope: tuple[int, int], said: Said | None, values: dict[str, Value]
) -> dict[str, Value]:
    """Whether it was training or inference. Of a step of training, the forward pass is no prompt's."""
    if values["description"]:
        trains, infers = told_runs(" ".join(line.bare for line in lines))
        return {"training": trains, "inference": infers}
    shown, message = values["settings"], said.line if said else len(lines)
    no_grad = isinstance(shown, tuple) and "no_grad" in shown
    trains, infers = runs(lines, scope, message, no_grad)
    found: dict[str, Value] = {"training": trains, "inference": infers}
    if said and trains and values.get("phase") in (None, "prefill"):
        found["phase"] = "train_forward"
    return found


def _of_message(said: Said, told: dict[str, int | float], squeezed: Squeezed) -> dict[str, Value]:
    found: dict[str, Value] = {"kind": said.form.kind, "message": said.form.name, "failures": said.times}
    found["figures"] = _sizes(told)
    if said.form.backend:
        found["backend"] = said.form.backend
    return found | derived.derive(told, listed_processes(squeezed.text, said), last_shape(squeezed.text, said))


def _of_code(lines: tuple[Line, ...], first: int, last: int, values: dict[str, Value]) -> dict[str, Value]:
    """What the user's own lines show: results that are collected, a model called outside any gradient switch."""
    own = [_COMMENT.sub("", code) for code in trace.own_code(lines, first, last)]
    shown = values.get("settings")
    quiet = isinstance(shown, tuple) and "no_grad" not in shown and values.get("message") not in _NO_AUTOGRAD
    calls = [code for code in own if _PLAIN_CALL.match(code) and not code.startswith(("class ", "def "))]
    return {
        "model_loads": model_loads(lines[first:last]),
        "uneven_devices": uneven_devices(lines),
        "interactive": any(_INTERACTIVE.match(line.bare) for line in lines[first:last]),
        "collects_outputs": any(_APPENDS.search(code) and not _TO_HOST.search(code) for code in own),
        "plain_call": bool(calls) and quiet and not _trains(lines[first:last], values),
    }


def _trains(lines: Sequence[Line], values: dict[str, Value]) -> bool:
    """Whether a step of training failed: by the phase, or by the names of files and calls around it."""
    return (
        values.get("phase") in TRAINING
        or values["training"] is True
        or any(_TRAINS.search(line.bare) for line in lines)
    )
