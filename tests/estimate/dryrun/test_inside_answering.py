"""Operators that fake tensors refuse: what the dry run puts there against what torch really allocates on a CPU."""

from typing import Any

import pytest

pytestmark = [
    pytest.mark.models,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


@pytest.mark.parametrize("experts", ["grouped_mm", "batched_mm"])
@pytest.mark.parametrize(
    ("name", "dtype"), [("qwen3-moe", "float32"), ("qwen3-moe", "float16"), ("deepseek", "float32")]
)
def test_mixtures_of_experts_in_every_type(small: Any, name: str, dtype: str, experts: str) -> None:
    wanted = small.case(rows=2, prompt=256, dtype=dtype, experts=experts)
    (said,) = small.dry(name, wanted)
    peak = max(said[one]["peak_bytes"] for one in ("prompt", "first_step", "last_step") if said[one])
    real = small.allocator_peak(small.made(name, dtype=dtype, experts=experts), wanted)
    assert peak == pytest.approx(real, rel=0.02)
    assert set(said["weights"]["experts"]) == {dtype}


def test_experts_one_by_one_are_chosen_by_values(small: Any) -> None:
    (said,) = small.dry("qwen3-moe", small.case(experts="eager"))
    assert "DynamicOutputShape" in said["error"]
