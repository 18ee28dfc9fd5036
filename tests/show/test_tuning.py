"""What tuning tried, as it reads at 80 columns without colour."""

import io
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from advisor.facts import Facts
from advisor.plan import Estimate, Memory, ModelReference, Plan, Speed
from advisor.setup import Setup
from advisor.show.tuning import screen
from advisor.tuning import Tuned
from advisor.workload import Workload

NOW = Setup(dtype="float32", attn_implementation="sdpa", compile="none")
HALF = NOW.changed({"dtype": "bfloat16"})
EAGER = HALF.changed({"attn_implementation": "eager"})
COMPILED = HALF.changed({"cache_implementation": "static", "compile": "generate"})
UNKNOWN = Estimate(Memory(*[None] * 8), Speed(None, None, None), "formula", None, None)
PLAN = Plan(
    ModelReference("folder", "model", None, False), Facts(), Workload(), Facts(), NOW, {}, UNKNOWN, HALF, UNKNOWN,
    (), (), (), (), {}, (),
)  # fmt: skip
FOUND = Tuned(
    tried={NOW: 0.812, HALF: 0.402, EAGER: None},
    failed={EAGER: "RuntimeError: no"},
    predicted={NOW: 0.9, HALF: 0.45, EAGER: 0.5, COMPILED: 0.4},
    winner=HALF,
    seconds=12.3,
)


def shown(tuned: Tuned) -> str:
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(screen(PLAN, tuned))
    return out.getvalue()


def test_the_quickest_stands_first(snapshot: Callable[[str, str], None]) -> None:
    snapshot("tuning-plan", shown(FOUND))


def test_what_was_not_tried_but_reckoned_is_said(snapshot: Callable[[str, str], None]) -> None:
    snapshot("tuning-compiled", shown(replace(FOUND, winner=COMPILED)))


def test_nothing_tried_has_a_reason() -> None:
    assert "Nothing was tried: no speed is known." in shown(Tuned(reason="no speed is known"))
