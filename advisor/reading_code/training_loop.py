"""A training loop that is written by hand: its optimizer, its precision and its loader."""

from collections.abc import Iterator

from advisor.reading_code.calls import Call
from advisor.reading_code.findings import Reading, Statement
from advisor.reading_code.knobs import dtype_of
from advisor.reading_code.told import Training, count, setting

STEPS = "gradient_accumulation_steps"
OPTIMIZER_CLASSES = {
    **dict.fromkeys(("Adam", "AdamW"), "adamw"),
    **dict.fromkeys(("Adam8bit", "AdamW8bit"), "adamw_8bit"),
    **dict.fromkeys(("PagedAdam8bit", "PagedAdamW8bit"), "paged_adamw_8bit"),
    "Adafactor": "adafactor",
}
OTHER_OPTIMIZERS = ("SGD", "RMSprop", "Adagrad", "NAdam", "RAdam", "Lion", "Lion8bit", "PagedLion8bit", "PagedAdamW")


def of_loop(reading: Reading, found: Training, by_hand: bool) -> None:
    """Optimizer, precision and loader of a loop; what a Trainer is given beside its configuration counts too."""
    for call in reading.script.calls:
        if call.method in OPTIMIZER_CLASSES:
            found.knobs.append(Statement("optimizer", OPTIMIZER_CLASSES[call.method], call.line))
        elif call.method in OTHER_OPTIMIZERS:
            found.unread[call.method] = call.line
    if not by_hand:
        return
    steps = 1
    for call in reading.script.calls:
        if call.method == "Accelerator":
            setting(reading, call, found, "mixed_precision", "mixed_precision", _precision)
            if "mixed_precision" not in call.arguments:
                found.unread["mixed_precision"] = call.line  # `accelerate config` may have set it.
            steps = count(reading.script.literal(call.arguments.get(STEPS))) or steps
        elif call.method == "autocast" and not call.around.no_gradients:
            found.knobs += _autocast(reading, call, found)
    _of_loaders(reading, found, steps)


def _precision(value: object) -> str | None:
    return {"no": "none", "bf16": "bf16", "fp16": "fp16"}.get(str(value))


def _autocast(reading: Reading, call: Call, found: Training) -> Iterator[Statement]:
    """torch.autocast computes in float16 on CUDA where no type is named."""
    given = [*call.node.args[1:], *(value for name, value in call.arguments.items() if name == "dtype")]
    kinds = [kind for part in given if (kind := dtype_of(reading, part))]
    if "enabled" in call.arguments or len(kinds) < len(given):
        found.unread["mixed_precision"] = call.line
    elif kind := {"bfloat16": "bf16", "float16": "fp16"}.get(kinds[0] if kinds else "float16"):
        yield Statement("mixed_precision", kind, call.line)


def _of_loaders(reading: Reading, found: Training, steps: int) -> None:
    """The batch of the loader that shuffles, which is the one of training; of the only one where none does."""
    loaders = reading.named("DataLoader")
    shuffling = [call for call in loaders if reading.script.literal(call.arguments.get("shuffle")) is True] or loaders
    for call in shuffling:
        given = call.arguments.get("batch_size", call.node.args[1] if len(call.node.args) > 1 else None)
        hidden = given is None and (call.open or "batch_sampler" in call.arguments)
        size = 1 if given is None else count(reading.script.literal(given))
        if hidden or size is None:
            found.unread["batch"] = call.line
        else:
            found.sizes.append(Statement("batch", size * steps, call.line))
            if steps > 1:
                found.knobs.append(Statement("batch_size", size, call.line))
