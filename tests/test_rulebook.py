"""Rule files: every mistake at once, with its place; nothing but text is ever read."""

from pathlib import Path

import pytest

from advisor import casebook, rulebook
from advisor.errors import RulebookError
from advisor.facts import Known
from advisor.rule import RUNGS, FactReference, Rule

GOOD = """\
summary: Attention runs in eager mode
when:
  - setup.attn_implementation == eager
  - model.supports_sdpa
  - gpu.capability >= 8.0
change: {attn_implementation: sdpa, threads: =host.cores_usable}
evidence: documented
why: It writes the score matrix.
sources: [docs]
cases:
  base: {setup.attn_implementation: eager, model.supports_sdpa: true, gpu.capability: 8.0}
  silent:
    sdpa already: {setup.attn_implementation: sdpa}
    flash already: {setup.attn_implementation: flash_attention_2}
    no SDPA: {model.supports_sdpa: false}
    Turing: {gpu.capability: 7.5}
"""

FIVE_MISTAKES = """\
summary: Attention runs in eager mode
when:
  - setup.atn_implementation == eager
  - gpu.capability >= new
change: {attn_implementation: spda}
evidence: proven
wy: It writes the score matrix.
sources: [docs]
cases:
  base: {setup.attn_implementation: eager}
why: because
"""


def folder_with(tmp_path: Path, text: str, rung: str = "3-attention", name: str = "eager-attention") -> Path:
    folder = tmp_path / "mine"
    (folder / rung).mkdir(parents=True, exist_ok=True)
    (folder / rung / f"{name}.yaml").write_text(text)
    return folder


def load_one(tmp_path: Path, text: str) -> Rule:
    return rulebook.load(folder_with(tmp_path, text))[0]


def gaps(tmp_path: Path, text: str) -> list[str]:
    return [str(m) for m in casebook.check([load_one(tmp_path, text)], rulebook.full_vocabulary())]


def test_a_good_rule(tmp_path: Path) -> None:
    rule = load_one(tmp_path, GOOD)
    assert (rule.id, rule.rung) == ("eager-attention", "3-attention")
    assert rule.change == {"attn_implementation": "sdpa", "threads": FactReference("host.cores_usable")}
    assert len(rule.cases) == 5
    assert rule.cases[1].facts.get("setup.attn_implementation") == Known("sdpa", "case")
    assert gaps(tmp_path, GOOD) == []


def test_five_mistakes_are_five_lines(tmp_path: Path) -> None:
    with pytest.raises(RulebookError) as caught:
        rulebook.load(folder_with(tmp_path, FIVE_MISTAKES))
    told = [str(mistake) for mistake in caught.value.mistakes]
    assert len(told) == 5
    for line, part in (
        (3, "did you mean setup.attn_implementation?"),
        (4, "'new' is not a number"),
        (5, "did you mean 'sdpa'?"),
        (6, "'proven' is not known"),
        (7, "did you mean 'why'?"),
    ):
        assert any(t.startswith(f"mine/3-attention/eager-attention.yaml:{line}:") and part in t for t in told), told


def test_mistakes_of_several_files_come_together(tmp_path: Path) -> None:
    folder_with(tmp_path, FIVE_MISTAKES, name="one")
    folder = folder_with(tmp_path, FIVE_MISTAKES, name="two")
    with pytest.raises(RulebookError) as caught:
        rulebook.load(folder)
    assert len(caught.value.mistakes) == 10


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("- a\n- b\n", "a mapping"),
        ("a: &x 1\nb: *x\n", "anchors"),
        ("a: !!python/object/apply:os.system ['true']\n", "tags"),
        ("a: 1\na: 2\n", "stands twice"),
        ("a: [1\n", "not YAML"),
        ("a: 1\n---\nb: 2\n", "second document"),
        ("a: " + "[" * 40 + "]" * 40 + "\n", "nested deeper"),
    ],
)
def test_yaml_beyond_plain_text_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RulebookError, match=told):
        rulebook.load(folder_with(tmp_path, text))


def test_a_file_in_no_rung_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RulebookError, match="did you mean 3-attention/"):
        rulebook.load(folder_with(tmp_path, GOOD, rung="3-atention"))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere.yaml"
    secret.write_text(GOOD)
    folder = folder_with(tmp_path, GOOD)
    (folder / "3-attention" / "link.yaml").symlink_to(secret)
    with pytest.raises(RulebookError, match="leads outside"):
        rulebook.load(folder)


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    folder_with(tmp_path, GOOD)
    folder = folder_with(tmp_path, GOOD, rung="pitfalls")
    with pytest.raises(RulebookError, match="is taken by"):
        rulebook.load(folder)


@pytest.mark.parametrize(
    ("removed", "told"),
    [
        ("    Turing: {gpu.capability: 7.5}\n", "only `gpu.capability >= 8.0` fails"),
        ("    no SDPA: {model.supports_sdpa: false}\n", "only `model.supports_sdpa` fails"),
        ("    flash already: {setup.attn_implementation: flash_attention_2}\n", "only one other value"),
    ],
)
def test_a_condition_that_no_case_isolates_is_refused(tmp_path: Path, removed: str, told: str) -> None:
    found = gaps(tmp_path, GOOD.replace(removed, ""))
    assert len(found) == 1
    assert told in found[0]


def test_the_missing_case_is_suggested(tmp_path: Path) -> None:
    (found,) = gaps(tmp_path, GOOD.replace("    Turing: {gpu.capability: 7.5}\n", ""))
    assert "add under silent: {gpu.capability: 7.0}" in found


def test_a_base_off_the_boundary_is_refused(tmp_path: Path) -> None:
    (found,) = gaps(tmp_path, GOOD.replace("gpu.capability: 8.0}", "gpu.capability: 8.6}"))
    assert "boundary" in found


def test_a_case_with_another_verdict_is_reported_with_reasons(tmp_path: Path) -> None:
    found = gaps(tmp_path, GOOD.replace("Turing: {gpu.capability: 7.5}", "Turing: {gpu.capability: 8.6}"))
    assert any("should be silent and fires" in line for line in found)


def test_a_base_that_leaves_a_fact_out_is_the_only_thing_told(tmp_path: Path) -> None:
    """The silent cases stand there: asking for them would mislead."""
    (found,) = gaps(tmp_path, GOOD.replace("gpu.capability: 8.0", "gpu.name: x"))
    assert "'base' should fire and is undecided" in found
    assert found.endswith("a case knows only the facts that it or the base names")


def test_the_shipped_rules_hold_their_own_cases() -> None:
    rules = rulebook.load(rulebook.shipped())
    assert casebook.check(rules, rulebook.full_vocabulary()) == []
    assert {rule.rung for rule in rules} <= set(RUNGS)


@pytest.mark.parametrize("rule", rulebook.load(rulebook.shipped()), ids=lambda rule: rule.id)
def test_shipped_rules_are_for_readers(rule: Rule) -> None:
    assert len(rule.summary) <= 120
    assert not rule.summary.endswith(".")
    assert rule.why.rstrip().endswith(".")
    assert rule.not_when
    assert rule.sources
    assert rule.change or rule.advice
    assert rule.locate
