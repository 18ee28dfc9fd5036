"""Advice that follows from the text's own figures."""

import pytest

from advisor import errorbook, rulebook
from advisor.explaining import explain

RULES = errorbook.load(rulebook.shipped() / "errors", kept=False)
START = (
    "ValueError: Free memory on device ({free}/23.64 GiB) on startup is less than desired GPU memory utilization (0.9, "
    "21.28 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
)
CACHE = (
    "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is needed, "
    "which is larger than the available KV cache memory ({left} GiB). Based on the available memory, the estimated "
    "maximum model length is 42672. Try increasing `gpu_memory_utilization`."
)
OLDER = (
    "ValueError: The model's max seq len (8192) is larger than the maximum number of tokens that can be stored in KV "
    "cache (5120). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
)
UNTOLD = "ValueError: Insufficient VRAM in split for model and cache"


def commands(text: str) -> dict[str, str | None]:
    found = explain(text + "\n", "log", None, RULES).fixes
    assert len({fix.id for fix in found}) == len(found)
    return {fix.id: fix.command for fix in found}


@pytest.mark.parametrize(("free", "share"), [("10.2", "0.43"), ("20.0", "0.84"), ("2.1", "0.08")])
def test_an_engine_asks_for_no_more_than_was_free(free: str, share: str) -> None:
    told = commands(START.format(free=free))["lower_gpu_memory_utilization"]
    assert told == f"--gpu-memory-utilization {share}"
    assert float(share) * 23.64 <= float(free)


@pytest.mark.parametrize(("text", "length"), [(CACHE.format(left="5.21"), "42672"), (OLDER, "5120"), (UNTOLD, "8192")])
def test_the_length_that_fits_is_the_text_s(text: str, length: str) -> None:
    assert commands(text)["reduce_max_model_len"] == f"--max-model-len {length}"


@pytest.mark.parametrize(("left", "alone"), [("5.21", False), ("9.00", True)])
def test_half_a_cache_that_is_still_too_large_is_said_to_be(left: str, alone: bool) -> None:
    fixes = {fix.id: fix.summary for fix in explain(CACHE.format(left=left), "log", None, RULES).fixes}
    assert ("not enough alone" not in fixes["kv_cache_fp8"]) is alone
