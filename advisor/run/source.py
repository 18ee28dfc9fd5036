"""Writing Python: plain data as literals that mean exactly that data, and calls with one argument a line."""

import math
from collections.abc import Mapping
from typing import Any

Lines = list[str]
# Nested deeper than this, a value is no model configuration.
DEEPEST = 20


def literal(value: Any, depth: int = 0) -> str:
    """`value` as a Python expression on one line of ASCII that evaluates to exactly that value.

    Raises:
        ValueError: the value is not made of None, bool, int, finite float, str, list, tuple and dict with str or
            int keys alone. Subclasses are refused too, since they may write themselves as they like.
    """
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    kind = type(value)
    if kind is str:
        return _text(value)
    if value is None or kind in (bool, int) or (kind is float and math.isfinite(value)):
        return repr(value)
    if kind in (list, tuple):
        inner = ", ".join(literal(part, depth + 1) for part in value)
        return f"[{inner}]" if kind is list else f"({inner}{',' if len(value) == 1 else ''})"
    if kind is dict and all(type(key) in (str, int) for key in value):
        return "{" + ", ".join(f"{literal(k)}: {literal(v, depth + 1)}" for k, v in value.items()) + "}"
    raise ValueError(f"a {kind.__name__} has no place in a program")


def _text(value: str) -> str:
    """A string literal: in double quotes where nothing needs escaping, else as `ascii` writes it."""
    escaped = ascii(value)
    return f'"{value}"' if escaped[1:-1] == value and '"' not in value else escaped


def call(function: str, arguments: Lines, indent: int) -> Lines:
    """A call with one argument a line; an argument may bring its own comma and comment."""
    space = " " * indent
    inner = [f"{space}    {argument}" if ",  #" in argument else f"{space}    {argument}," for argument in arguments]
    return [f"{function}(", *inner, f"{space})"]


def table(name: str, values: Mapping[str, Any]) -> Lines:
    """An assignment of a dict, one entry a line."""
    return [f"{name} = {{", *(f"    {literal(key)}: {literal(value)}," for key, value in values.items()), "}"]
