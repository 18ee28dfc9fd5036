import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.errors import MachineError
from advisor.facts import Declaration, Facts, Kind, Known, Unknown, from_json, read_machine, to_json, typed
from advisor.rulebook import full_vocabulary

VOCABULARY = full_vocabulary()

VALUES = {
    Kind.FLAG: st.booleans(),
    Kind.COUNT: st.integers(0, 2**60),
    Kind.NUMBER: st.floats(allow_nan=False, allow_infinity=False),
    Kind.VERSION: st.sampled_from(["2.9", "2.10.1", "5.22.2", "2.11.0+cu130"]),
    Kind.NAME: st.text(max_size=20),
    Kind.NAMES: st.lists(st.text(max_size=5), max_size=3).map(tuple),
}


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    names = draw(st.lists(st.sampled_from(sorted(VOCABULARY)), unique=True, max_size=8))
    found = {}
    for name in names:
        if draw(st.booleans()):
            found[name] = Known(draw(VALUES[VOCABULARY[name].kind]), draw(st.text(max_size=8)))
        else:
            found[name] = Unknown(draw(st.text(max_size=8)))
    return Facts(found)


@given(facts())
def test_json_and_back_loses_nothing(given_facts: Facts) -> None:
    again = from_json(json.loads(json.dumps(to_json(given_facts))), VOCABULARY, "machine.json")
    assert again == given_facts


def test_a_missing_fact_is_unknown_not_zero() -> None:
    empty = Facts()
    assert empty.get("gpu.count") == Unknown("not looked up")
    assert empty.value("gpu.count") is None
    assert empty.count("gpu.count") is None
    assert empty.is_true("gpu.mig") is False


def test_devices_share_one_declaration() -> None:
    assert VOCABULARY["gpu.7.name"] is VOCABULARY["gpu.name"]


def test_a_flag_is_no_number() -> None:
    both = Facts({"gpu.count": Known(True, "broken file")})
    assert both.number("gpu.count") is None
    assert both.count("gpu.count") is None


def test_every_mistake_of_a_machine_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    wrong = {
        "gpu.nme": {"value": "T4", "source": "nvml"},
        "gpu.count": {"value": "one", "source": "nvml"},
        "torch.version": {"value": "newest", "source": "pip"},
        "gpu.capability": {"value": 7.5},
        "host.os": "linux",
    }
    path.write_text(json.dumps({"schema": 1, "facts": wrong}))
    with pytest.raises(MachineError) as caught:
        read_machine(path, VOCABULARY)
    assert len(caught.value.mistakes) == 5
    assert "did you mean gpu.name?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "not JSON"), ("[]", "schema"), ('{"schema": 9}', "schema"), ('{"schema": 1}', "no object of facts")],
)
def test_files_that_are_no_machine(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "machine.json"
    path.write_text(text)
    with pytest.raises(MachineError, match=told):
        read_machine(path, VOCABULARY)


def test_a_missing_machine_file_is_a_plain_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="No such file"):
        read_machine(tmp_path / "none.json", VOCABULARY)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.FLAG, "true", True),
        (Kind.COUNT, "1_000", 1000),
        (Kind.NUMBER, "7.5", 7.5),
        (Kind.VERSION, "2.10", "2.10"),
        (Kind.NAMES, "[a, b]", ("a", "b")),
    ],
)
def test_text_is_read_in_the_declared_kind(kind: Kind, text: str, value: object) -> None:
    assert typed(text, Declaration("x", kind, "")) == value


@pytest.mark.parametrize(
    ("kind", "text"), [(Kind.FLAG, "yes"), (Kind.COUNT, "1.5"), (Kind.VERSION, "new"), (Kind.NUMBER, "x")]
)
def test_text_of_another_kind_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        typed(text, Declaration("x", kind, ""))


def test_units_stand_in_the_names() -> None:
    """A count or number of something measurable ends with its unit; plain counts are plural or a ratio."""
    for name, declaration in VOCABULARY.items():
        if "memory" in name and declaration.kind is Kind.COUNT:
            assert name.endswith(("_bytes", "_mhz")), name
