"""Figures as they read on the screen."""

import pytest

from advisor.show.terminal import seconds, told_apart

GIB = 1024**3
MIB = 1024**2


@pytest.mark.parametrize(
    ("limit", "values", "shown"),
    [
        (15 * GIB, (14 * GIB, 6 * GIB), ["15.0 GiB", "14.0 GiB", "6.0 GiB"]),
        (15 * GIB, (15 * GIB + 39 * MIB, 6 * GIB), ["15.00 GiB", "15.04 GiB", "6.00 GiB"]),
        (15 * GIB, (15 * GIB + 2 * MIB, 6 * GIB), ["15.000 GiB", "15.002 GiB", "6.000 GiB"]),
        (15 * GIB, (15 * GIB, 15 * GIB), ["15.0 GiB", "15.0 GiB", "15.0 GiB"]),
        (15 * GIB, (15 * GIB + 1, None), ["15.000 GiB", "15.000 GiB", "-"]),
        (None, (GIB, None), ["-", "1.0 GiB", "-"]),
    ],
)
def test_sizes_show_on_which_side_of_the_limit_they_lie(
    limit: int | None, values: tuple[int | None, ...], shown: list[str]
) -> None:
    assert told_apart(limit, *values) == shown


@pytest.mark.parametrize(
    ("value", "told"), [(None, "-"), (0.0424, "42.4 ms"), (9.876, "9.88 s"), (551.2, "551 s"), (1083.4, "1,083 s")]
)
def test_long_waits_are_told_in_whole_seconds(value: float | None, told: str) -> None:
    assert seconds(value) == told
