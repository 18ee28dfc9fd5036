"""The JSON schema of a rule file, for editors that check YAML while it is typed. Generated from the declarations.

A schema sees the form of a file; whether its cases hold, `perf-advisor rule --test DIR` says.
"""

import re
from typing import Any

from advisor import setup, workload
from advisor.facts import Declaration, Kind
from advisor.rule import EVIDENCE, VERDICTS
from advisor.rulebook import NEEDED, full_vocabulary

_TEXTS = {"type": "array", "items": {"type": "string"}}
_LINES = {
    "summary": "what was found, read after 'Found:'",
    "why": "what happens in the machine, in two or three sentences",
    "not_when": "where the advice is wrong",
    "quality": "what the outputs lose; absent when nothing but rounding",
    "caution": "said beside the step; weighs nothing",
}
_LISTS = {
    "advice": "lines to type or to write, with {fact.name} for what is known here",
    "outranks": "rules that set the same knob otherwise and give way where the estimate sees no difference",
    "pitfalls": "what goes wrong for those who follow the advice",
    "sources": "where the claim comes from",
    "locate": "symbols of the library, module:Class.method, shown as file and line",
}


def schema() -> dict[str, Any]:
    """The schema of one rule file (JSON Schema, draft 2020-12)."""
    properties: dict[str, Any] = {name: {"type": "string", "description": line} for name, line in _LINES.items()}
    properties |= {name: {**_TEXTS, "description": line} for name, line in _LISTS.items()}
    properties |= {
        "tasks": {"type": "array", "items": {"enum": list(workload.TASKS)}, "description": "default: generate"},
        "when": {"$ref": "#/$defs/conditions", "description": "where the advice belongs; all must hold"},
        "requires": {
            "$ref": "#/$defs/conditions",
            "description": "what the change needs; a failing one blocks the rule",
        },
        "change": {"$ref": "#/$defs/change", "description": "knobs and their new values"},
        "fallbacks": {
            "type": "array",
            "items": {"$ref": "#/$defs/change"},
            "description": "tried in order when the change fails",
        },
        "evidence": {"enum": list(EVIDENCE)},
        "always": {"enum": [True, False], "description": "correctness: taken whatever the estimate says"},
        "unpredicted": {"enum": [True, False], "description": "the estimate cannot see the gain; apply decides"},
        "cases": _cases(),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A rule of perf-advisor",
        "type": "object",
        "properties": properties,
        "required": list(NEEDED),
        "anyOf": [{"required": ["change"]}, {"required": ["advice"]}],
        "additionalProperties": False,
        "$defs": {"conditions": _conditions(), "change": _change(), "facts": _facts()},
    }


def _conditions() -> dict[str, Any]:
    names = "|".join(re.escape(name) for name in full_vocabulary())
    clause = {"type": "string", "pattern": rf"^(not\s+)?({names})(\s*(==|!=|>=|<=|>|<|in\b|has\b|lacks\b)\s*.+)?$"}
    any_of = {
        "type": "object",
        "properties": {"any": {"type": "array", "items": clause}},
        "required": ["any"],
        "additionalProperties": False,
    }
    return {"type": "array", "items": {"anyOf": [clause, any_of]}}


def _change() -> dict[str, Any]:
    knobs = {name: {"description": knob.line, **_knob(name, knob)} for name, knob in setup.knobs().items()}
    return {"type": "object", "properties": knobs, "additionalProperties": False}


def _knob(name: str, knob: Declaration) -> dict[str, Any]:
    """A knob's own values, or `=fact` for a fact's."""
    taken = {"type": "string", "pattern": r"^=\s*[a-z][\w.]*$"}
    if knob.values and not setup.has_pattern(name):
        return {"anyOf": [{"enum": list(knob.values)}, taken]}
    plain = {Kind.FLAG: "boolean", Kind.COUNT: "integer"}.get(knob.kind, "string")
    return {"anyOf": [{"type": plain}, taken]}


def _facts() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"description": declared.line} for name, declared in full_vocabulary().items()},
        "patternProperties": {r"^gpu\.\d+\.": {}},
        "additionalProperties": False,
    }


def _cases() -> dict[str, Any]:
    named = {"type": "object", "additionalProperties": {"$ref": "#/$defs/facts"}}
    return {
        "type": "object",
        "properties": {"base": {"$ref": "#/$defs/facts"}, **dict.fromkeys(VERDICTS, named)},
        "required": ["base"],
        "additionalProperties": False,
        "description": "base is the smallest machine on which the rule fires; the others replace some facts of it",
    }
