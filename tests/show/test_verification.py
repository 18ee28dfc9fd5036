"""What applying a plan gave, as it reads at 80 columns without colour."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console, RenderableType

from advisor.facts import Facts, Value
from advisor.plan import Effect, Estimate, Memory, ModelReference, Plan, Speed, Step
from advisor.run.agreement import Agreement
from advisor.run.applied import Applied
from advisor.run.choices import Choice
from advisor.run.distributions import Divergence
from advisor.run.fallback import Attempt
from advisor.run.figures import Failed, Measured, Measurement, Peak, Run
from advisor.run.noise import Noise
from advisor.run.shares import Share
from advisor.run.verify import FAILS, HOLDS, NO_BETTER, SLOWER, Aim, Comparison, Verdict
from advisor.setup import Setup
from advisor.show.report import page
from advisor.show.verification import rehearsal, screen
from advisor.workload import Workload

NOW = Setup(dtype="float32", batching="loop", compile="none")
BATCH: dict[str, Value] = {"batching": "padded", "batch_size": 8}
COMPILE: dict[str, Value] = {"cache_implementation": "static", "compile": "generate"}
AIM = Aim("throughput", True, False)
MIB = 1 << 20


def shown(what: RenderableType, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(what)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def step(rule: str, change: dict[str, Value], *fallbacks: dict[str, Value]) -> Step:
    return Step(rule, "4-compile", f"about {rule}", change, Effect(None, None, None), "measured", (), fallbacks, 1)


STEPS = (step("one-prompt-at-a-time", BATCH), step("uncompiled-decoding", COMPILE, {"compile": "forward"}))


def estimate(total: float, mib: int) -> Estimate:
    return Estimate(
        Memory(None, None, None, None, None, mib * MIB, None, True),
        Speed(0.1, total * 1.1, total),
        "formula",
        None,
        None,
    )


PLAN = Plan(
    ModelReference("folder", "m", None, False), Facts(), Workload(), Facts(), NOW, {}, estimate(80, 400),
    NOW.changed(BATCH).changed(COMPILE), estimate(500, 500), STEPS, (), (), (), {}, (),
)  # fmt: skip


def side(seconds: float, mib: int, first: float = 6.0, disturbed: int = 0, **more: Any) -> Measured:
    held = Peak(mib * MIB, None, None, None, None, None)
    runs = tuple(Run(seconds, seconds / 8, 600 / seconds, 512 / seconds, None, i < disturbed) for i in range(3))
    parts: dict[str, Any] = {"load_seconds": (1.7,), "first_seconds": (first,), "load_peak": held, "run_peak": held}
    return Measured(runs, tokens=(), logits=None, versions={}, device="cpu", threads=2, **parts | more)


def applied(
    before: Measurement,
    after: Measurement,
    verdict: Verdict,
    outcome: str = "holds",
    choices: tuple[Choice, ...] | None = None,
    agreement: Agreement | None = None,
    **more: Any,
) -> Applied:
    parts: dict[str, Any] = {"aim": AIM, "drift": 0.02, "drifted": False} | more
    comparison = Comparison(
        before, after, verdict, agreement, parts["drift"], parts["drifted"], noise=parts.get("noise")
    )
    if choices is None:
        choices = tuple(Choice(one, 0, one.summary) for one in STEPS)
    attempts = (Attempt(PLAN.setup, verdict),)
    setup = PLAN.setup if outcome == "holds" else NOW
    return Applied(outcome, NOW, setup, comparison, choices, attempts, {}, parts["aim"], "real", 90.0)


AGREED = Agreement(0.92, 0.75, 1.0, 0.008, "16-bit rounding differs between kernels", None)
JUDGED = replace(
    AGREED,
    kind="16-bit rounding",
    text=Divergence(0.0012, 0.03, 0.98, 0.009, 256, (21.5, 21.6), "your prompts"),
    quality="perplexity 21.5 -> 21.6 on 256 tokens (your prompts)",
)
NOISE = Noise(3, 0.04, 0.02, 0.01, 0.07)
HELD = Verdict(HOLDS, 6.0, 0.03, "6.00 times the speed; the same setup varies by 3%")
SLOW = Verdict(SLOWER, 0.5, 0.03, "0.50 times the speed; the same setup varies by 3%")
KILLED = Failed("load", "killed by SIGKILL, as the kernel does when memory runs out", "")
ONE_WAY = (Choice(STEPS[0], 0, "x"), Choice(STEPS[1], 1, "instead: InductorError: no compiler"))
ONE_LESS = (Choice(STEPS[0], 0, "x"), Choice(STEPS[1], None, "fails: at warm-up: InductorError: no [bold]compiler"))

SCREENS = {
    "holds": applied(side(6.0, 460), side(1.0, 550, first=28.0), HELD, agreement=AGREED),
    "holds-disturbed": applied(side(6.0, 460, disturbed=1), side(1.0, 550), HELD, drifted=True, drift=0.4),
    "holds-another-way": applied(side(6.0, 460), side(1.0, 550), HELD, choices=ONE_WAY),
    "holds-without-a-step": applied(side(6.0, 460), side(1.0, 550), HELD, choices=ONE_LESS),
    "holds-where-baseline-died": applied(KILLED, side(1.0, 550), Verdict(HOLDS, None, None, "it runs")),
    "holds-correction": applied(side(1.0, 460), side(1.0, 460), Verdict(NO_BETTER, 1.0, 0.03, "x")),
    "holds-memory": applied(side(1.0, 800), side(2.0, 400), replace(HELD, gain=2.0), aim=Aim("memory", True, False)),
    "no-gain": applied(side(1.0, 460), side(2.0, 460), SLOW, "no-gain"),
    "nothing-to-do": applied(side(1.0, 460), side(1.0, 460), HELD, "no-gain", choices=()),
    "holds-step-by-step": replace(
        applied(side(6.0, 460), side(1.0, 550), HELD, choices=ONE_LESS, agreement=AGREED, noise=NOISE),
        shares={
            "one-prompt-at-a-time": Share(6.0, 5.2, 90 * MIB, 80 * MIB, 6.0, 1.0, True),
            "uncompiled-decoding": Share(0.5, 1.3, 0, None, 1.0, 2.0, False),
        },
    ),
    "holds-one-request-of-own-prompts": replace(
        applied(side(6.0, 460), side(1.0, 550), HELD, agreement=JUDGED, aim=Aim("latency", False, False)),
        own_prompts=True,
    ),
    "failed": applied(KILLED, KILLED, Verdict(FAILS, None, None, "at load: killed"), "failed"),
}  # fmt: skip


@pytest.mark.parametrize("name", SCREENS)
def test_screens_read_as_reviewed(name: str, snapshot: Callable[[str, str], None]) -> None:
    snapshot(f"verification-{name}", shown(screen(PLAN, SCREENS[name])))


@pytest.mark.parametrize("name", SCREENS)
def test_screens_fit_and_end_in_one_clear_line(name: str) -> None:
    lines = shown(screen(PLAN, SCREENS[name])).splitlines()
    assert max(map(len, lines)) <= 80
    last = shown(screen(PLAN, SCREENS[name]), width=200).splitlines()[-1]
    assert last.startswith(("Holds: ", "Failed: ", "The plan did not hold", "There is nothing to change"))


def test_a_prediction_is_shown_only_for_the_setup_it_was_made_for() -> None:
    other = replace(SCREENS["holds"], attempts=(Attempt(NOW.changed(BATCH), HELD),))
    assert "500 MiB" in shown(screen(PLAN, SCREENS["holds"])) or "0.5 GiB" in shown(screen(PLAN, SCREENS["holds"]))
    assert "500 tok/s" not in shown(screen(PLAN, other))
    assert "500 tok/s" in shown(screen(PLAN, SCREENS["holds"]))


def test_markup_in_a_reason_is_text() -> None:
    assert "[bold]compiler" in shown(screen(PLAN, SCREENS["holds-without-a-step"]))


def test_a_rehearsal_shows_program_and_order() -> None:
    planned = {
        "python": "python3", "weights": "real", "processes": ["baseline", "plan"],
        "steps": [{"rule": "one-prompt-at-a-time", "change": BATCH}], "plan": {"program": "import torch\n"},
    }  # fmt: skip
    text = shown(rehearsal(planned))
    assert "baseline, plan" in text and "batching: padded" in text and "import torch" in text
    assert text.splitlines()[-1].startswith("Nothing was run")


def test_the_steps_stand_in_the_page_too() -> None:
    told = page(screen(PLAN, SCREENS["holds-step-by-step"]))
    assert "step by step" in told and "x5.20" in told and "█" in told
    assert "step by step" not in page(screen(PLAN, SCREENS["holds"]))


def test_a_long_name_of_a_step_cuts_no_figure_off() -> None:
    found = SCREENS["holds-step-by-step"]
    name = "long-prompts-on-blackwell-without-flash-attention-4"
    longer = replace(found, shares={name: Share(6.0, 15.2, -1090 * MIB, 80 * MIB, 6.0, 1.0, True)})
    told = shown(screen(PLAN, longer))
    assert "…" not in told
    for figure in ("x6.00", "x15.20", "-1.1 GiB", "measured", "predicted", "memory"):
        assert figure in told
