"""The Python side of the commands: the same checks, the same objects, nothing printed to stdout."""

import argparse
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from advisor import applying, child, errorbook, explaining, planfile, rulebook, tuning
from advisor.applying import Applied, Budget
from advisor.commands import diagnose as command
from advisor.commands import options
from advisor.commands.apply import note_runs, with_prompts
from advisor.commands.failures import explainer
from advisor.commands.load import under_load
from advisor.errors import Mistake, PlanError, RequestError
from advisor.facts import Value, fits, read_machine
from advisor.plan import Plan
from advisor.rule import show
from advisor.run.generating import own_arguments_lines
from advisor.run.recipe import recipe
from advisor.setup import Setup
from advisor.workload import DECLARATIONS, out_of_range

PathLike = str | Path


def diagnose(
    model: PathLike,
    *,
    setup: Mapping[str, Value] | None = None,
    machine: PathLike | None = None,
    rules: Sequence[PathLike] = (),
    python: PathLike | None = None,
    code: PathLike | None = None,
    prompts: PathLike | None = None,
    from_error: PathLike | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dry_run: bool = True,
    **workload: Value,
) -> Plan:
    """The plan of `perf-advisor diagnose`, without a question: what is not stated is assumed and listed in it.

    `model` is a Hub id, a folder, a config.json or a shipped shape. `workload` takes the fields of
    `advisor.workload.Workload` (task, goal, batch, prompt_tokens, new_tokens, concurrency, repeats, mixed_lengths ...),
    `setup` knobs of your present setup by name. The other arguments are the options of the same names.

    Raises:
        AdvisorError: a request that cannot be answered; every mistake with its place and a remedy.
    """
    words = [f"{name}={show(value)}".replace(", ", ",") for name, value in (setup or {}).items()]
    given = argparse.Namespace(
        model=str(model),
        set=words,
        machine=_text(machine),
        rules=[str(folder) for folder in rules],
        python=_text(python),
        code=_text(code),
        revision=revision,
        trust_remote_code=trust_remote_code,
        no_dry_run=not dry_run,
        prompts=_text(prompts),
        from_error=_text(from_error),
        **_workload(workload),
    )
    return command.make(given, None)


def _workload(stated: Mapping[str, Value]) -> dict[str, Any]:
    """The stated fields as the command's options take them, the others absent.

    Raises:
        RequestError: a field that there is not, or a value that makes no sense; all together.
    """
    known = {declaration.name.split(".")[1]: declaration for declaration in DECLARATIONS}
    found: dict[str, Any] = dict.fromkeys((*command.SIZES, *command.FLAGS))
    wrong: list[Mistake] = []
    for name, value in stated.items():
        if name not in known:
            wrong.append(Mistake(name, "no field of a workload", f"there are: {', '.join(known)}"))
        elif not fits(value, known[name]):
            wrong.append(Mistake(name, f"{value!r} is no {known[name].kind.value}"))
        elif (why := out_of_range(known[name], value)) is not None:
            wrong.append(Mistake(name, why))
        else:
            found[name] = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
    if wrong:
        raise RequestError(*wrong)
    return found


def apply(
    plan: Plan | PathLike,
    *,
    python: PathLike | None = None,
    weights: str | None = None,
    each_step: bool = False,
    budget: Budget | None = None,
    tune_seconds: float | None = None,
    prompts: PathLike | None = None,
    request_rate: float | None = None,
    requests: int | None = None,
) -> Applied:
    """Measure baseline and plan side by side in child processes, as `perf-advisor apply` does; the verification.

    `plan` is a plan or its file; `weights` is `real` or `random`; `each_step` measures the steps one by one first.
    `tune_seconds` tries setups near the plan for so long and takes the quickest in its place; `prompts` is a file of
    your own prompts. With `request_rate` so many requests a second arrive by chance, `requests` of them (32).

    Raises:
        AdvisorError: the plan cannot be read or carried out; every mistake with its place.
    """
    interpreter = child.target_python(_text(python))
    found = _plan(plan)
    found, ids = with_prompts(found, prompts, interpreter)
    if tune_seconds is not None:
        found = tuning.retold(found, tuning.tune(found, interpreter, weights, budget_seconds=tune_seconds))
    found = under_load(found, request_rate, requests)
    return applying.apply(
        found,
        interpreter,
        weights,
        budget=budget or Budget(),
        each_step=each_step,
        noted=note_runs(found),
        explain=explainer(),
        prompts=ids,
    )


def explain(
    text: str | bytes | BaseException, *, machine: PathLike | None = None, rules: Sequence[PathLike] = ()
) -> explaining.Diagnosis:
    """What a pasted failure means, as `perf-advisor explain` says it. An exception counts with its traceback, bytes as
    the UTF-8 that they are.

    `machine` is a recorded machine; without it counts this one as it was last probed.

    Raises:
        AdvisorError: the machine or a folder of rules cannot be read, or `text` is none of the three.
    """
    own = [folder for path in rules if (folder := _path("rules", path) / "errors").is_dir()]
    full = rulebook.full_vocabulary
    recorded = options.last_machine() if machine is None else read_machine(_path("machine", machine), full())
    return explaining.explain(_as_text(text), "text", recorded, errorbook.load(rulebook.shipped() / "errors", *own))


def _path(name: str, given: object) -> Path:
    if isinstance(given, str | Path):
        return Path(given)
    raise RequestError(Mistake(name, f"{type(given).__name__} is no path"))


def _as_text(given: object) -> str:
    match given:
        case str():
            return given
        case bytes() | bytearray():
            return given.decode("utf-8", errors="replace")
        case BaseException():
            return "".join(traceback.format_exception(given))
    what = f"{type(given).__name__} is no text of an error"
    raise RequestError(Mistake("text", what, "give the traceback as a str, or the exception itself"))


@dataclass(frozen=True)
class Loaded:
    """A model in this process as a plan sets it up, and what its plan says to `model.generate`.

    `tokenizer` is None where none lies beside the weights. `program` is the text that was run to load the model.
    """

    model: Any
    tokenizer: Any
    arguments: Mapping[str, Any]
    program: str = field(repr=False)


def load(plan: Plan | PathLike, *, setup: Setup | None = None, weights: str | None = None) -> Loaded:
    """Load the plan's model into this process, in the plan's setup or in `setup` (that of a verification).

    The text that runs is the one that `apply --export` writes; values of the plan enter it as literals, checked against
    the knobs.

    Raises:
        AdvisorError: the plan cannot be read or carried out.
        Exception: what torch and transformers raise while they load.
    """
    found = _plan(plan)
    about, chosen = applying.subject(found, weights), setup or found.setup
    _refuse_elsewhere(chosen)
    program = recipe(about, chosen)
    names: dict[str, Any] = {"__name__": "perf_advisor_program"}
    exec(compile(program, "<perf-advisor program>", "exec"), names)  # noqa: S102  # our own text, see above
    names["model"] = names["load"]()
    exec(compile("\n".join(own_arguments_lines(about, chosen)), "<perf-advisor arguments>", "exec"), names)  # noqa: S102
    tokenizer = names["AutoTokenizer"].from_pretrained(names["MODEL"]) if about.tokenizer else None
    return Loaded(names["model"], tokenizer, names["arguments"], program)


def _refuse_elsewhere(setup: Setup) -> None:
    """Refuse what does not run as a model in this process with arguments to its generate.

    Raises:
        PlanError: the setup asks for such a thing; each with its place.
    """
    told = {
        "batching": (setup.batching == "continuous", "continuous batching is a call of its own, not an argument"),
        "engine": (setup.engine == "serve", "transformers serve is a process of its own"),
        "tensor_parallel": ((setup.tensor_parallel or 1) > 1, "ranks are processes of their own, started by torchrun"),
    }
    hint = "take the program of: perf-advisor apply --export FILE.py"
    wrong = [Mistake(f"plan.setup.{name}", why, hint) for name, (there, why) in told.items() if there]
    if wrong:
        raise PlanError(*wrong)


def _plan(plan: Plan | PathLike) -> Plan:
    if isinstance(plan, Plan):
        return plan
    if not isinstance(plan, str | Path):
        what = f"{type(plan).__name__} is no plan"
        raise PlanError(Mistake("plan", what, "give what advisor.diagnose returned, or the file of a plan"))
    return planfile.read(Path(plan), rulebook.full_vocabulary())


def _text(path: PathLike | None) -> str | None:
    return None if path is None else str(path)
