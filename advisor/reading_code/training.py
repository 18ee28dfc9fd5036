"""What a script says of its training: settings of TrainingArguments and of TRL's configurations, adapters of PEFT, and
the optimizer, mixed precision and loader of a loop written by hand.

Only literals count, and names bound once to one. A setting that is given otherwise (`**options`, a parser, a file) is
`unread`: the estimate goes by the default there, which the user must hear.
"""

import ast
from collections.abc import Iterator, Mapping

from advisor.facts import Fact, Unknown, Value
from advisor.loop_terms import ACCELERATE, TORCH
from advisor.reading_code.calls import Call
from advisor.reading_code.findings import Reading, Statement
from advisor.reading_code.lengths import cut
from advisor.reading_code.told import Training, as_options, count, setting
from advisor.reading_code.training_loop import OTHER_OPTIMIZERS, STEPS, of_loop
from advisor.setup import unusable

BATCH = "per_device_train_batch_size"
DEFAULT_BATCH = 8
"""per_device_train_batch_size where it is not given (training_args.py)."""
OPTIMIZERS = {
    **dict.fromkeys(("adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_apex_fused", "adamw_torch_xla"), "adamw"),
    **dict.fromkeys(("adamw_8bit", "adamw_bnb_8bit"), "adamw_8bit"),
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
}
"""Values of `optim` whose memory is known, as values of the knob."""
FLAGS = {"gradient_checkpointing": "gradient_checkpointing", "padding_free": "padding_free"}
"""Settings that are called like a knob and are true or false."""
SHARDING = ("fsdp", "deepspeed", "auto_find_batch_size", "use_liger_kernel")
"""Settings that change what a device holds in ways that the estimate does not count."""
TRL_DEFAULTS = ("gradient_checkpointing", "mixed_precision")
"""What TRL's configurations turn on by themselves in some versions and not in others."""
NO_TRAINERS = ("BpeTrainer", "WordPieceTrainer", "UnigramTrainer", "WordLevelTrainer", "SentencePieceTrainer")
"""These learn a tokenizer's vocabulary."""
OTHER_LOSSES = tuple(f"{kind}Trainer" for kind in ("DPO", "GRPO", "PPO", "KTO", "ORPO", "CPO", "RLOO", "Reward"))
"""Trainers whose step holds more than one pass of one model, which the estimate does not count."""
CORE = ("batch", "gradient_checkpointing", "mixed_precision", "optimizer")
"""What every training has, whether or not it is written down."""
CHECKPOINTS = "gradient_checkpointing_enable"
COUNTED_RANK = 16
"""Rank of the adapters that the estimate counts."""


def training(reading: Reading) -> Training:
    """Everything of this file; nothing where the script does not train."""
    found = Training()
    if (line := trains(reading)) is None:
        return found
    configs = [call for call in reading.script.calls if _is_config(call)]
    _of_configs(reading, configs, found)
    _of_adapters(reading, found)
    of_loop(reading, found, by_hand=not configs)
    if not any(statement.name == "prompt_tokens" for statement in found.sizes):
        found.sizes += cut(reading)
    found.unread |= {call.method: call.line for call in _training_calls(reading) if call.method in OTHER_LOSSES}
    _settle(found)
    told = {statement.name for statement in (*found.knobs, *found.sizes)}
    if not configs:
        # Without a configuration in sight, a Trainer gets its settings from elsewhere; a loop has those it shows.
        # An optimizer that is named, and not counted, is no setting that is missing.
        told |= {"optimizer"} if found.unread.keys() & set(OTHER_OPTIMIZERS) else set()
        needed = ("batch", "optimizer") if _by_hand(reading) else CORE
        found.unread |= {name: line for name in needed if name not in told and name not in found.unread}
    return found


def trains(reading: Reading) -> int | None:
    """The line at which the script trains; None where it only evaluates by a Trainer, or does something else."""
    calls = _training_calls(reading)
    methods = {call.method for call in reading.script.calls}
    if "train" not in methods and {"evaluate", "predict"} & methods:
        calls = [call for call in calls if call.method == "backward"]
    return min((call.line for call in calls), default=None)


def facts(reading: Reading, unread: Mapping[str, int]) -> dict[str, Fact]:
    """Whether the script trains, whether all settings of that are shown, and the names of those that are not."""
    line, first = trains(reading), min(unread.values(), default=None)
    loop = None if line is None else _loop(reading)
    none, told = Unknown("the script does not train"), of_unread(tuple(unread))
    return {
        "code.trains": reading.at(line is not None, line),
        "code.training_loop": Unknown("no training loop by hand") if loop is None else reading.at(loop, line),
        **{name: none if line is None else reading.at(value, first) for name, value in told.items()},
    }


def _loop(reading: Reading) -> str | None:
    """What a loop by hand is made with; None where a Trainer is made, or its settings."""
    if not _by_hand(reading) or any(_is_config(call) for call in reading.script.calls):
        return None
    return ACCELERATE if reading.named("Accelerator") else TORCH


def _by_hand(reading: Reading) -> bool:
    return all(call.method == "backward" for call in _training_calls(reading))


def of_unread(names: tuple[str, ...]) -> dict[str, Value]:
    """What follows from the names of the settings that are not read, for facts."""
    options, left = as_options(names)
    return {
        "code.shows_training": not names,
        "code.unread_settings": names,
        "code.unread_options": options,
        "code.unread_without_option": left,
    }


def _training_calls(reading: Reading) -> list[Call]:
    return [call for call in reading.script.calls if _is_training(call)]


def _is_training(call: Call) -> bool:
    """A trainer that is made, or a backward pass. The trainers of `tokenizers` learn vocabularies."""
    made = call.method.endswith("Trainer") and "tokenizers" not in call.name
    return call.method == "backward" or (made and call.method not in NO_TRAINERS)


def _is_config(call: Call) -> bool:
    return call.method.endswith("TrainingArguments") or _of_trl(call)


def _of_trl(call: Call) -> bool:
    return call.method in (
        "SFTConfig",
        "DPOConfig",
        "GRPOConfig",
        "ORPOConfig",
        "KTOConfig",
        "CPOConfig",
        "RewardConfig",
    )


def _of_configs(reading: Reading, configs: list[Call], found: Training) -> None:
    for call in configs:
        _of_batch(reading, call, found)
        setting(reading, call, found, "optim", "optimizer", lambda value: OPTIMIZERS.get(str(value)))
        for name, knob in FLAGS.items():
            setting(reading, call, found, name, knob, lambda value: value if isinstance(value, bool) else None)
        setting(reading, call, found, "eval_accumulation_steps", "eval_accumulation_steps", count)
        setting(reading, call, found, "torch_compile", "compile", _compiled)
        _of_precision(reading, call, found)
        for name in ("max_length", "max_seq_length"):
            if name in call.arguments and (size := count(reading.script.literal(call.arguments[name]))):
                found.sizes.append(Statement("prompt_tokens", size, call.arguments[name].lineno))
        for name in SHARDING:
            if name in call.arguments and not _is_off(reading, call.arguments[name]):
                found.unread[name] = call.arguments[name].lineno
        if _of_trl(call):
            shown = {statement.name for statement in found.knobs}
            found.unread |= {name: call.line for name in TRL_DEFAULTS if name not in shown}
        if call.open:
            shown = {statement.name for statement in found.knobs}
            found.unread |= {name: call.line for name in CORE if name not in shown and name != "batch"}


def _compiled(value: object) -> str | None:
    return {"True": "forward", "False": "none"}.get(str(value))


def _is_off(reading: Reading, given: ast.expr) -> bool:
    value = reading.script.value(given)
    return isinstance(value, ast.Constant) and not value.value


def _of_batch(reading: Reading, call: Call, found: Training) -> None:
    """Sequences of one step of one device: those of one pass times the passes whose gradients are added."""
    numbers = {BATCH: DEFAULT_BATCH, STEPS: 1}
    line = call.line
    for name in numbers:
        if (given := call.arguments.get(name)) is None:
            if call.open:
                found.unread[name] = call.line
        elif (number := count(reading.script.literal(given))) is None:
            found.unread[name] = given.lineno
        else:
            numbers[name], line = number, given.lineno if name == BATCH else line
    if BATCH in found.unread:
        return
    found.sizes.append(Statement("batch", numbers[BATCH] * numbers[STEPS], line))
    if numbers[STEPS] > 1:
        found.knobs.append(Statement("batch_size", numbers[BATCH], line))


def _of_precision(reading: Reading, call: Call, found: Training) -> None:
    """bf16 and fp16: one that is true counts, two that are false mean neither."""
    given = {name: call.arguments[name] for name in ("bf16", "fp16") if name in call.arguments}
    told = {name: reading.script.literal(value) for name, value in given.items()}
    for name, value in given.items():
        if told[name] is True:
            found.knobs.append(Statement("mixed_precision", name, value.lineno))
        elif told[name] is not False:
            found.unread["mixed_precision"] = value.lineno
    if told and set(told.values()) == {False} and (len(told) == 2 or not _of_trl(call)):
        found.knobs.append(Statement("mixed_precision", "none", call.line))


def _of_adapters(reading: Reading, found: Training) -> None:
    """LoRA by get_peft_model, add_adapter or peft_config, and checkpoints that preparing for k bits turns on."""
    for call in reading.script.calls:
        if call.method in ("get_peft_model", "add_adapter"):
            found.knobs += _adapter(reading, call, next(iter(call.node.args[-1:]), None), found)
        elif "peft_config" in call.arguments and not _is_off(reading, call.arguments["peft_config"]):
            found.knobs += _adapter(reading, call, call.arguments["peft_config"], found)
        given = call.arguments.get("use_gradient_checkpointing")
        prepared = call.method == "prepare_model_for_kbit_training" and given is None
        if prepared or call.method == CHECKPOINTS or (given is not None and not _is_off(reading, given)):
            found.knobs.append(Statement("gradient_checkpointing", True, call.line))


def _adapter(reading: Reading, call: Call, config: ast.expr | None, found: Training) -> Iterator[Statement]:
    made = reading.script.value(call.arguments.get("peft_config", config))
    name = reading.script.dotted(made.func) if isinstance(made, ast.Call) else ""
    direct = "r" in call.arguments and call.receiver is not None  # FastLanguageModel.get_peft_model(model, r=16)
    # Where the configuration is made by a function of the script, it is what the script makes elsewhere.
    elsewhere = not name.endswith("Config") and bool(reading.named("LoraConfig"))
    if not direct and not name.endswith("LoraConfig") and not elsewhere:
        found.unread["adapters"] = call.line
        return
    yield Statement("adapters", "lora", call.line)
    given = call.arguments if direct else {k.arg: k.value for k in made.keywords} if isinstance(made, ast.Call) else {}
    if elsewhere and not direct:
        given = reading.named("LoraConfig")[0].arguments
    if "r" in given and reading.script.literal(given["r"]) != COUNTED_RANK:
        found.unread["lora_r"] = given["r"].lineno


def _settle(found: Training) -> None:
    """Checkpoints that a call has turned on stay on; what two places state differently is unread."""
    if any(s.name == "gradient_checkpointing" and s.value is True for s in found.knobs):
        found.knobs = [s for s in found.knobs if s.name != "gradient_checkpointing" or s.value is True]
        found.unread.pop("gradient_checkpointing", None)
    for statements in (found.knobs, found.sizes):
        values: dict[str, set[Value]] = {}
        for statement in statements:
            values.setdefault(statement.name, set()).add(statement.value)
        for statement in list(statements):
            unsettled = len(values[statement.name]) > 1
            if unsettled:
                found.unread.setdefault(statement.name, statement.line)
            if unsettled or (statement.name in found.unread and statement.name != "batch"):
                statements.remove(statement)
    found.knobs = [s for s in found.knobs if unusable(s.name, s.value) is None]
