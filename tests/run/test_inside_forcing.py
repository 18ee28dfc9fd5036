"""What the measuring child keeps while generate writes a given text."""

from types import SimpleNamespace
from typing import Any

import pytest

from advisor.run import inside_forcing as forcing
from advisor.run.distributions import read


def test_pieces_have_the_shapes_of_the_prompts_and_follow_one_another() -> None:
    pieces = forcing.cut([[9, 9, 9], [9]], list(range(100)), 2)
    assert pieces == [([0, 1, 2], [3, 4]), ([6], [7, 8])]


def test_few_tokens_are_repeated_and_no_two_pieces_begin_alike() -> None:
    pieces = forcing.cut([[9, 9], [9, 9], [9, 9]], [1, 2, 3, 4], 2)
    assert len({tuple(start) for start, _ in pieces}) == 3
    assert all(len(start) == len(more) == 2 for start, more in pieces)


def test_the_text_is_the_users_own_where_there_is_one() -> None:
    assert forcing.stream(SimpleNamespace(), [[1, 2], [3]]) == ("your prompts", [1, 2, 3])
    assert forcing.stream(SimpleNamespace(), None) == ("random tokens", None)


class Tokens:
    def from_pretrained(self, _: str) -> Any:
        return lambda text, add_special_tokens: {"input_ids": [len(text)]}


def test_with_a_tokenizer_it_is_prose() -> None:
    source, tokens = forcing.stream(SimpleNamespace(AutoTokenizer=Tokens(), MODEL="m"), None)
    assert source == "English prose"
    assert tokens is not None and tokens[0] > 10_000


@pytest.mark.models
def test_generate_is_made_to_write_the_text_and_its_thoughts_are_kept() -> None:
    torch = pytest.importorskip("torch")
    keep = forcing.Forcing([([1, 2], [3, 0]), ([4], [2, 2])], new_tokens=2)
    scores = torch.tensor([[0.0, 1.0, 2.0, 3.0, float("-inf")], [1.0, 1.0, 1.0, 1.0, float("-inf")]])
    for ids in ([[0, 4], [1, 2]], [[0, 4, 2], [1, 2, 3]]):  # the rows come in another order than the pieces
        forced = keep(torch.tensor(ids), scores)
    assert forced.argmax(-1).tolist() == [2, 0]
    found = read(keep.answer("random tokens", 5))
    assert found is not None
    assert found.places == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert found.at(2)[0][0] == 3, "the second piece stood in the first row"
    assert found.text_logs[0] == pytest.approx(torch.log(torch.tensor(0.25)).item())


@pytest.mark.models
def test_rows_that_are_no_piece_are_left_out() -> None:
    torch = pytest.importorskip("torch")
    keep = forcing.Forcing([([1, 2], [3])], new_tokens=1)
    assert keep(torch.tensor([[7, 7]]), torch.zeros(1, 5)).argmax().item() == 0
    assert keep.answer("random tokens", 5) is None


def test_a_setup_that_cannot_write_the_text_is_measured_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("Cannot set version_counter for inference tensor")

    recipe = SimpleNamespace(NEW_TOKENS=2, generate=refuse)
    assert forcing.forced(recipe, None, [[1, 2]], None) is None
    assert "version_counter" in capsys.readouterr().err
