"""A file of prompts: three forms, every mistake with its place, nothing run and nothing shown again."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from advisor import child
from advisor import run as running
from advisor.errors import RequestError
from advisor.plan import ModelReference
from advisor.run import prompts
from advisor.run.prompts import Prompt, as_ids, fitted, read, sizes, stated
from advisor.workload import Workload

SHAPE = ModelReference("shape", "qwen2.5-7b", None, True)


def contents(tmp_path: Path, text: str, name: str = "prompts.txt") -> list[Any]:
    place = tmp_path / name
    place.write_text(text, encoding="utf-8")
    return [prompt.content for prompt in read(place)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo three\n\n  four", ["one", "two three", "  four"]),
        ("[INST] not JSON\n{braces}", ["[INST] not JSON", "{braces}"]),
        ('["one", {"prompt": "two"}, {"input_ids": [1, 2]}]', ["one", "two", (1, 2)]),
        ('{"prompt": "one"}\n\n{"input_ids": [3], "more": 1}\n', ["one", (3,)]),
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("\ufeffone", ["one"]),
    ],
)
def test_three_forms_are_read(tmp_path: Path, text: str, expected: list[Any]) -> None:
    assert contents(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "name", "place", "what"),
    [
        ("", "p.txt", "p.txt", "holds no prompt"),
        ('{"prompt": "x"}\n{half', "p.jsonl", "p.jsonl:2", "is no JSON"),
        ('{"prompt": "x"}\n{"text": "y"}', "p.txt", "p.txt:2", "is no prompt"),
        ('{"prompt": " "}', "p.jsonl", "p.jsonl:1", "is empty"),
        ('[{"input_ids": [1, "2"]}]', "p.json", "p.json: entry 1", "no list of token ids"),
        ('[{"input_ids": [true]}]', "p.json", "p.json: entry 1", "no list of token ids"),
        ('[{"input_ids": [-1]}]', "p.json", "p.json: entry 1", "no list of token ids"),
        ('[{"input_ids": []}]', "p.json", "p.json: entry 1", "no list of token ids"),
        ('{"prompt": "x"}', "p.json", "p.json", "is no JSON list"),
        ("[" * 100_000, "p.json", "p.json", "is no JSON list"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, name: str, place: str, what: str) -> None:
    with pytest.raises(RequestError) as caught:
        contents(tmp_path, text, name)
    assert f"{tmp_path}/{place}: " in str(caught.value)
    assert what in str(caught.value)


def test_text_that_is_no_utf_8_is_said_with_its_line(tmp_path: Path) -> None:
    place = tmp_path / "p.txt"
    place.write_bytes(b"fine\n\xff\xfe secret\n")
    with pytest.raises(RequestError, match=r"p\.txt:2.*UTF-8") as caught:
        read(place)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "LARGEST_BYTES", 10)
    with pytest.raises(RequestError, match="11 bytes large"):
        contents(tmp_path, "x" * 11)
    for place in (tmp_path / "missing", tmp_path):
        with pytest.raises(RequestError, match="is no file"):
            read(place)


def test_prompts_are_never_said_again(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        contents(tmp_path, '{"prompt": "x"}\n{"text": "my secret words"}')
    assert "secret" not in str(caught.value)


def test_texts_need_a_tokenizer_and_ids_do_not() -> None:
    assert as_ids([Prompt("p:1", (4, 5))], SHAPE, "no-such-python") == ((4, 5),)
    with pytest.raises(RequestError, match="brings no tokenizer"):
        as_ids([Prompt("p:1", "text")], SHAPE, "no-such-python")


def test_sizes_are_counted() -> None:
    assert sizes([(1, 2, 3), (1,)]) == {"batch": 2, "prompt_tokens": 3, "mixed_lengths": True}
    assert sizes([(1,) * 10, (1,) * 9]) == {"batch": 2, "prompt_tokens": 10, "mixed_lengths": False}


def test_requests_in_flight_stay_where_their_prompts_are_as_many() -> None:
    load = Workload(batch=2, concurrency=3)
    assert fitted(load, [(1, 2)] * 6) == Workload(batch=2, concurrency=3, prompt_tokens=2)
    assert fitted(load, [(1, 2)] * 5) == Workload(batch=5, concurrency=1, prompt_tokens=2)


def test_prompts_of_other_sizes_than_the_plan_was_made_for_are_said() -> None:
    load = Workload(batch=2, prompt_tokens=9)
    assert prompts.other_sizes(load, load) is None
    told = prompts.other_sizes(load, Workload(batch=5, prompt_tokens=7))
    assert told is not None and "2 prompts of 9 tokens" in told and "5 prompts of 7" in told
    told = prompts.other_sizes(load, Workload(batch=2, prompt_tokens=9, mixed_lengths=True))
    assert told is not None and "2 prompts of 9 tokens" in told and "2 prompts of up to 9 tokens" in told


def test_a_token_that_the_model_does_not_have_is_refused_with_its_place() -> None:
    with pytest.raises(RequestError, match=r"p:2.*vocabulary of 10"):
        as_ids([Prompt("p:1", (9,)), Prompt("p:2", (10, 1))], SHAPE, "no-such-python", 10)


def test_a_diagnosis_counts_and_refuses_to_be_told_otherwise(tmp_path: Path) -> None:
    place = tmp_path / "p.jsonl"
    place.write_text("\n".join(json.dumps({"input_ids": [7] * size}) for size in (5, 9)))
    load = stated(Workload(), place, SHAPE, "python", {"batch": None})
    assert (load.batch, load.prompt_tokens, load.mixed_lengths) == (2, 9, True)
    assert load.stated == ("batch", "prompt_tokens", "mixed_lengths")
    with pytest.raises(RequestError, match="--prompt-tokens"):
        stated(Workload(), place, SHAPE, "python", {"prompt_tokens": 8})


@pytest.mark.models
def test_a_models_own_tokenizer_takes_texts_apart(tmp_path: Path) -> None:
    maker = Path(running.__path__[0]) / "inside_demo_model.py"
    tiny = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    request = {"folder": str(tmp_path / "m"), "shape": {**tiny, "num_key_value_heads": 1}}
    assert isinstance(child.run(sys.executable, maker, request, 120), child.Answered)
    folder = ModelReference("folder", str(tmp_path / "m"), None, False)
    one, other, given = as_ids([Prompt("p:1", "def"), Prompt("p:2", "a class statement"), Prompt("p:3", (9,))],
                               folder, sys.executable)  # fmt: skip
    assert len(other) > len(one) >= 1
    assert given == (9,)
    with pytest.raises(RequestError, match="tokenizer cannot be used"):
        as_ids([Prompt("p:1", "x")], ModelReference("folder", str(tmp_path), None, False), sys.executable)
