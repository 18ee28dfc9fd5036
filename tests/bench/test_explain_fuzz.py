"""The bench of mutated texts: the same seed gives the same text, and a handful neither crashes nor hangs."""

from collections.abc import Callable
from types import ModuleType

Load = Callable[[str], ModuleType]


def test_a_seed_makes_the_same_text_again(program: Load) -> None:
    bench = program("explain_fuzz")
    texts = bench.originals()
    assert len(texts) > 300
    assert [bench.mutated(seed, texts) for seed in range(20)] == [bench.mutated(seed, texts) for seed in range(20)]
    assert len({bench.mutated(seed, texts) for seed in range(20)}) == 20


def test_mutated_texts_neither_crash_nor_hang(program: Load) -> None:
    found = program("explain_fuzz").fuzz(7_000_000, 250)
    assert [row for row in found["bad"] if "raised" in row] == []
    assert 0 < found["recognized"] < 250
    assert found["milliseconds"]["most"] < 20_000
