"""What a plan says of its sizes."""

import pytest

from advisor.show.tasks import limits
from advisor.workload import Workload


@pytest.mark.parametrize(
    ("task", "batch", "context", "told"),
    [
        ("generate", 0, 0, "Not even one prompt of this length fits."),
        ("generate", 4, 9000, "Largest batch that fits: 4; longest prompt + answer: 9,000 tokens."),
        ("encode", 831, 0, "Largest batch that fits: 831."),
        ("encode", 0, 300, "Not even one text of this length fits."),
        ("train", 0, None, "Not even one sequence of this length fits."),
        ("train", 13, 214, "Most sequences that fit in one pass: 13; longest sequence: 214 tokens."),
        ("train", None, None, "What would fit is not known."),
    ],
)
def test_what_would_fit_instead(task: str, batch: int | None, context: int | None, told: str) -> None:
    assert limits(Workload(task=task, batch=1000), batch, context) == told
