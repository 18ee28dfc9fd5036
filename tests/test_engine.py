from hypothesis import given
from hypothesis import strategies as st

from advisor import rulebook
from advisor.engine import decide, verdict
from advisor.facts import Facts, Known, Unknown
from advisor.rule import Blocked, Fires, Silent, Undecided

RULES = rulebook.load(rulebook.shipped())
FLASH = next(rule for rule in RULES if rule.id == "long-prompts-without-flash-attention")
BASE = FLASH.cases[0].facts


def changed(**facts: object) -> Facts:
    return BASE | Facts({name.replace("__", "."): Known(value, "test") for name, value in facts.items()})  # type: ignore[arg-type]


def test_fires_with_every_condition_as_reason() -> None:
    found = verdict(FLASH, BASE)
    assert isinstance(found, Fires)
    assert [because.clause for because in found.because] == [c.text for c in (*FLASH.when, *FLASH.requires)]


def test_blocked_names_the_requirement_and_what_was_found() -> None:
    found = verdict(FLASH, changed(gpu__capability=7.5))
    assert isinstance(found, Blocked)
    (because,) = found.because
    assert str(because) == "gpu.capability >= 8.0 (found 7.5, test)"


def test_silent_beats_blocked() -> None:
    """A rule that is not about this machine does not complain about what the machine lacks."""
    found = verdict(FLASH, changed(gpu__capability=7.5, setup__device="cpu"))
    assert isinstance(found, Silent)
    assert [because.clause for because in found.because] == ["setup.device == cuda"]


def test_undecided_names_what_is_unknown() -> None:
    found = verdict(FLASH, BASE | Facts({"flash_attn.installed": Unknown("no answer within 10 s")}))
    assert isinstance(found, Undecided)
    assert "no answer within 10 s" in str(found.because[0])


def test_a_known_failure_beats_an_unknown() -> None:
    facts = changed(setup__device="cpu") | Facts({"gpu.vendor": Unknown("broken driver")})
    assert isinstance(verdict(FLASH, facts), Silent)


@given(st.sets(st.sampled_from(sorted(BASE))))
def test_nobody_vanishes_and_missing_facts_never_fire(missing: set[str]) -> None:
    facts = Facts({name: BASE.get(name) for name in BASE if name not in missing})
    decisions = decide(RULES, facts)
    assert [decision.rule.id for decision in decisions] == [rule.id for rule in RULES]
    if missing:
        assert not isinstance(verdict(FLASH, facts), Fires)


def test_decisions_say_why_in_json() -> None:
    (because,) = verdict(FLASH, changed(gpu__capability=7.5)).because
    assert because.to_json() == {"clause": "gpu.capability >= 8.0", "value": 7.5, "source": "test"}
