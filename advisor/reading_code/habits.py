"""How a script goes about its work, as facts `code.*`: loops over prompts, padding, caches kept, what is timed."""

import ast
from collections.abc import Iterable, Iterator

from advisor.facts import Fact, Unknown
from advisor.reading_code.calls import Call, Loop
from advisor.reading_code.findings import Reading

CLOCKS = ("time", "perf_counter", "perf_counter_ns", "monotonic", "time_ns", "process_time", "default_timer")
CLOCK_OWNERS = ("time", "timeit", "?")
LOGITS_ARGUMENTS = ("logits_to_keep", "num_logits_to_keep")
BATCH_WORDS = ("batch", "chunk", "group", "bucket")
SEVERAL = ("batches", "chunks", "groups", "buckets")
"""What a list of batches is called. The members of a `batch` are single things."""


def habits(reading: Reading) -> dict[str, Fact]:
    """All facts of this file."""
    return {
        "code.loops_over_prompts": loops(reading),
        "code.pipeline_one_by_one": pipeline_one_by_one(reading),
        "code.moves_inputs": moves_inputs(reading),
        "code.no_gradients": no_gradients(reading),
        "code.keeps_all_logits": keeps_all_logits(reading),
        "code.reuses_static_cache": reading.found(_kept_caches(reading)),
        "code.times_first_call": times_first_call(reading),
    }


def loops(reading: Reading) -> Fact:
    """Whether generate runs once for each prompt: in a loop over single things, or in a function called in one."""
    if not reading.generates and not reading.piped:
        return Unknown("the script calls neither generate nor a pipeline")
    return reading.found(loop_lines(reading))


def loop_lines(reading: Reading) -> list[int]:
    """Where one prompt after the other is answered."""
    return sorted(call.line for call in answering(reading) if _prompt_loop(reading, call))


def answering(reading: Reading) -> list[Call]:
    """Calls of generate and of pipelines, and of the script's own functions that make such a call."""
    return _with_callers(reading, [*reading.generates, *reading.piped])


def embedding_loop_lines(reading: Reading) -> list[int]:
    """Where one text after the other goes through the model by itself, or through encode of sentence-transformers."""
    calls = _with_callers(reading, [*reading.forwards, *reading.embeds])
    return sorted(call.line for call in calls if _prompt_loop(reading, call))


def _with_callers(reading: Reading, direct: list[Call]) -> list[Call]:
    """These calls, and calls of the script's own functions in which they stand."""
    inside = {call.around.function.name for call in direct if call.around.function is not None}
    known = {id(call) for call in direct}
    return direct + [call for call in reading.script.calls if call.method in inside and id(call) not in known]


def _prompt_loop(reading: Reading, call: Call) -> bool:
    """Whether the innermost loop around a call goes over prompts; each loop is looked at once."""
    if not call.around.loops:
        return False
    loop = call.around.loops[-1]
    if id(loop) not in reading.loops:
        reading.loops[id(loop)] = _over_single_things(reading, loop)
    return reading.loops[id(loop)]


def _over_single_things(reading: Reading, loop: Loop) -> bool:
    """A loop whose variable is one prompt: not a step of several, not a batch, not a mere repetition."""
    if isinstance(loop, ast.While):
        return False
    names = {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}
    if not {name for name in names if not name.startswith("_")} or _repeats(loop):
        return False
    if any(word in name.lower() for name in names for word in BATCH_WORDS):
        return False
    return not _gives_batches(reading, loop.iter)


def _repeats(loop: Loop) -> bool:
    """`for i in range(5)` whose variable nobody reads: the same thing again."""
    if isinstance(loop, ast.While | ast.comprehension) or not isinstance(loop.iter, ast.Call):
        return False
    if not isinstance(loop.target, ast.Name) or not isinstance(loop.iter.func, ast.Name):
        return False
    read = (node for part in loop.body for node in ast.walk(part) if isinstance(node, ast.Name))
    return loop.iter.func.id == "range" and all(node.id != loop.target.id for node in read)


def _gives_batches(reading: Reading, iterated: ast.expr) -> bool:
    """range(a, b, step), a DataLoader of more than one, batched(...)."""
    made = reading.script.value(iterated)
    if (
        isinstance(made, ast.Call)
        and reading.script.dotted(made.func) in ("tqdm", "tqdm.tqdm", "enumerate")
        and made.args
    ):
        made = reading.script.value(made.args[0])
    if isinstance(made, ast.Name | ast.Attribute):
        # The loader of another file, or an argument: its name is all that tells.
        called = reading.script.dotted(made).rpartition(".")[2].lower()
        return "loader" in called or called.endswith(SEVERAL)
    if not isinstance(made, ast.Call):
        return False
    name = reading.script.dotted(made.func).rpartition(".")[2]
    sizes = [k.value for k in made.keywords if k.arg == "batch_size"] + made.args[1:2]
    if name == "DataLoader":
        return bool(sizes) and reading.script.literal(sizes[0]) != 1
    return (name == "range" and len(made.args) == 3) or any(word in name.lower() for word in BATCH_WORDS)


def pipeline_one_by_one(reading: Reading) -> Fact:
    """A pipeline that gets many prompts and no batch_size runs them one after the other: its default is 1."""
    if not reading.piped:
        return reading.at(False, None)
    batched = reading.with_argument([*reading.pipelines, *reading.piped], "batch_size")
    if isinstance(batched, Unknown):
        return batched
    if batched.value and not any(_prompt_loop(reading, call) for call in reading.piped):
        return reading.at(False, None)
    return reading.found(call.line for call in reading.piped if _prompt_loop(reading, call) or _many(reading, call))


def _many(reading: Reading, call: Call) -> bool:
    given = reading.script.value(call.node.args[0]) if call.node.args else None
    if isinstance(given, ast.List):
        return len(given.elts) > 1 and not all(isinstance(part, ast.Dict) for part in given.elts)
    return isinstance(given, ast.ListComp)


def moves_inputs(reading: Reading) -> Fact:
    """Whether what the tokenizer gives is moved to a device before the model gets it."""
    calls = [*reading.generates, *reading.forwards]
    given = [(call, part) for call in calls for part in _inputs(call) if reading.roles.of(part) == "inputs"]
    if not given:
        return Unknown("no call of the model shows a tokenizer's output")
    told = [(call, reading.roles.moved(part)) for call, part in given]
    if left := [call.line for call, moved in told if moved is False]:
        return reading.at(False, min(left))
    if unclear := [call.line for call, moved in told if moved is None]:
        return reading.unclear(min(unclear), "where its inputs are")
    return reading.found(call.line for call, _ in told)


def _inputs(call: Call) -> Iterator[ast.expr]:
    yield from call.node.args[:1]
    yield from (keyword.value for keyword in call.node.keywords if keyword.arg in (None, "input_ids", "inputs"))


def no_gradients(reading: Reading) -> Fact:
    """Whether every plain forward call stands under no_grad or inference_mode. generate needs none: it has its own."""
    if not reading.forwards:
        return Unknown("the script calls the model by generate or a pipeline alone")
    switches = reading.named("set_grad_enabled")
    if any(not call.around.function and reading.script.literal(_first(call)) is False for call in switches):
        return reading.at(True, switches[0].line)
    recording = [call.line for call in reading.forwards if not call.around.no_gradients]
    if recording and not _all_called_quietly(reading):
        return reading.at(False, min(recording))
    return reading.at(True, reading.forwards[0].line)


def _all_called_quietly(reading: Reading) -> bool:
    """Each function that holds a recording call is itself only called where gradients are off."""
    loud = [call.around.function for call in reading.forwards if not call.around.no_gradients]
    names = {None if function is None else function.name for function in loud}
    uses = [call for call in reading.script.calls if call.method in names]
    called = {call.method for call in uses}
    return names <= called and all(use.around.no_gradients for use in uses)


def _first(call: Call) -> ast.expr | None:
    return call.node.args[0] if call.node.args else None


def keeps_all_logits(reading: Reading) -> Fact:
    """Logits of every position are computed, and only those of the last one are read."""
    asked = [call for call in reading.forwards if not set(LOGITS_ARGUMENTS) & set(call.arguments)]
    reads = [node for node in reading.script.attributes if node.attr == "logits"]
    last = [node for node in reading.script.subscripts if _is_logits(node.value) and _last_position(node)]
    return reading.found([call.line for call in asked] if reads and len(last) == len(reads) else [])


def _is_logits(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "logits"


def _last_position(node: ast.Subscript) -> bool:
    """`[:, -1]` or `[0, -1]`, with or without more axes."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else []
    place = parts[1] if len(parts) > 1 else None
    return isinstance(place, ast.UnaryOp) and isinstance(place.op, ast.USub) and _is_one(place.operand)


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1


def _kept_caches(reading: Reading) -> Iterator[int]:
    """Calls that get a StaticCache which an earlier call has filled."""
    seen: set[str] = set()
    for call in reading.generates:
        given = call.arguments.get("past_key_values")
        made = reading.script.value(given)
        if not isinstance(made, ast.Call) or not isinstance(given, ast.Name | ast.Attribute):
            continue
        if not reading.script.dotted(made.func).endswith("StaticCache"):
            continue
        name = reading.script.dotted(given)
        again = any(_repeated(loop, made) for loop in call.around.loops)
        if name in seen or again:
            yield call.line
        seen.add(name)


def _repeated(loop: Loop, made: ast.Call) -> bool:
    """Whether the loop runs after the cache was made, not around its making."""
    line = loop.target.lineno if isinstance(loop, ast.comprehension) else loop.lineno
    return made.lineno < line


def times_first_call(reading: Reading) -> Fact:
    """Whether a clock is read around the first call that generates in its function, with none before to warm up."""
    calls = answering(reading)
    clocks = [call for call in reading.script.calls if call.method in CLOCKS and _is_clock(call)]
    if not calls or not clocks:
        return reading.at(False, None)
    if any("warm" in call.name.lower() for call in reading.script.calls):
        return reading.at(False, None)
    ticks, answers = _by_function(clocks), _by_function(calls)
    return reading.found(
        answers[function][0]
        for function, ticked in ticks.items()
        if function in answers and ticked[0] <= answers[function][0] < ticked[-1]
    )


def _is_clock(call: Call) -> bool:
    return call.name.split(".")[0] in CLOCK_OWNERS


def _by_function(calls: Iterable[Call]) -> dict[int, list[int]]:
    """The lines of calls, in order, by the function they stand in."""
    found: dict[int, list[int]] = {}
    for call in sorted(calls, key=lambda call: call.line):
        found.setdefault(id(call.around.function), []).append(call.line)
    return found
