"""Weights over several devices: who takes how much, what is left over, how many machines would hold it."""

from advisor.estimate import spread
from advisor.facts import Facts, Known
from advisor.plan import Memory
from advisor.setup import Setup

GIB = 2**30


def devices(*free: int) -> Facts:
    sizes = {f"gpu.{index}.memory_free_bytes": Known(size, "test") for index, size in enumerate(free)}
    return Facts({"gpu.count": Known(len(free), "test"), **sizes})


def test_sizes_are_known_only_where_every_device_tells() -> None:
    assert spread.free_sizes(devices(3, 5)) == (3, 5)
    assert spread.free_sizes(devices(3) | Facts({"gpu.count": Known(2, "test")})) is None
    assert spread.free_sizes(Facts()) is None


def test_devices_are_unequal_below_four_fifths() -> None:
    assert [spread.unequal(devices(*sizes)) for sizes in ((8, 10), (7, 10), (10, 7), (10,))] == [
        False,
        True,
        True,
        False,
    ]
    assert spread.unequal(Facts()) is None


def test_machines_hold_nine_tenths_of_their_devices() -> None:
    both = devices(10 * GIB, 10 * GIB)
    assert [spread.machines(both, size * GIB) for size in (18, 19, 36, 37)] == [1, 2, 2, 3]
    assert spread.machines(both, None) is None


def test_shares_follow_the_free_memory_and_never_exceed_it() -> None:
    assert spread.shares(devices(30 * GIB, 10 * GIB), Setup(), 20 * GIB) == ("0=16.5GiB", "1=5.5GiB")
    assert spread.shares(devices(30 * GIB, 10 * GIB), Setup(), 100 * GIB) == ("0=30.0GiB", "1=10.0GiB")
    quantized = Setup(quantization="bnb_nf4")
    assert spread.shares(devices(10 * GIB, 10 * GIB), quantized, 9 * GIB) == ("0=5.5GiB", "1=5.5GiB")
    assert spread.shares(Facts(), Setup(), GIB) is None


def test_full_devices_hold_nothing_and_divide_nothing() -> None:
    assert spread.machines(devices(0, 0), 5) is None
    assert spread.shares(devices(0), Setup(), 5) is None


def training(available: int | None = 12 * GIB, gradients: int | None = 16 * GIB) -> Memory:
    return Memory(
        weights_bytes=16 * GIB,
        kv_cache_bytes=0,
        kv_cache_peak_bytes=0,
        activation_peak_bytes=GIB,
        overhead_bytes=GIB,
        total_bytes=66 * GIB,
        available_bytes=available,
        fits=False,
        gradients_bytes=gradients,
        optimizer_bytes=32 * GIB,
    )


def test_a_share_of_training_is_what_all_devices_divide() -> None:
    assert [spread.shard(devices(*[GIB] * count), training()) for count in (2, 8)] == [32 * GIB, 8 * GIB]
    assert spread.shard(Facts(), training()) is None
    assert spread.shard(devices(1, 1), training(gradients=None)) is None


def test_a_share_fits_beside_the_activations() -> None:
    eight = devices(*[GIB] * 8)
    assert [spread.shard_fits(eight, training(size)) for size in (10 * GIB, 10 * GIB - 1, None)] == [True, False, None]
    assert spread.shard_fits(eight, training(gradients=None)) is None
