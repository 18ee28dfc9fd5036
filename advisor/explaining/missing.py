"""What a paste lacks: the line that names the error, when only what stands around it was copied.

Sources: the messages of torch.distributed.elastic, accelerate, vLLM, SGLang, Ray and Python's traceback module, all of
which point to another place for the error itself.
"""

from advisor.patterns import when_used
from advisor.reading import Passage

_POINTS_ELSEWHERE = (
    ("ChildFailedError", "The launcher only says that a process failed. Paste that process's own output, from its "
     "'Traceback' on; with torchrun, --redirects 3 --log-dir LOGS keeps it."),
    ("To enable traceback see", "The launcher only says that a process failed. Paste that process's own output, from "
     "its 'Traceback' on; with torchrun, --redirects 3 --log-dir LOGS keeps it."),
    ("Engine core initialization failed", "The engine points to an error further up. Paste what stands above, from the "
     "first 'Traceback' on."),
    ("See stack trace above", "This points to an error further up. Paste from the first 'Traceback' on."),
    ("See root cause above", "This points to an error further up. Paste from the first 'Traceback' on."),
    ("stack trace for root cause", "This points to an error further up. Paste from the first 'Traceback' on."),
    ("returned non-zero exit status", "This is what started the program, not what failed in it. Paste the output "
     "above, from the first 'Traceback' on."),
    ("subprocess-exited-with-error", "pip only says that a build failed. Paste the build's own output, from the first "
     "'error' on."),
    ("Failed building wheel", "pip only says that a build failed. Paste the build's own output, from the first 'error' "
     "on."),
    ("died with exit code", "This only says that a process died. Paste its own output, from its 'Traceback' on."),
)  # fmt: skip
_CAUSE_ABOVE = "The above exception was the direct cause"
_FRAME = when_used(r'^File "[^"]{1,300}", line \d+|^[\w./\\~<>-]{1,300}\.py:\d+')
_EXCEPTION = when_used(r"^(?:[\w.]{1,80}\.)?\w{0,60}(?:Error|Exception|Interrupt|Exit|Warning)\b")


def missing(passage: Passage) -> str | None:
    """What to paste as well, for a text that no rule knows; None where nothing points to it."""
    lines = [line.bare for line in passage.lines if line.bare]
    if not lines:
        return "The text is empty."
    for words, advice in _POINTS_ELSEWHERE:
        if passage.find(words):
            return advice
    frames = any(_FRAME.match(line) for line in lines)
    named = any(_EXCEPTION.match(line) for line in lines)
    if frames and not named:
        return "The text ends before the error is named. Paste down to the last line, which says what failed."
    if passage.find(_CAUSE_ABOVE) and not named:
        return "The first error of the chain is missing. Paste from the first 'Traceback' on."
    return None
