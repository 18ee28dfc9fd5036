"""Error rules: the shipped ones hold, and mistakes in a file are all told with their lines."""

import json
from pathlib import Path

import platformdirs
import pytest

from advisor import errorbook, rulebook
from advisor.errorbook import ErrorRule, parse
from advisor.errors import RulebookError
from advisor.explaining import test_cases as failing_cases
from advisor.reading import settings as settings_read
from advisor.reading.squeezed import phrase

FOLDER = rulebook.shipped() / "errors"
GOOD = """
summary: A summary
signs:
  - stage: error
    says: [something went wrong]
what: [This went wrong.]
why: [For a reason.]
fixes:
  - {id: mend, summary: Mend it}
sources: [a manual]
explains:
  plain: something went wrong
"""


@pytest.fixture(scope="module")
def rules() -> tuple[ErrorRule, ...]:
    return errorbook.load(FOLDER, kept=False)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))


def rule_file(tmp_path: Path, text: str, name: str = "broken") -> Path:
    folder = tmp_path / "rules" / "errors"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def test_every_text_in_the_rules_is_explained_as_it_says(rules: tuple[ErrorRule, ...]) -> None:
    assert failing_cases(rules) == []


def test_every_rule_has_a_text_and_a_fix(rules: tuple[ErrorRule, ...]) -> None:
    assert [rule.id for rule in rules if not rule.fixes or not any(case.rule == rule.id for case in rule.cases)] == []


def test_every_sign_says_why_even_without_figures(rules: tuple[ErrorRule, ...]) -> None:
    silent = [
        (rule.id, sign.line) for rule in rules for sign in rule.signs if all("{" in sentence for sentence in sign.why)
    ]
    assert silent == []


def test_every_phrase_can_be_looked_for(rules: tuple[ErrorRule, ...]) -> None:
    for rule in rules:
        for sign in rule.signs:
            for group in (*sign.says, *sign.frames, sign.unless):
                assert all(phrase(written) for written in group)


def test_settings_in_rules_are_settings_that_are_read(rules: tuple[ErrorRule, ...]) -> None:
    known = {name for name, _ in settings_read._SHOWN}
    named = {
        clause.literal
        for rule in rules
        for fix in rule.fixes
        for condition in fix.already
        for clause in errorbook.rule.clauses_of(condition)
    }
    assert named <= known


def test_a_case_that_fails_is_told(tmp_path: Path) -> None:
    folder = rule_file(tmp_path, GOOD.replace("plain: something went wrong", "plain: nothing of the kind"))
    mistakes = failing_cases(errorbook.load(folder, kept=False))
    assert len(mistakes) == 1
    assert "plain" in mistakes[0].what


def test_all_mistakes_of_a_file_are_told_with_their_lines(tmp_path: Path) -> None:
    text = """\
summery: misspelt
signs:
  - stage: eror
    kind: gpu_omm
    when: [text.requested >= 3]
    says: [abc]
what: ["You asked for {requested}."]
why: [because]
fixes:
  - {id: mend, summary: Mend it, change: {dtyp: bfloat16}}
sources: [a manual]
explains: {plain: text}
"""
    with pytest.raises(RulebookError) as caught:
        errorbook.load(rule_file(tmp_path, text), kept=False)
    told = [str(mistake) for mistake in caught.value.mistakes]
    for line, word in ((1, "summery"), (3, "eror"), (5, "text.requested"), (6, "abc"), (7, "requested"), (10, "dtyp")):
        assert any(f"errors/broken.yaml:{line}:" in one and word in one for one in told), (line, word, told)
    assert any("gpu_omm" in one for one in told)


def test_the_kept_copy_says_the_same_without_the_cases(tmp_path: Path) -> None:
    folder = rule_file(tmp_path, GOOD)
    fresh = errorbook.load(folder)
    kept = errorbook.load(folder)
    assert [rule.id for rule in kept] == ["broken"]
    assert kept[0].signs == fresh[0].signs
    assert kept[0].fixes == fresh[0].fixes
    assert kept[0].cases == ()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"stamp": 1}', b"\xff\xfe", b'{"stamp": "x", "rules": [1]}'])
def test_a_damaged_copy_costs_time_and_no_answer(tmp_path: Path, damage: bytes) -> None:
    folder = rule_file(tmp_path, GOOD)
    errorbook.load(folder)
    place = tmp_path / "cache" / "error-rules-all.json"
    assert place.exists()
    place.write_bytes(damage)
    assert [rule.id for rule in errorbook.load(folder)] == ["broken"]


def test_a_copy_with_the_right_stamp_and_wrong_rules_is_read_anew(tmp_path: Path) -> None:
    folder = rule_file(tmp_path, GOOD)
    errorbook.load(folder)
    place = tmp_path / "cache" / "error-rules-all.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "rules": [{"id": "x"}]}))
    assert [rule.id for rule in errorbook.load(folder)] == ["broken"]


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    folder = rule_file(tmp_path, GOOD)
    errorbook.load(folder)
    rule_file(tmp_path, GOOD.replace("A summary", "Another summary"))
    assert errorbook.load(folder)[0].summary == "Another summary"


def test_conditions_may_name_text_machine_and_knobs() -> None:
    assert {"text.requested_bytes", "gpu.capability", "setup.dtype"} <= set(parse.known_facts())
