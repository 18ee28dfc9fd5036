"""`perf-advisor check --plan FILE --min-speedup N`: measure a plan again and say in one line whether it still pays."""

import argparse
from pathlib import Path

from advisor import applying, planfile, rulebook
from advisor.applying import Applied, Budget
from advisor.commands import options as common
from advisor.commands.apply import note_runs, warn, with_prompts
from advisor.commands.failures import explainer
from advisor.commands.load import under_load
from advisor.show import terminal


def run(options: argparse.Namespace) -> int:
    """0 when the measured gain is at least the one asked for, else 1."""
    plan = planfile.read(Path(options.plan), rulebook.full_vocabulary(), options.model, options.assistant)
    python = common.target_python(options)
    plan, prompts = with_prompts(plan, options.prompts, python, warn)
    plan = under_load(plan, options.request_rate, options.requests)
    talk = terminal.talk()
    applied = applying.apply(
        plan,
        python,
        options.weights,
        lambda line: talk.print(line, style="dim", markup=False, soft_wrap=True),
        Budget(limit_seconds=options.limit_seconds) if options.limit_seconds else Budget(),
        noted=note_runs(plan),
        explain=explainer(options.rules or ()),
        prompts=prompts,
    )
    holds = applied.speedup is not None and applied.speedup >= options.min_speedup
    if options.json:
        asked = {"holds": holds, "min_speedup": options.min_speedup}
        common.print_json({**applied.to_json(), "check": asked})
    else:
        print(line(applied, options.min_speedup, holds))
    return 0 if holds else 1


def line(applied: Applied, asked: float, holds: bool) -> str:
    """The verdict in one line, with what was measured beside what was asked for."""
    word = "holds" if holds else "does not hold"
    if applied.speedup is None:
        verdict = applied.comparison.verdict
        return f"{word}: {verdict.word}: {verdict.reason}"
    what = "the gain" if applied.judged_by_memory else "the speed"
    back = sum(not choice.kept for choice in applied.choices)
    taken = f", {back} of {len(applied.choices)} steps taken back" if back else ""
    return f"{word}: {what} is {applied.speedup:.2f} times the baseline's, at least {asked:g} is asked for{taken}"
