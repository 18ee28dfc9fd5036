"""`perf-advisor diagnose --from-error FILE`: the text of a failure says what machine, setup and workload were."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from advisor import errorbook, rulebook
from advisor.commands import explain as command
from advisor.errors import Mistake, RequestError
from advisor.explaining import explain
from advisor.facts import Facts
from advisor.plan import Plan
from advisor.reading import Passage, read
from advisor.show import terminal
from advisor.witness import Witness, witness
from advisor.workload import Workload


@dataclass(frozen=True)
class FromError:
    """A text whose failure is known, and how it is called in sources."""

    passage: Passage
    name: str
    cause: str | None = None

    def witness(self, machine: Facts, model: Facts) -> Witness:
        """What it tells, said on stderr line by line."""
        found = witness(self.passage, self.name, machine, model, self.cause)
        talk = terminal.talk()
        for line in found.lines():
            talk.print(f"From the error: {line}", style="dim", markup=False, soft_wrap=True)
        if found.elsewhere:
            what = "It happened on a device that this machine does not have; packages are taken as they are here."
            talk.print(f"{what} --machine FILE names that machine.", style="dim", soft_wrap=True)
        return found


def of(options: argparse.Namespace) -> FromError | None:
    """The text of --from-error.

    Raises:
        RequestError: it cannot be read, or no rule knows the failure in it.
    """
    if not getattr(options, "from_error", None):
        return None
    source = options.from_error
    name = "standard input" if source == command.STDIN else Path(source).name
    text = command.text_from(source, options)
    rules = errorbook.load(rulebook.shipped() / "errors", *command.own_folders(options))
    diagnosis = explain(text, name, None, rules)
    if not diagnosis.recognized:
        hint = "paste the whole traceback into it, down to the last line of the error"
        raise RequestError(Mistake("--from-error", f"no rule knows the text of {name}", hint))
    return FromError(read(text), name, diagnosis.cause)


def answered(workload: Workload, found: Witness) -> Workload:
    """The workload with what the text states, and the goal to run at all where memory ran out."""
    for name, (value, _) in found.workload.items():
        if name not in workload.stated:
            workload = workload.told(name, value)
    if found.kind is not None and "goal" not in workload.stated:
        workload = workload.told("goal", "fit")
    return workload


def say_doubt(plan: Plan, error: FromError) -> None:
    """Where the estimate sees no shortage although memory ran out, say which sizes nobody stated."""
    if error.passage.said is None or plan.baseline_estimate.memory.fits is not True:
        return
    unstated = [name for name in ("batch", "prompt_tokens", "new_tokens") if name not in plan.workload.stated]
    options = " ".join(f"--{name.replace('_', '-')} N" for name in unstated)
    what = "Memory ran out, and yet by the estimate the present setup fits."
    why = f" The text does not tell these sizes, so they are assumed: {options}" if unstated else ""
    terminal.talk().print(what + why, markup=False, soft_wrap=True)
