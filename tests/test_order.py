"""Rules that set one knob to different values have an order, or cannot fire together."""

from pathlib import Path

import pytest

from advisor import rulebook
from advisor.order import exclusive, unordered
from advisor.rule import Rule

RULE = """
summary: s
when:
  - {when}
change: {{dtype: {dtype}}}
evidence: documented
why: w
sources: [s]
{more}
cases: {{base: {{setup.device: cuda}}}}
"""


def rules(tmp_path: Path, *parts: tuple[str, str, str, str]) -> list[Rule]:
    """Rules of (rung, when, dtype, further lines)."""
    folder = tmp_path / "rules"
    for number, (rung, when, dtype, more) in enumerate(parts):
        path = folder / rung / f"rule-{number}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RULE.format(when=when, dtype=dtype, more=more), encoding="utf-8")
    return list(rulebook.load(folder))


CUDA = "setup.device == cuda"


def test_two_rules_of_one_rung_that_can_fire_together_need_an_order(tmp_path: Path) -> None:
    found = list(
        unordered(rules(tmp_path, ("2-precision", CUDA, "float16", ""), ("2-precision", CUDA, "bfloat16", "")))
    )
    assert [mistake.hint for mistake in found] == [
        "say which counts: `outranks: [rule-1]`, or a condition that parts them"
    ]


@pytest.mark.parametrize(
    "second",
    [
        ("2-precision", CUDA, "bfloat16", "outranks: [rule-0]"),
        ("2-precision", CUDA, "bfloat16", "always: true"),
        ("2-precision", CUDA, "bfloat16", "tasks: [train]"),
        ("2-precision", CUDA, "float16", ""),
        ("5-quantize", CUDA, "bfloat16", ""),
        ("2-precision", "setup.device == cpu", "bfloat16", ""),
        ("2-precision", "setup.device in [cpu, mps]", "bfloat16", ""),
        ("2-precision", "setup.device != cuda", "bfloat16", ""),
    ],
)
def test_what_makes_an_order_or_parts_two_rules(tmp_path: Path, second: tuple[str, str, str, str]) -> None:
    assert not list(unordered(rules(tmp_path, ("2-precision", CUDA, "float16", ""), second)))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("gpu.capability >= 8.0", "gpu.capability < 8.0", True),
        ("gpu.capability >= 8.0", "gpu.capability <= 8.0", False),
        ("gpu.capability > 8.0", "gpu.capability <= 8.0", True),
        ("gpu.capability >= 7.0", "gpu.capability <= 8.0", False),
        ("gpu.capability == 7.5", "gpu.capability >= 8.0", True),
        ("torch.version >= 2.10", "torch.version < 2.9", False),  # versions are not ordered here: nothing is ruled out
        ("estimate.fits", "not estimate.fits", True),
        ("transformers.attention has sdpa", "transformers.attention has eager", False),
    ],
)
def test_conditions_that_cannot_hold_together(tmp_path: Path, one: str, other: str, expected: bool) -> None:
    first, second = rules(tmp_path, ("2-precision", one, "float16", ""), ("2-precision", other, "bfloat16", ""))
    assert exclusive(first, second) is expected


def test_the_shipped_rules_are_ordered() -> None:
    assert not list(unordered(rulebook.load(rulebook.shipped())))
