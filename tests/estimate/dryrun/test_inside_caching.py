"""Caches as the dry run keeps them against those of a real generation on a CPU, and what goes to RAM."""

import importlib
from typing import Any

import pytest

from advisor.estimate.dryrun import inside_dry_run

pytestmark = [
    pytest.mark.models,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]
PASSES = ("prompt", "first_step", "last_step", "fullest_step")


def peak(said: dict[str, Any]) -> int:
    return max(said[one]["peak_bytes"] for one in PASSES if said[one] is not None)


@pytest.mark.parametrize(
    ("backend", "bits", "new"), [("fp8", None, 6), ("fp8", None, 140), ("quanto", 4, 6), ("quanto", 2, 140)]
)
def test_a_quantized_cache(small: Any, backend: str, bits: int | None, new: int) -> None:
    if backend == "quanto":
        pytest.importorskip("optimum.quanto")
    wanted = small.case("quantized", rows=2, prompt=64, new=new, cache_backend=backend, cache_bits=bits)
    (said,) = small.dry("llama", wanted)
    model = small.made("llama")
    assert peak(said) == pytest.approx(small.allocator_peak(model, wanted), rel=0.03)
    cache = small.generated(model, wanted)
    assert (said["last_step"]["cache_bytes"], 0) == inside_dry_run.caching.stored(cache)


def test_new_tokens_are_taken_in_128_at_a_time(small: Any) -> None:
    pytest.importorskip("optimum.quanto")
    before, after = small.dry(
        "llama", *(small.case("quantized", new=new, cache_backend="quanto") for new in (128, 129))
    )
    assert before["fullest_step"] is None and after["fullest_step"] is not None
    assert after["last_step"]["cache_bytes"] < before["last_step"]["cache_bytes"] / 2


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_no_cache(small: Any, name: str) -> None:
    wanted = small.case("none", rows=2, prompt=128, new=4)
    (said,) = small.dry(name, wanted)
    assert [said[one]["cache_bytes"] for one in PASSES[:3]] == [0, 0, 0]
    assert said["last_step"]["peak_bytes"] > said["prompt"]["peak_bytes"]  # all tokens are read again
    assert peak(said) == pytest.approx(small.allocator_peak(small.made(name), wanted), rel=0.03)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_prompt_in_chunks(small: Any, cache: str) -> None:
    """Torch's CPU kernel for attention with a mask takes room of its own, much for a model so small."""
    wanted = small.case(cache, rows=4, prompt=1024, new=4, chunk_tokens=300)
    chunks, whole = small.dry("llama", wanted, {**wanted, "chunk_tokens": None})
    model = small.made("llama")
    assert peak(chunks) == pytest.approx(small.allocator_peak(model, wanted), rel=0.06)
    assert peak(chunks) < peak(whole) / 1.5
    assert chunks["last_step"] == whole["last_step"]


@pytest.mark.parametrize("cache", ["offloaded", "offloaded_static"])
def test_two_layers_of_an_offloaded_cache_are_on_the_device(small: Any, cache: str) -> None:
    """The library's own code, with RAM that is none of the device's. There was no GPU to compare with."""
    plain = "static" if cache == "offloaded_static" else "dynamic"
    (away,) = small.dry("llama", small.case(cache, prompt=512, device="cuda"))
    (here,) = small.dry("llama", small.case(plain, prompt=512, device="cuda"))
    for one in ("prompt", "last_step"):  # where a cache only grows, the first step is left out
        assert away[one]["cache_bytes"] == here[one]["cache_bytes"]
        assert away[one]["away_bytes"] == away[one]["cache_bytes"] * 3 // 4  # between two passes only the first is back
    saved = here["last_step"]["peak_bytes"] - away["last_step"]["peak_bytes"]
    assert saved == pytest.approx(here["last_step"]["cache_bytes"] // 2, rel=0.05)


def test_streams_are_given_back(small: Any) -> None:
    torch = importlib.import_module("torch")
    before = torch.cuda.default_stream
    small.dry("llama", small.case("offloaded", device="cuda"))
    assert torch.cuda.default_stream is before
