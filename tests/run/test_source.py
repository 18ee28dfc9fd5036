"""Literals mean exactly the data, whatever the data says."""

import ast
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.run.source import call, literal, table

texts = st.text(st.characters(codec=None, categories=None), max_size=60)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(plain)
def test_a_literal_is_one_line_of_ascii_that_means_the_value(value: Any) -> None:
    written = literal(value)
    assert ast.literal_eval(written) == value
    assert written.isascii()
    assert written.splitlines() == [written] or value == ""
    assert "\n" not in written and "\r" not in written


@pytest.mark.parametrize(
    "hostile", ['"); import os; os.remove("x"); ("', "'''", '"""', "\\", "\\'", "{0}", "%s", "\x00"]
)
def test_quotes_and_escapes_stay_inside(hostile: str) -> None:
    assert ast.literal_eval(literal(hostile)) == hostile


class Evil(str):
    def __repr__(self) -> str:
        return "__import__('os').remove('x')"

    __str__ = __repr__
    __format__ = lambda self, _: repr(self)  # noqa: E731


@pytest.mark.parametrize(
    "value", [Evil("a"), float("nan"), float("inf"), {1, 2}, b"x", object(), {("a",): 1}, [Evil("b")]]
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"no place in a program"):
        literal(value)


def test_endless_nesting_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="nested"):
        literal(value)


def test_strings_look_as_people_write_them() -> None:
    assert literal("sdpa") == '"sdpa"'
    assert literal('say "hi"') == "'say \"hi\"'"


def test_a_single_entry_stays_a_tuple() -> None:
    assert ast.literal_eval(literal((1,))) == (1,)


def test_call_puts_one_argument_on_a_line() -> None:
    assert call("f", ["a=1", "b=2,  # why"], 4) == ["f(", "        a=1,", "        b=2,  # why", "    )"]


def test_table_is_the_dict() -> None:
    values = {"a": 1, "b": {"c": [True, None]}}
    namespace: dict[str, Any] = {}
    exec("\n".join(table("CONFIG", values)), namespace)
    assert namespace["CONFIG"] == values
