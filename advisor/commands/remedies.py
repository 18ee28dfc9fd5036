"""`perf-advisor explain FILE --model M [--plan plan.json]`: the explanation joined with the model and its setup."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advisor import planfile, rulebook
from advisor.commands import diagnose, from_error
from advisor.commands import options as common
from advisor.diagnosing import Diagnosis as Story
from advisor.diagnosing import Subject
from advisor.errors import Mistake, RequestError
from advisor.explaining import Diagnosis
from advisor.explaining.arithmetic import missing_bytes
from advisor.facts import Value
from advisor.reading import read
from advisor.remedies import Remedies, judged, remedies
from advisor.setup import knobs
from advisor.show import terminal
from advisor.witness import lengths_follow


@dataclass(frozen=True)
class Joined:
    """The diagnosis with its fixes judged against the setup in force, and what would make it fit."""

    diagnosis: Diagnosis
    remedies: Remedies

    def to_json(self) -> dict[str, Any]:
        return {**self.diagnosis.to_json(), "remedies": self.remedies.to_json()}


def join(text: str, diagnosis: Diagnosis, options: argparse.Namespace) -> Joined | None:
    """The diagnosis of `text` joined with the model; None where memory is not what failed.

    Raises:
        AdvisorError: the model or the plan cannot be read.
    """
    if not diagnosis.recognized or not diagnosis.is_memory:
        return None
    passage = read(text)
    name = "standard input" if diagnosis.source == "-" else Path(diagnosis.source).name
    error = from_error.FromError(passage, name)
    story, subject = _of_plan(options, error) if options.plan else diagnose.prepare(_like_diagnose(options), error)
    setup, _ = subject.baseline()
    diagnosis = replace(diagnosis, fixes=judged(diagnosis.fixes, setup))
    sizes = set(subject.workload.stated) | ({"batch"} if lengths_follow(passage) else set())
    known = bool(options.plan) or {"batch", "prompt_tokens"} <= sizes
    return Joined(diagnosis, remedies(story, subject, diagnosis.fixes, missing_bytes(passage), known))


def _like_diagnose(options: argparse.Namespace) -> argparse.Namespace:
    """What `diagnose` takes, with everything that explain does not ask for left open."""
    given = dict.fromkeys((*diagnose.SIZES, *diagnose.FLAGS, "set", "code", "prompts", "revision", "from_error"))
    for name in ("model", "machine", "rules", "python"):
        given[name] = getattr(options, name)
    return argparse.Namespace(**given, trust_remote_code=False, no_dry_run=True)


def _of_plan(options: argparse.Namespace, error: from_error.FromError) -> tuple[Story, Subject]:
    """The plan's setup is what was running. The text says what the machine had free; else counts this machine as it was
    last probed, else the plan's."""
    plan = planfile.read(Path(options.plan), rulebook.full_vocabulary(), options.model)
    if options.model and options.model != plan.model.name and Path(options.model).resolve() != Path(plan.model.name):
        what = f"the plan is about {plan.model.name}, not about {options.model}"
        raise RequestError(Mistake("--model", what, "leave one of the two out"))
    machine = common.recorded_machine(options) or common.last_machine() or plan.machine
    found = error.witness(machine, plan.model_facts)
    told: dict[str, Value] = {name: v for name in knobs() if (v := getattr(plan.setup, name)) is not None}
    for name, (value, place) in found.knobs.items():
        if told.get(name, value) != value:
            line = f"The plan says {name}={told[name]}, the text {value} ({place}): taken as the text says."
            terminal.talk().print(line, markup=False, soft_wrap=True)
        told[name] = value
    workload = from_error.answered(plan.workload, replace(found, workload={}))
    subject = Subject(plan.model, plan.model_facts, machine | found.machine, workload, told)
    return Story(common.rules(options), diagnose.ESTIMATORS), subject
