"""A plan on the screen: what was found, what it costs on this machine, what to type."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from advisor.batch_facts import leanest
from advisor.facts import Facts, Unknown, Value
from advisor.loop_terms import in_loop
from advisor.merit import is_narrow
from advisor.plan import Estimate, Plan, Step
from advisor.rule import show
from advisor.setup import Setup
from advisor.show import beside, fit, tasks
from advisor.show.in_code import in_code
from advisor.show.refused import refusal, runs_now
from advisor.show.terminal import factor, settings, size, told_apart
from advisor.workload import Workload


def screen(plan: Plan, details: bool = False) -> RenderableType:
    """The whole plan. `details` adds the rules that were silent, for those who ask why not."""
    parts: list[RenderableType] = [_headline(plan), *_first(plan), ""]
    parts += [_figures(plan), *_bases(plan), *_fit(plan), "", *fit.tables(plan)]
    parts += list(_steps(plan)) or ["Nothing to change: no rule found anything that would pay here.", ""]
    parts += list(beside.notes(plan, details))
    parts += list(beside.others(plan, details))
    parts += list(_assumed(plan))
    parts += list(beside.read_in_script(plan))
    return Group(*parts)


def device_name(machine: Facts, device: str | None) -> str:
    """The product name of the device that a setup runs on."""
    name = machine.text("host.cpu" if device == "cpu" else "gpu.name")
    return name or (device or "an unknown device")


def devices_used(machine: Facts, setup: Setup) -> str:
    """The device by name, with how many there are and how many the setup uses."""
    name, count = device_name(machine, setup.device), machine.count("gpu.count") or 1
    if setup.device == "cpu" or count == 1:
        return name
    spread = setup.device_map not in (None, "none")
    return f"{count} x {name}" if spread else f"{name} (1 of {count})"


def _headline(plan: Plan) -> Text:
    load = plan.workload
    text = Text()
    text.append(plan.model.name.rstrip("/").split("/")[-1], style="bold")
    text.append(f" on {devices_used(plan.machine, plan.setup)}")
    text.append(f"\n{tasks.sizes(load)}{tasks.at_a_time(load, plan.baseline, plan.setup)}")
    if load.concurrency > 1:
        text.append(f", {load.concurrency} requests at a time")
    if load.task != "train":
        text.append(f"; goal: {load.goal}")
    return text


def _first(plan: Plan) -> Iterator[Text]:
    """What has to be mended or known before any figure counts."""
    for name, remark in (("torch", "install it"), ("transformers", "install it")):
        if plan.machine.value(f"{name}.installed") is False:
            yield Text(f"First: {name} is not installed in the target environment; {remark}.", style="bold red")
    match plan.machine.get("gpu.count"):
        case Unknown(reason):
            yield Text(f"First: the GPU cannot be asked: {reason}", style="bold red")
    context, wanted = plan.model_facts.count("model.context_tokens"), plan.workload.total_tokens
    if context is not None and wanted > context:
        what = f"First: {wanted:,} tokens are asked for; the model was made for {context:,}."
        yield Text(what, style="bold red")
    rate = plan.estimate.speed.decode_tokens_per_second
    if plan.estimate.memory.fits is False:
        yield Text("It does not fit with any change that is known here: a smaller model, or one quantized beforehand.")
    elif rate is not None and rate < UNUSABLE_TOKENS_PER_SECOND:
        yield Text("It fits, but too slowly to use: a smaller model, one quantized beforehand, or a larger GPU.")


UNUSABLE_TOKENS_PER_SECOND = 1.0
"""Decoding below this is slower than anybody reads; said in words, it changes no plan."""


def _figures(plan: Plan) -> Table:
    now, then = plan.baseline_estimate, plan.estimate
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("predicted", "now", "with the plan", ""):
        table.add_column(title, justify="left" if title == "predicted" else "right", no_wrap=True)
    totals = (estimate.memory.total_bytes for estimate in (now, then))
    free, *memory = told_apart(then.memory.available_bytes, *totals)
    table.add_row(f"memory (free: {free})", *memory, _verdict_of_fit(then))
    for row in tasks.rows(plan):
        before, after = (row.value(estimate, plan.workload) for estimate in (now, then))
        if before is None and after is None:
            continue
        runs = [runs_now(plan), then.memory.fits is not False]
        gained = factor(after / before) if before and after and all(runs) and row.is_rate else ""
        written = [
            row.write(value) if fits else "cannot run" for value, fits in zip((before, after), runs, strict=True)
        ]
        table.add_row(row.title, *written, gained)
    return table


def _verdict_of_fit(estimate: Estimate) -> str:
    if estimate.memory.fits and is_narrow(estimate):
        return "[yellow]fits narrowly[/]"
    return {True: "fits", False: "[bold red]does not fit[/]", None: "unknown"}[estimate.memory.fits]


def _bases(plan: Plan) -> Iterator[RenderableType]:
    """What the figures rest on, and why the memory rests on nothing better."""
    yield Text(_basis(plan.estimate, plan.workload), style="dim")
    now, then = plan.baseline_estimate, plan.estimate
    if now.basis != then.basis:
        yield Text(f"The memory of the present setup is by {now.basis}.", style="dim")
    if then.speed_basis and "own runs" in then.speed_basis:
        yield Text(f"Speed by {then.speed_basis}.", style="dim")
    if note := then.basis_note or now.basis_note:
        yield Text(f"Memory by formula, {note}.", style="dim")


def _basis(estimate: Estimate, load: Workload) -> str:
    bands = []
    for name, band in (("memory", estimate.memory_band), ("speed", estimate.speed_band)):
        if band:
            bands.append(f"{name} {band[0] - 1:+.0%}..{band[1] - 1:+.0%}")
    if load.task == "train":
        bands.append("no speed of training is predicted")
    elif estimate.speed.total_tokens_per_second is None:
        bands.append("no speed: nothing is known of this device with such weights (perf-advisor probe measures)")
    elif estimate.speed_band is None:
        bands.append("speed without a band: no run on such a device was compared")
    return f"by {estimate.basis}; " + ", ".join(bands)


def _fit(plan: Plan) -> Iterator[RenderableType]:
    """By how much it misses and what would fit, where it does not fit; what refuses it, where it does."""
    if step := refusal(plan):
        yield Text(f"As it is now it cannot run: {step.summary}.", style="red")
    for title, estimate, limits in (
        ("As it is now", plan.baseline_estimate, plan.limits.get("baseline", {})),
        ("With the plan", plan.estimate, plan.limits.get("plan", {})),
    ):
        if estimate.memory.fits is False:
            batch, context = limits.get("largest_batch"), limits.get("largest_context_tokens")
            missing = limits.get("shortfall_bytes")
            # What is predicted may be less than what is free, and leave the allocator no room.
            what = f"{title} it misses {size(missing)}." if missing else f"{title} it leaves the allocator no room."
            what += " " + tasks.limits(plan.workload, batch, context)
            what += _weights_to_fit(limits, plan) if title == "With the plan" else ""
            yield Text(what, style="red")
    if plan.estimate.memory.fits and is_narrow(plan.estimate):
        total, band = plan.estimate.memory.total_bytes, plan.estimate.memory_band
        most = size(round(total * band[1])) if total is not None and band is not None else ""
        told = f"It fits narrowly: at the upper end of the band it would take {most}.{_grown(plan)}"
        yield Text(told, style="yellow")


def _grown(plan: Plan) -> str:
    """Which steps take the room, where the setup of now would have fitted better: nobody gives room away unasked."""
    now = plan.baseline_estimate
    if not now.memory.fits or is_narrow(now):
        return ""
    names = [step.rule for step in plan.steps if (step.effect.memory_bytes or 0) >= NO_BYTES]
    return f" It takes more than now for {', '.join(names)}." if names else ""


def _weights_to_fit(limits: Mapping[str, Any], plan: Plan) -> str:
    """How small the weights of a plan that does not fit would have to be; nothing where that is not known."""
    most, bits = limits.get("weights_to_fit_bytes"), limits.get("bits_to_fit")
    way = ", with one prompt in a call" if leanest(plan.workload, plan.setup) != plan.setup else ""
    return "" if not most or not bits else f" Weights of {size(most)} would fit: {bits:.2f} bits each on average{way}."


def _steps(plan: Plan) -> Iterator[RenderableType]:
    runs = runs_now(plan) and plan.estimate.speed.total_tokens_per_second is not None
    for number, step in enumerate(plan.steps, start=1):
        yield Text.assemble((f"{number}  {step.rule}", "bold"), f"  {_share(step, runs, plan.workload.task)}")
        yield Padding(_step_body(step, plan), (0, 0, 1, 3))


def _share(step: Step, runs: bool, task: str) -> str:
    """What a step is predicted to gain. Where the baseline runs and speeds are known (`runs`), silence is telling."""
    speed = step.effect.speed
    parts = [factor(speed)] if speed and abs(speed - 1) >= NOTHING else []
    if speed is None and runs:
        parts.append("gain not predicted: " + ("apply measures it" if task == "generate" else "measure it"))
    if abs(step.effect.memory_bytes or 0) >= NO_BYTES:
        sign = "+" if (step.effect.memory_bytes or 0) > 0 else ""
        parts.append(f"{sign}{size(step.effect.memory_bytes)}")
    return ", ".join(parts)


def _step_body(step: Step, plan: Plan) -> Group:
    lines: list[RenderableType] = [
        Text(f"Found: {step.summary}"),
        f"Change: [green]{_written(step.change, plan)}[/]",
        Text(f"Because {_because(step)}", style="dim"),
    ]
    lines += [Text(f"In your script: {place}") for place in beside.script_places(step.because)]
    if step.effect.quality:
        what = "Mind" if plan.workload.task == "train" else "Outputs"
        lines.append(Text(f"{what}: {step.effect.quality}"))
    if step.fallbacks:
        ways = "; else ".join(_written(change, plan) for change in step.fallbacks)
        lines.append(f"[dim]If it does not hold: {ways}[/]")
    return Group(*lines)


def _written(change: Mapping[str, Value], plan: Plan) -> str:
    """A change as it is typed: knobs, or for training, which nothing here runs, the user's own lines of Python."""
    if plan.workload.task != "train":
        return settings(change)
    computes = plan.setup.dtype if plan.setup.dtype in ("bfloat16", "float16") else "bfloat16"
    lines = "; ".join(in_code(change, computes, plan.workload.batch))
    if (wanted := change.get("mixed_precision")) and (now := plan.baseline.mixed_precision) in ("bf16", "fp16"):
        # The two exclude each other: TrainingArguments refuses both.
        lines = lines.replace(f"{wanted}=True", f"{wanted}=True, {now}=False") if wanted != now else lines
    return escape(in_loop(lines, plan.training_loop))


NO_BYTES = 2**19
"""Less than this reads 0 MiB."""
NOTHING = 0.005
"""Below half a per cent a factor reads x1.00 and says nothing."""
MOST_REASONS = 5
"""Reasons that are written out; `perf-advisor rule ID` has them all."""


def _because(step: Step) -> str:
    """What settled the rule: knobs that change first, then machine, model and workload, then what is taken as given."""
    ordered = sorted(step.because, key=lambda because: _weight(str(because["clause"]), step))
    told = [_reason(because) for because in ordered[:MOST_REASONS]]
    rest = len(ordered) - len(told)
    return "; ".join(told) + (f"; and {rest} more" if rest else "")


def _weight(clause: str, step: Step) -> int:
    name = clause.removeprefix("not ").split()[0]
    if name.startswith("setup."):
        return 0 if name.removeprefix("setup.") in step.change else 3
    return 2 if name.endswith((".installed", ".found", ".version")) else 1


def _reason(because: dict[str, object]) -> str:
    value = because.get("value")
    clause = str(because["clause"])
    if value is None or isinstance(value, bool) or str(value) in clause:
        return clause
    if isinstance(value, float):
        return f"{clause} ({value:.3g})"
    return f"{clause} ({show(value)})" if isinstance(value, int | str) else clause


def _assumed(plan: Plan) -> Iterator[RenderableType]:
    assumed = [question for question in plan.questions if question["source"] == "assumed"]
    if not assumed:
        return
    yield Text("Assumed; the plan would differ otherwise:")
    for question in assumed:
        yield Text(f"  {question['fact']} = {show(question['answer'])}   ({option(question['fact'])})", style="dim")
    yield ""


def option(fact: str) -> str:
    """The command line option that states a fact."""
    kind, name = fact.split(".", 1)
    return escape(f"--set {name}=VALUE") if kind == "setup" else f"--{name.replace('_', '-')}"
