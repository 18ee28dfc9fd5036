"""What a script says of its training: settings of TrainingArguments and of TRL's configurations, adapters of PEFT, and
the optimizer, mixed precision and loader of a loop written by hand.

Only literals count, and names bound once to one. A setting that is given otherwise (`**options`, a parser, a file) is
`unread`: the estimate goes by the default there, which the user must hear.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from advisor.facts import Fact, Unknown, Value
from advisor.reading_code.calls import Call
from advisor.reading_code.findings import Reading, Statement
from advisor.reading_code.knobs import dtype_of
from advisor.reading_code.lengths import cut
from advisor.setup import unusable
from advisor.workload import LARGEST

BATCH, STEPS = "per_device_train_batch_size", "gradient_accumulation_steps"
DEFAULT_BATCH = 8
"""per_device_train_batch_size where it is not given (training_args.py)."""
OPTIMIZERS = {
    **dict.fromkeys(("adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_apex_fused", "adamw_torch_xla"), "adamw"),
    **dict.fromkeys(("adamw_8bit", "adamw_bnb_8bit"), "adamw_8bit"),
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
}
"""Values of `optim` whose memory is known, as values of the knob."""
OPTIMIZER_CLASSES = {
    **dict.fromkeys(("Adam", "AdamW"), "adamw"),
    **dict.fromkeys(("Adam8bit", "AdamW8bit"), "adamw_8bit"),
    **dict.fromkeys(("PagedAdam8bit", "PagedAdamW8bit"), "paged_adamw_8bit"),
    "Adafactor": "adafactor",
}
OTHER_OPTIMIZERS = ("SGD", "RMSprop", "Adagrad", "NAdam", "RAdam", "Lion", "Lion8bit", "PagedLion8bit", "PagedAdamW")
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
COUNTED_RANK = 16
"""Rank of the adapters that the estimate counts."""


@dataclass
class Training:
    """What is stated of knobs and sizes, and the settings that are there but not read, with their lines."""

    knobs: list[Statement] = field(default_factory=list)
    sizes: list[Statement] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)


def training(reading: Reading) -> Training:
    """Everything of this file; nothing where the script does not train."""
    found = Training()
    if (line := trains(reading)) is None:
        return found
    configs = [call for call in reading.script.calls if _is_config(call)]
    _of_configs(reading, configs, found)
    _of_adapters(reading, found)
    _of_loop(reading, found, by_hand=not configs)
    if not any(statement.name == "prompt_tokens" for statement in found.sizes):
        found.sizes += cut(reading)
    found.unread |= {call.method: call.line for call in _training_calls(reading) if call.method in OTHER_LOSSES}
    _settle(found)
    told = {statement.name for statement in (*found.knobs, *found.sizes)}
    if not configs:
        # Without a configuration in sight, a Trainer gets its settings from elsewhere; a loop has those it shows.
        looped = all(call.method == "backward" for call in _training_calls(reading))
        needed = ("batch", "optimizer") if looped else CORE
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
    none = Unknown("the script does not train")
    return {
        "code.trains": reading.at(line is not None, line),
        "code.shows_training": none if line is None else reading.at(not unread, first),
        "code.unread_settings": none if line is None else reading.at(tuple(unread), first),
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
        _setting(reading, call, found, "optim", "optimizer", lambda value: OPTIMIZERS.get(str(value)))
        for name, knob in FLAGS.items():
            _setting(reading, call, found, name, knob, lambda value: value if isinstance(value, bool) else None)
        _setting(reading, call, found, "eval_accumulation_steps", "eval_accumulation_steps", _count)
        _setting(reading, call, found, "torch_compile", "compile", _compiled)
        _of_precision(reading, call, found)
        for name in ("max_length", "max_seq_length"):
            if name in call.arguments and (size := _count(reading.script.literal(call.arguments[name]))):
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


def _setting(
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


def _compiled(value: object) -> str | None:
    return {"True": "forward", "False": "none"}.get(str(value))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST else None


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
        elif (number := _count(reading.script.literal(given))) is None:
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
        elif call.method == "prepare_model_for_kbit_training":
            given = call.arguments.get("use_gradient_checkpointing")
            if given is None or not _is_off(reading, given):
                found.knobs.append(Statement("gradient_checkpointing", True, call.line))
        elif call.method == "gradient_checkpointing_enable":
            found.knobs.append(Statement("gradient_checkpointing", True, call.line))


def _adapter(reading: Reading, call: Call, config: ast.expr | None, found: Training) -> Iterator[Statement]:
    made = reading.script.value(call.arguments.get("peft_config", config))
    name = reading.script.dotted(made.func) if isinstance(made, ast.Call) else ""
    direct = "r" in call.arguments and call.receiver is not None  # FastLanguageModel.get_peft_model(model, r=16)
    if not direct and not name.endswith("LoraConfig"):
        found.unread["adapters"] = call.line
        return
    yield Statement("adapters", "lora", call.line)
    given = call.arguments if direct else {k.arg: k.value for k in made.keywords} if isinstance(made, ast.Call) else {}
    if "r" in given and reading.script.literal(given["r"]) != COUNTED_RANK:
        found.unread["r"] = given["r"].lineno


def _of_loop(reading: Reading, found: Training, by_hand: bool) -> None:
    """Optimizer, precision and loader of a loop; what a Trainer is given beside its configuration counts too."""
    for call in reading.script.calls:
        if call.method in OPTIMIZER_CLASSES:
            found.knobs.append(Statement("optimizer", OPTIMIZER_CLASSES[call.method], call.line))
        elif call.method in OTHER_OPTIMIZERS:
            found.unread["optimizer"] = call.line
    if not by_hand:
        return
    for call in reading.script.calls:
        if call.method == "Accelerator":
            _setting(reading, call, found, "mixed_precision", "mixed_precision", _precision)
        elif call.method == "autocast" and not call.around.no_gradients:
            found.knobs += _autocast(reading, call)
    _of_loaders(reading, found)


def _precision(value: object) -> str | None:
    return {"no": "none", "bf16": "bf16", "fp16": "fp16"}.get(str(value))


def _autocast(reading: Reading, call: Call) -> Iterator[Statement]:
    """torch.autocast computes in float16 on CUDA where no type is named."""
    given = [*call.node.args, *(value for name, value in call.arguments.items() if name == "dtype")]
    kinds = [kind for part in given if (kind := dtype_of(reading, part))]
    short = {"bfloat16": "bf16", "float16": "fp16", "float32": None}
    kind = short[kinds[0]] if kinds else "fp16"
    if kind:
        yield Statement("mixed_precision", kind, call.line)


def _of_loaders(reading: Reading, found: Training) -> None:
    """The batch of the loader that shuffles, which is the one of training; of the only one where none does."""
    loaders = reading.named("DataLoader")
    shuffling = [call for call in loaders if reading.script.literal(call.arguments.get("shuffle")) is True] or loaders
    for call in shuffling:
        given = call.arguments.get("batch_size", call.node.args[1] if len(call.node.args) > 1 else None)
        hidden = given is None and (call.open or "batch_sampler" in call.arguments)
        size = 1 if given is None else _count(reading.script.literal(given))
        if hidden or size is None:
            found.unread["batch"] = call.line
        else:
            found.sizes.append(Statement("batch", size, call.line))


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
