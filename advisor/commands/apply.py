"""`perf-advisor apply --plan FILE`: run baseline and plan side by side, keep what holds."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Group, RenderableType

from advisor import applying, own_runs, planfile, rulebook, tuning
from advisor.applying import Applied, Budget
from advisor.commands import install
from advisor.commands import options as common
from advisor.commands.failures import explainer
from advisor.commands.load import under_load
from advisor.commands.serve_file import write_serve
from advisor.errors import Mistake, RequestError
from advisor.estimate import formula
from advisor.files import why_unwritable
from advisor.plan import Plan
from advisor.probe import speed
from advisor.run import prompts as own_prompts
from advisor.run.figures import Measured
from advisor.run.prompts import Ids
from advisor.run.serve_command import serve_script
from advisor.setup import Setup
from advisor.show import report, terminal
from advisor.show import tuning as tuning_screen
from advisor.show import verification as screen
from advisor.tuning import Tuned


def run(options: argparse.Namespace) -> int:
    """0 when the plan holds or gains nothing (nothing was made worse), 1 when it failed."""
    plan = planfile.read(Path(options.plan), rulebook.full_vocabulary(), options.model, options.assistant)
    python = common.target_python(options)
    _check_places(options)
    if options.export_serve:
        serve_script(plan, plan.setup)  # refused before minutes are spent
    plan, prompts = with_prompts(plan, options.prompts, python, warn)
    loaded = under_load(plan, options.request_rate, options.requests)
    if options.dry_run:
        return _dry_run(loaded, python, options)
    install.offer(plan, python, options)
    talk = terminal.talk()

    def heard(line: str) -> None:
        talk.print(line, style="dim", markup=False, soft_wrap=True)

    tuned = _tuned(plan, python, options, heard)
    asked, plan = plan, plan if tuned is None else tuning.retold(plan, tuned)
    plan = under_load(plan, options.request_rate, options.requests)
    applied = applying.apply(
        plan,
        python,
        options.weights,
        heard,
        Budget(limit_seconds=options.limit_seconds) if options.limit_seconds else Budget(),
        each_step=options.steps,
        noted=note_runs(plan),
        explain=explainer(options.rules or ()),
        prompts=prompts,
    )
    # Shown first: figures that took minutes are not lost with a place that has gone meanwhile.
    if options.json:
        told = {} if tuned is None else {"tuning": tuned.to_json(plan.baseline)}
        common.print_json({**applied.to_json(), **told})
    tried = () if tuned is None else (tuning_screen.screen(asked, tuned),)
    shown = Group(*tried, screen.screen(plan, applied))
    if not options.json:
        terminal.out().print(shown)
    _hand_over(plan, applied, shown, options)
    return 1 if applied.outcome == "failed" else 0


def _tuned(plan: Plan, python: str, options: argparse.Namespace, heard: Callable[[str], None]) -> Tuned | None:
    """What trying setups near the plan found; None where that was not asked for."""
    if not (options.tune or options.tune_seconds):
        return None
    return tuning.tune(plan, python, options.weights, heard, float(options.tune_seconds or tuning.USUAL_SECONDS))


def warn(line: str) -> None:
    """A remark that one must know, on stderr."""
    terminal.talk().print(line, style="yellow", markup=False, soft_wrap=True)


def with_prompts(
    plan: Plan, path: str | Path | None, python: str, warned: Callable[[str], None] = lambda _: None
) -> tuple[Plan, tuple[Ids, ...] | None]:
    """The plan for the user's own prompts, and these as token ids; the plan as it is where there are none.

    `warned` hears it where they are of other sizes than the plan was made for.

    Raises:
        RequestError: the prompts cannot be read, or there is no tokenizer for them.
    """
    if path is None:
        return plan, None
    vocabulary = plan.model_facts.count("model.vocab_size")
    ids = own_prompts.as_ids(own_prompts.read(Path(path)), plan.model, python, vocabulary)
    workload = own_prompts.fitted(plan.workload, ids)
    if other := own_prompts.other_sizes(plan.workload, workload):
        warned(other)
    return replace(plan, workload=workload), ids


def note_runs(plan: Plan) -> Callable[[Setup, Measured], None]:
    """What is measured goes to the user's own runs, where the plan is of this machine: plans travel."""
    here = common.last_machine()
    key = speed.machine_key(plan.machine)
    load = plan.workload
    if here is None or speed.machine_key(here) != key or load.task != "generate" or not load.repeats:
        return lambda _setup, _measured: None

    def note(setup: Setup, measured: Measured) -> None:
        if measured.serving is not None:
            return  # what waits for arrivals, or goes through a server, is not what is predicted
        told = formula.uncorrected(plan.model_facts, plan.machine, load, setup)
        about = {
            "model_type": plan.model_facts.text("model.type"),
            "parameters": plan.model_facts.count("model.parameters"),
            **{name: getattr(load, name) for name in ("batch", "concurrency", "prompt_tokens", "new_tokens")},
        }
        kind = formula.own_kind(plan.model_facts, plan.machine, load, setup)
        own_runs.note(key, kind, about, vars(told.speed), measured.to_json())

    return note


def _dry_run(plan: Plan, python: str, options: argparse.Namespace) -> int:
    """Show both programs and the order of the processes; with --export, write the plan's."""
    rehearsal = applying.rehearse(plan, python, options.weights)
    if options.export:
        applying.write_export(Path(options.export), applying.export(plan, plan.setup, options.weights))
    write_serve(plan, plan.setup, options.export_serve)
    if options.json:
        common.print_json(rehearsal)
    else:
        # Not wrapped: the program is there to be copied.
        terminal.out().print(screen.rehearsal(rehearsal), soft_wrap=True)
    return 0


def _check_places(options: argparse.Namespace) -> None:
    """What cannot be written is said before minutes are spent on measuring.

    Raises:
        RequestError: a file that was asked for cannot be written.
    """
    asked = (("--export", options.export), ("--report", options.report), ("--export-serve", options.export_serve))
    wrong = [
        Mistake(name, f"{path} cannot be written: {why}")
        for name, path in asked
        if path and (why := why_unwritable(Path(path)))
    ]
    if wrong:
        raise RequestError(*wrong)


def _hand_over(plan: Plan, applied: Applied, shown: RenderableType, options: argparse.Namespace) -> None:
    """Write what was asked for: the final setup as a program, the result as a page."""
    talk = terminal.talk()
    if options.export:
        applying.write_export(Path(options.export), applying.export(plan, applied.setup, options.weights))
        talk.print(f"The final setup as a program: {options.export}", markup=False, soft_wrap=True)
    write_serve(plan, applied.setup, options.export_serve)
    if options.report:
        report.write(Path(options.report), shown)
        talk.print(f"The result as a page: {options.report}", markup=False, soft_wrap=True)
