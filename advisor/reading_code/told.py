"""What a script says of its training while it is being read, and how one argument of a call becomes a statement."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from advisor.facts import Value
from advisor.reading_code.calls import Call
from advisor.reading_code.findings import Reading, Statement
from advisor.setup import knobs
from advisor.workload import LARGEST

SIZES_OF_A_STEP = ("batch", "per_device_train_batch_size", "gradient_accumulation_steps", "auto_find_batch_size")
"""Settings that --batch says."""
STATED_BY = {**dict.fromkeys(SIZES_OF_A_STEP, "--batch N"), "prompt_tokens": "--prompt-tokens N"}


@dataclass
class Training:
    """What is stated of knobs and sizes, and the settings that are there but not read, with their lines."""

    knobs: list[Statement] = field(default_factory=list)
    sizes: list[Statement] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)


def as_options(unread: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the user can type to state the settings that were not read, and the names of those that no option states.

    The values are placeholders: only the user knows them, and one from here would be copied.
    """
    options: dict[str, None] = {}
    left = []
    for name in unread:
        if name in STATED_BY:
            options[STATED_BY[name]] = None
        elif name in knobs():
            options[f"--set {name}=VALUE"] = None
        else:
            left.append(name)
    return tuple(options), tuple(left)


def setting(
    reading: Reading, call: Call, found: Training, name: str, knob: str, read: Callable[[object], Value | None]
) -> None:
    """One argument of a configuration as a knob; unread where its value is not shown or means no value of the knob."""
    if (given := call.arguments.get(name)) is None:
        return
    value = read(reading.script.literal(given))
    if value is None:
        found.unread[knob] = given.lineno
    else:
        found.knobs.append(Statement(knob, value, given.lineno))


def count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST else None
