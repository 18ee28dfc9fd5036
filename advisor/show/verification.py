"""What applying a plan gave, on the screen: both sides measured, what was predicted, what is kept, what to type."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from advisor.plan import Estimate, Plan
from advisor.run.applied import Applied
from advisor.run.figures import Failed, Measured, Measurement
from advisor.run.verify import HOLDS
from advisor.show import healing, serving
from advisor.show.terminal import factor, rate, seconds, settings, size
from advisor.show.waterfall import waterfall


def screen(plan: Plan, applied: Applied) -> RenderableType:
    """The side-by-side table, the steps, how far the outputs agree, and one last line."""
    parts: list[RenderableType] = [_figures(plan, applied), *_remarks(applied), ""]
    parts += [*waterfall(applied), *_steps(applied)]
    parts += [*healing.tried(applied), *_failures(applied)]
    parts += [*_agreement(applied), _last_line(applied)]
    return Group(*parts)


def rehearsal(planned: Mapping[str, Any]) -> RenderableType:
    """What `--dry-run` shows: the order of the processes, the steps and the plan's program."""
    order = ", ".join(planned["processes"])
    steps = [f"  {step['rule']}: {settings(step['change'])}" for step in planned["steps"]]
    return Group(
        Text(f"Would run with {planned['python']} and {planned['weights']} weights, a fresh process each: {order}"),
        *steps,
        "",
        Text("The plan's program:", style="bold"),
        Text(planned["plan"]["program"]),
        Text("Nothing was run. Without --dry-run it is.", style="bold"),
    )


def _figures(plan: Plan, applied: Applied) -> Table:
    """One row a figure: now and with the plan, each measured beside its prediction, and the ratio."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("measured", no_wrap=True)
    titles = ("now", "predicted", "plan", "predicted", "") if applied.choices else ("now", "predicted")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True, style="dim" if title == "predicted" else "")
    reached = applied.attempts[-1].setup if applied.attempts else applied.setup
    foretold = plan.estimate if reached == plan.setup else None
    if serving.is_served(applied):
        rows = serving.rows(applied)
    else:
        rows = _rows(applied.baseline, plan.baseline_estimate, applied.comparison.plan, foretold)
    for row in rows:
        table.add_row(*row[: 1 + len(titles)])
    return table


def _rows(
    before: Measurement, expected_before: Estimate, after: Measurement, expected_after: Estimate | None
) -> Iterator[tuple[str, ...]]:
    """Rows of the table; a side that failed, and a figure that nobody predicted, is a dash."""
    for title, name, predicted, write, less_is_better in (
        ("time to first token", "ttft_seconds", "speed.ttft_seconds", seconds, True),
        ("decode", "decode_tokens_per_second", "speed.decode_tokens_per_second", rate, False),
        ("all requests", "total_tokens_per_second", "speed.total_tokens_per_second", rate, False),
        ("one request", "seconds", None, seconds, True),
        ("peak memory", "peak_bytes", "memory.total_bytes", size, True),
        ("first request", "slowest_first_seconds", None, seconds, True),
        ("load", "quickest_load_seconds", None, seconds, True),
    ):
        one, other = _figure(before, name), _figure(after, name)
        ratio = (one / other if less_is_better else other / one) if one and other else None
        foretold = [_predicted(estimate, predicted) for estimate in (expected_before, expected_after)]
        shown = [write(value) for value in (one, foretold[0], other, foretold[1])]
        yield title, *shown, "" if ratio is None else factor(ratio)


def _figure(measurement: Measurement, name: str) -> Any:
    return getattr(measurement, name) if isinstance(measurement, Measured) else None


def _predicted(estimate: Estimate | None, name: str | None) -> Any:
    if estimate is None or name is None:
        return None
    part, figure = name.split(".")
    return getattr(getattr(estimate, part), figure)


def _remarks(applied: Applied) -> Iterator[RenderableType]:
    """What one must know to read the figures."""
    sides = [side for side in (applied.baseline, applied.comparison.plan) if isinstance(side, Measured)]
    sides = sides if applied.choices else sides[:1]
    runs, disturbed = sum(len(side.runs) for side in sides), sum(side.disturbed_runs for side in sides)
    counted = sum(len(side.counted) for side in sides)
    if sides:
        yield Text(f"{_what_counts(applied, sides, counted)}; {applied.weights} weights", style="dim")
    if told := serving.remark(applied):
        yield Text(told, style="dim")
    if disturbed:
        left = "not counted" if all(side.quiet for side in sides) else "counted where nothing else was at hand"
        yield Text(f"Other programs disturbed {disturbed} of {runs} runs, {left}.", style="yellow")
    if (found := applied.comparison.noise) and found.baseline is not None:
        times = {2: "twice"}.get(found.rounds, f"{found.rounds} times")
        yield Text(f"Your own setup, measured {times}, differs from itself by {found.baseline:.1%}.", style="dim")
    if applied.comparison.drifted:
        yield Text(
            f"The baseline itself changed by {applied.comparison.drift or 0:.0%} between rounds: "
            "measure again on a quiet machine before you rely on this.",
            style="yellow",
        )
    later = applied.pays_back_after_requests
    if applied.outcome == "holds" and later:
        said = "1 request" if later == 1 else f"{later:,} requests"
        yield Text(f"The slower start pays back after {said} in one process.")


def _what_counts(applied: Applied, sides: list[Measured], counted: int) -> str:
    """Which requests the figures and the verdict are of."""
    whose = ", of your own prompts" if applied.own_prompts else ""
    if applied.aim.repeats:
        return f"medians of {counted} runs after warm-up{whose}"
    first = sum(len(side.first_seconds) for side in sides)
    return f"judged by the first request of {first} processes, compilation included{whose}"


def _steps(applied: Applied) -> Iterator[RenderableType]:
    """Every step of the plan: kept with its change, or taken back with the reason."""
    for choice in applied.choices:
        if choice.kept and applied.outcome == "holds":
            mark = ("kept", "green") if choice.option == 0 else ("kept, another way", "green")
            body: RenderableType = settings(choice.change)
        else:
            mark = ("taken back", "yellow")
            body = Text(applied.reason(choice), style="dim")
        yield Text.assemble((mark[0], mark[1]), f"  {choice.step.rule}")
        yield Padding(body, (0, 0, 0, 3), expand=False)
    if applied.choices:
        yield ""


def _failures(applied: Applied) -> Iterator[RenderableType]:
    last = applied.attempts[-1].explained if applied.attempts else None
    sides = (("now", applied.baseline, applied.explained), ("with the plan", applied.comparison.plan, last))
    for name, side, explained in sides:
        if isinstance(side, Failed):
            yield Text(f"{name}: failed at {side.stage}", style="red")
            yield Padding(Text(side.reason), (0, 0, 0, 3), expand=False)
            yield from healing.meaning(explained)
            yield ""


def _agreement(applied: Applied) -> Iterator[RenderableType]:
    found = applied.comparison.agreement
    if found is None:
        return
    parts = []
    if found.greedy_tokens_equal is not None:
        parts.append(f"{found.greedy_tokens_equal:.0%} of greedy tokens equal")
    if found.first_tokens_equal is not None:
        parts.append(f"{found.first_tokens_equal:.0%} of first ones")
    if found.logit_distance is not None:
        parts.append(f"scores {found.logit_distance:.2g} apart")
    if found.text is not None and math.isfinite(found.text.mean):
        text = found.text
        parts.append(
            f"over {text.positions} tokens of {text.source} the best one equal for {text.same_best:.0%}, "
            f"distributions {text.mean:.2g} nats apart (at most {text.largest:.2g})"
        )
    yield Text(f"Outputs: {', '.join(parts) or 'not compared'}")
    if found.quality is not None:
        yield Padding(Text(f"quality: {found.quality}"), (0, 0, 0, 3), expand=False)
    yield Padding(Text(found.broken or found.expected, style="dim"), (0, 0, 1, 3), expand=False)


def _last_line(applied: Applied) -> Text:
    """What was gained, and what to type next."""
    verdict = applied.comparison.verdict
    if applied.outcome == "failed":
        return Text("Failed: neither setup runs here; nothing was changed. The reasons stand above.", style="bold red")
    if applied.outcome == "no-gain":
        what = "There is nothing to change" if not applied.choices else "The plan did not hold"
        return Text(f"{what}: your setup stays as it is.", style="bold")
    if verdict.gain is None:
        gained = "Holds: it runs, your own setup does not"
    elif verdict.word != HOLDS:
        gained = "Holds: a correction that costs no speed"
    elif applied.judged_by_memory:
        gained = f"Holds: {verdict.gain:.2f} times less memory"
    else:
        gained = f"Holds: {verdict.gain:.2f} times as fast"
    return Text.assemble((f"{gained}. ", "bold green"), "Add --export FILE.py to get it as a program.")
