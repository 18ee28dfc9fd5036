"""The band after a dry run: narrow where it ran, wider where it would not tell, widest where it failed."""

from advisor.estimate import band
from advisor.facts import Facts
from advisor.plan import Estimate, Memory, Speed
from advisor.setup import Setup

CPU, CUDA = Setup(device="cpu"), Setup(device="cuda")


def found(basis: str, plain: tuple[float, float] | None) -> Estimate:
    needed = Memory(60, 10, 10, 10, 20, 100, 200, fits=True)
    return Estimate(needed, Speed(None, None, None), basis, plain, None)


def width(setup: Setup, basis: str, failed: bool) -> float:
    plain = (band.CPU_LOW, 1.35) if setup is CPU else band.MEMORY_BAND
    after = band.closer(Facts(), setup, found(basis, plain), failed).memory_band
    assert after is not None and after[0] < 1 < after[1]
    return after[1] - after[0]


def test_on_a_cpu_a_dry_run_is_narrower_than_none_and_none_than_a_failure() -> None:
    ran = width(CPU, "dry run", failed=False)
    assert ran < width(CPU, "formula", failed=False) < width(CPU, "formula", failed=True)


def test_on_a_gpu_nobody_compared_the_dry_run() -> None:
    ran = width(CUDA, "dry run", failed=False)
    assert ran == band.MEMORY_BAND[1] - band.MEMORY_BAND[0]
    assert ran < width(CUDA, "formula", failed=False) < width(CUDA, "formula", failed=True)


def test_no_band_stays_none() -> None:
    assert band.closer(Facts(), CPU, found("formula", None), failed=True).memory_band is None
