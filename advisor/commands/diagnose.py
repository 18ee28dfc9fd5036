"""`perf-advisor diagnose MODEL`: probe, ask at most five questions, rank, write the plan."""

import argparse
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from advisor import baseline, named_folders, planfile, reading_code
from advisor.commands import from_error, own_script
from advisor.commands import options as common
from advisor.commands.probe import look
from advisor.diagnosing import Ask, Closer, Diagnosis, Estimators, Subject
from advisor.errors import Mistake, PlanError, RequestError
from advisor.estimate import band, devices, fit_table, formula, memory, split
from advisor.estimate.dryrun import estimate as dryrun
from advisor.estimate.dryrun.ask import ask as ask_dry_run
from advisor.facts import Facts, Unknown, Value
from advisor.plan import Estimate, ModelReference, Plan
from advisor.probe import model as models
from advisor.probe import shapes
from advisor.rule import show
from advisor.run import prompts as own_prompts
from advisor.setup import Setup, knobs
from advisor.show import plan as screen
from advisor.show import terminal
from advisor.workload import Workload

SIZES = ("task", "goal", "batch", "prompt_tokens", "new_tokens", "concurrency", "quantize")
FLAGS = ("repeats", "mixed_lengths", "reads_attention_weights", "turns", "grounded", "sampling")
DEFAULT_OUTPUT = Path("plan.json")


def run(options: argparse.Namespace) -> int:
    """Print the plan and write it; 0."""
    if options.list_shapes:
        print("\n".join(shapes.names()))
        return 0
    if options.list_knobs:
        for name, knob in knobs().items():
            print(f"{name}: {', '.join(knob.values) or knob.kind.value}\n    {knob.line}")
        return 0
    if options.model is None:
        hint = "perf-advisor diagnose --list-shapes lists models that need no download"
        raise RequestError(Mistake("MODEL", "which model? a Hub id, a folder, a config.json or a shape", hint))
    output = _output(options)
    plan = make(options, common_ask(options))
    if output:
        planfile.write(plan, output)
    if options.json:
        common.print_json(plan.to_json())
        return 0
    console = terminal.out()
    console.print(screen.screen(plan, options.details))
    if output:
        _say_next(plan, options, output)
    return 0


def make(options: argparse.Namespace, ask: Ask | None) -> Plan:
    """The plan for what the options say; open questions go to `ask`."""
    error = from_error.of(options)
    story, subject = prepare(options, error)
    plan = story.plan(subject, ask)
    return from_error.with_its_step(plan, error, _predict(story)) if error else plan


def _predict(story: Diagnosis) -> from_error.Predict:
    """How a plan's subject would do in another setup, as closely as the plan itself was judged."""

    def predict(plan: Plan, setup: Setup) -> Estimate:
        about = (plan.model_facts, plan.machine, plan.workload)
        rough = {setup: story.estimators.estimate(*about, setup)}
        return story.estimators.closer(*about, rough)[setup]

    return predict


def prepare(options: argparse.Namespace, error: from_error.FromError | None) -> tuple[Diagnosis, Subject]:
    """What is to be diagnosed, by the options and by a failure's text, and what judges it."""
    rules = common.rules(options)
    script = own_script.of(options)
    told = _settled(common.stated_knobs(options))
    workload = stated_workload(options, script)
    python = common.target_python(options)
    reference, model, config = models.find_with_config(
        options.model, python, options.revision, options.trust_remote_code
    )
    workload = _possible_task(workload, model)
    if options.prompts:
        workload = own_prompts.stated(workload, Path(options.prompts), reference, python, vars(options))
    recorded = common.recorded_machine(options)
    machine = recorded if recorded is not None else look(options, with_speed=True)
    found = error.witness(machine, model) if error else None
    if found:
        machine, workload = machine | found.machine, from_error.answered(workload, found)
    if reference.kind in ("folder", "config"):
        # The plan may be applied from another folder than this one.
        reference = replace(reference, name=str(Path(reference.name).resolve()))
        named_folders.remember(Path(reference.name))
    _refuse_absent_device(told, machine)
    machine = machine | devices.rates(machine)
    shown = {**(found.knobs if found else {}), **script.knobs_for(workload.task)}
    read = {name: pair for name, pair in shown.items() if name not in told and _here(name, pair[0], machine)}
    stated = {**{name: value for name, (value, _) in read.items()}, **told}
    places = {name: place for name, (_, place) in read.items()}
    heard = own_script.facts(script, told, options.batch is not None)
    subject = Subject(reference, model, machine, workload, stated, heard, places)
    estimators = ESTIMATORS
    if recorded is None and not options.no_dry_run:
        estimators = replace(ESTIMATORS, closer=_by_dry_run(config, python))
    return Diagnosis(rules, estimators), subject


def _settled(told: Mapping[str, Value]) -> Mapping[str, Value]:
    """The stated knobs, the folder of an assistant as its whole path: the plan may be applied from another folder."""
    assistant = told.get("assistant_model")
    return {**told, "assistant_model": named_folders.settled(assistant)} if isinstance(assistant, str) else told


def _by_dry_run(config: Mapping[str, Any], python: str) -> Closer:
    """Memory by the model's own code in the target environment, with progress on stderr; by formula where it fails."""

    def closer(
        model: Facts, machine: Facts, workload: Workload, estimates: Mapping[Setup, Estimate]
    ) -> Mapping[Setup, Estimate]:
        versions = {name: version for name in ("torch", "transformers") if (version := machine.text(f"{name}.version"))}
        if len(versions) < 2:
            return estimates
        talk = terminal.talk()

        def heard(line: str) -> None:
            talk.print(line, style="dim", markup=False, soft_wrap=True)

        found = dryrun.closer(
            model, machine, workload, estimates, lambda cases: ask_dry_run(config, cases, python, versions, heard)
        )
        asked = {setup: dryrun.case(model, machine, workload, setup, estimates[setup]) for setup in estimates}
        return {
            setup: band.closer(machine, setup, estimate, failed=not isinstance(asked[setup], Unknown))
            for setup, estimate in found.items()
        }

    return closer


def _possible_task(workload: Workload, model: Facts) -> Workload:
    """An encoder reads texts where nobody said what it is for; asked to generate, it is refused."""
    if workload.task != "generate" or not model.is_true("model.encoder_only"):
        return workload
    if "task" in workload.stated:
        what = "this model reads texts and generates none"
        raise RequestError(Mistake("--task generate", what, "say --task encode for its embeddings"))
    terminal.talk().print("This model reads texts and generates none: taken as --task encode.", style="dim")
    return workload.told("task", "encode")


def _here(name: str, value: Value, machine: Facts) -> bool:
    """Whether what a script states can be so on this machine: it may have been written for another one."""
    return name != "device" or value == "cpu" or value == baseline.baseline({}, machine, Facts())[0].device


def _refuse_absent_device(stated: Mapping[str, Value], machine: Facts) -> None:
    """A device that torch is known not to have cannot be anybody's present setup."""
    device = stated.get("device")
    if device in (None, "cpu") or machine.value("torch.sees_gpu") is None:
        return
    build = machine.text("torch.build")
    here = {"cuda": "cuda", "rocm": "cuda"}.get(build or "", build) if machine.is_true("torch.sees_gpu") else None
    if device != here:
        what = f"device={device}: torch finds no such device on this machine"
        raise RequestError(Mistake("--set", what, f"it finds: {here + ', ' if here else ''}cpu"))


ESTIMATORS = Estimators(
    estimate=formula.estimate,
    largest_batch=memory.largest_batch,
    largest_context=memory.largest_context,
    break_even_calls=formula.break_even_calls,
    break_even_acceptance=formula.break_even_acceptance,
    split=split.split,
    fit_table=fit_table.fit_table,
)


def stated_workload(options: argparse.Namespace, script: reading_code.Code) -> Workload:
    """The workload with what the options state, then what the script states; the rest stays assumed."""
    workload = Workload()
    for name in SIZES:
        if (value := getattr(options, name)) is not None:
            workload = workload.told(name, value)
    for name in FLAGS:
        if (answer := getattr(options, name)) is not None:
            workload = workload.told(name, answer == "yes")
    return own_script.with_sizes(workload, script)


def common_ask(options: argparse.Namespace) -> Ask | None:
    """How questions are put to a person; None where nobody can or wants to answer."""
    if not common.may_ask(options):
        return None
    from advisor.show.questions import ask

    return ask


def _output(options: argparse.Namespace) -> Path | None:
    """Where the plan goes: -o, else plan.json unless that is somebody else's file; nowhere for --json without -o."""
    if options.output:
        path = Path(options.output)
        if not path.parent.is_dir():
            raise PlanError(Mistake(str(path), "the folder does not exist", "make it first, or name another with -o"))
        return path
    if options.json:
        return None
    if DEFAULT_OUTPUT.exists() and not planfile.looks_like_a_plan(DEFAULT_OUTPUT):
        what = "exists and is no plan of this program, so it is left alone"
        raise PlanError(Mistake(str(DEFAULT_OUTPUT), what, "name another file with -o"))
    return DEFAULT_OUTPUT


def _say_next(plan: Plan, options: argparse.Namespace, output: Path) -> None:
    talk = terminal.talk()
    if plan.workload.task != "generate":
        talk.print(f"Plan written to {output}. It is not measured here: time it in your own program.", soft_wrap=True)
    elif plan.estimate.memory.fits is False:
        talk.print(f"Plan written to {output}. By the estimate it cannot run here.", soft_wrap=True)
    else:
        command = f"[bold]perf-advisor apply --plan {shlex.quote(str(output))}[/]"
        prove = "Prove it" if plan.steps else "Check the figures"
        talk.print(f"Plan written to {output}. {prove}: {command}", soft_wrap=True)
    if options.no_dry_run and not options.machine and plan.workload.task == "generate":
        talk.print(
            "[dim]The same without --no-dry-run holds the memory against the model's own code.[/]", soft_wrap=True
        )
    talk.print(f"[dim]The same without questions: {escape(command_line(plan, options))}[/]", soft_wrap=True)


def command_line(plan: Plan, options: argparse.Namespace) -> str:
    """The command that gives this plan again without a question."""
    words = ["perf-advisor", "diagnose", _model_word(plan.model, options.model), "--no-input"]
    load = plan.workload
    answered = {question["fact"] for question in plan.questions}
    for name in (*SIZES, *FLAGS):
        if name in load.stated or f"workload.{name}" in answered:
            words += [f"--{name.replace('_', '-')}", _word(getattr(load, name))]
    knobs = {name: getattr(plan.baseline, name) for name, source in plan.baseline_sources.items() if source == "you"}
    for name, value in knobs.items():
        words += ["--set", f"{name}={show(value).replace(', ', ',')}"]
    for option in ("code", "from_error", "machine", "python", "revision", "output"):
        if value := getattr(options, option):
            words += [f"--{option.replace('_', '-')}", value]
    for folder in options.rules or ():
        words += ["--rules", folder]
    if options.trust_remote_code:
        words.append("--trust-remote-code")
    words += ["--no-dry-run"] if options.no_dry_run else []
    return shlex.join(words)


def _model_word(reference: ModelReference, typed: str) -> str:
    return typed if reference.kind in ("folder", "config") else reference.name


def _word(value: Value) -> str:
    """A workload's value as its option takes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
