"""One setup measured in a fresh process: figures, or the stage at which it failed and why.

Whatever the process does (is killed, hangs, crashes, answers nonsense) ends in one of the two; nothing is left behind.
"""

import base64
import re
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from advisor import child
from advisor.run import distributions
from advisor.run.figures import Failed, Logits, Measured, Measurement, Peak, Run, Served

WORKER = Path(__file__).with_name("worker.py")
LOGIT_PROMPTS = 8
# Nothing may ask questions, and progress bars only blur the log that explains a failure.
ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONUNBUFFERED": "1"}


def measure(
    python: str,
    recipe: str,
    clock: bool,
    budget_seconds: float,
    limit_seconds: float,
    patience_seconds: float = 0.0,
    heard: Callable[[str], None] = lambda _: None,
    worker: Path = WORKER,
    prompts: Sequence[Sequence[int]] | None = None,
    judge: bool = False,
    alone: bool = False,
) -> Measurement:
    """Run `recipe` in a fresh process of `python`; `heard` gets the stages.

    `clock` is false for recipes whose generate takes no stopping criteria, or makes several tokens in a step. Timed
    runs take about `budget_seconds`; the process is ended after `limit_seconds`, and waits at most `patience_seconds`
    in all for other programs to leave the cores alone. `prompts` are the user's own, as token ids, instead of the
    recipe's; with `judge` the model is also asked what it thinks of a fixed text. `alone` is for a process that serves
    one request: its compiler finds nothing that an earlier process left.
    """
    reached = ["start"]

    def note(message: dict[str, Any]) -> None:
        stage = message.get("stage")
        if isinstance(stage, str) and (stage != reached[-1] or "number" in message):
            reached.append(stage)
            heard(f"{stage} {message['number']}" if "number" in message else stage)

    request = {
        "recipe": recipe,
        "clock": clock,
        "budget_seconds": budget_seconds,
        "patience_seconds": patience_seconds,
        "logit_prompts": LOGIT_PROMPTS,
        "prompts": prompts,
        "judge": judge,
        "alone": alone,
    }
    match child.run(python, worker, request, limit_seconds, ENVIRONMENT, note):
        case child.Died(reason, log):
            return Failed(reached[-1], without_secrets(error_in(log, reason)), log)
        case child.Answered(answer, log):
            return _read(answer, log, reached[-1])


def _read(answer: dict[str, Any], log: str, stage: str) -> Measurement:
    """Figures from the child's answer; an answer that is not as agreed is a failure like any other."""
    try:
        return measured_from(answer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Failed(stage, f"its answer cannot be read ({type(error).__name__}: {error})", log)


def measured_from(answer: dict[str, Any]) -> Measured:
    """The answer of worker.py as values.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the answer is not as agreed.
    """
    runs = tuple(_run(run) for run in answer["runs"])
    if not runs or not all(run.seconds > 0 for run in runs):
        raise ValueError("no timed run")
    return Measured(
        runs=runs,
        load_seconds=(float(answer["load"]["seconds"]),),
        first_seconds=(float(answer["warmup_seconds"]),),
        load_peak=_peak(answer["load"]),
        run_peak=_peak(answer["memory"]),
        tokens=tuple(tuple(map(int, row)) for row in answer["tokens"]),
        logits=_logits(answer["logits"]),
        versions={str(name): str(version) for name, version in answer["versions"].items()},
        device=str(answer["device"]),
        threads=int(answer["threads"]),
        free_bytes=answer["load"].get("free_bytes"),
        distributions=distributions.read(answer.get("distributions")),
    )


def _run(data: dict[str, Any]) -> Run:
    serving = data.get("serving")
    return Run(**{**data, "serving": None if serving is None else Served(**serving)})


def _peak(data: dict[str, Any]) -> Peak:
    cuda = data["cuda"] or {}
    return Peak(
        resident_bytes=data["peak_bytes"],
        anonymous_bytes=data["anonymous_bytes"],
        file_bytes=data["file_bytes"],
        allocated_bytes=cuda.get("allocated_bytes"),
        reserved_bytes=cuda.get("reserved_bytes"),
        used_by_all_bytes=cuda.get("used_by_all_bytes"),
    )


def _logits(data: dict[str, Any] | None) -> Logits | None:
    if data is None:
        return None
    values = array("f", base64.b64decode(data["float32"]))
    prompts = tuple(map(int, data["prompts"]))
    if len(values) != len(prompts) * int(data["vocabulary"]):
        raise ValueError("logits of another size")
    return Logits(prompts, int(data["vocabulary"]), values)


# The last line of a Python traceback: a dotted name that ends like an exception's, at the beginning of a line.
ERROR_LINE = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit|Iteration|Failure|Warning))(?:: (.*))?$")
LONGEST_REASON = 300


def error_in(log: str, otherwise: str) -> str:
    """The exception that ended a Python process by its log, else `otherwise` (how the process ended)."""
    if not otherwise.startswith("exit code"):
        return otherwise
    lines = log.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if len(starts) > 1 and any("ChildFailedError" in line for line in lines[starts[-1] :]):
        starts.pop()  # torchrun's own, behind the one of the rank that failed
    for line in (line.removeprefix("[rank0]: ") for line in lines[starts[-1] if starts else 0 :]):
        if found := ERROR_LINE.match(line):
            return line.strip()[:LONGEST_REASON] if found[2] else found[1]
    return otherwise


SECRET = re.compile(r"\b(hf_|sk-|gh[pousr]_)\w{8,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")


def without_secrets(text: str) -> str:
    """`text` with access tokens and passwords in addresses blotted out."""
    return SECRET.sub("***", text)
