"""What a script does, as facts `code.*`. A thing that is not there is false; what the text cannot tell is unknown."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from advisor.facts import Fact, Known, Unknown, Value
from advisor.reading_code.calls import Call, Script, script
from advisor.reading_code.roles import Roles
from advisor.reading_code.source import Source

CACHES = ("StaticCache", "DynamicCache", "QuantizedCache", "EncoderDecoderCache")


@dataclass(frozen=True)
class Statement:
    """One thing stated: the name of a knob or of a workload's field, the value, the line."""

    name: str
    value: Value
    line: int


@dataclass(frozen=True)
class Reading:
    """A script with everything that findings and knobs ask of it."""

    source: Source
    script: Script
    roles: Roles
    loops: dict[int, bool] = field(default_factory=dict)
    """For each loop looked at, by identity, whether it goes over prompts one by one."""

    @classmethod
    def of(cls, source: Source) -> "Reading":
        found = script(source.tree)
        return cls(source, found, Roles(found))

    @cached_property
    def generates(self) -> list[Call]:
        return [call for call in self.script.calls if call.method == "generate" and call.receiver is not None]

    @cached_property
    def forwards(self) -> list[Call]:
        return [call for call in self.script.calls if self.roles.is_plain_forward(call)]

    @cached_property
    def embeds(self) -> list[Call]:
        """Calls of `encode` on a SentenceTransformer, or on what is called like a model."""
        known = ("embedder", "model")
        return [
            call
            for call in self.script.calls
            if call.method == "encode" and call.receiver is not None and self.roles.of(call.receiver) in known
        ]

    @cached_property
    def pipelines(self) -> list[Call]:
        """Calls that make a pipeline."""
        return [call for call in self.script.calls if call.name in ("pipeline", "transformers.pipeline")]

    @cached_property
    def piped(self) -> list[Call]:
        """Calls of a pipeline."""
        return [call for call in self.script.calls if self.roles.of(call.node.func) == "pipeline"]

    @cached_property
    def batches(self) -> list[Call]:
        """Calls of continuous batching."""
        names = ("generate_batch", "init_continuous_batching", "continuous_batching_context_manager")
        return [call for call in self.script.calls if call.method in names]

    @cached_property
    def loads(self) -> list[Call]:
        """Calls that load a model."""
        return [
            call
            for call in self.script.calls
            if call.method in ("from_pretrained", "from_config") and self.roles.of(call.node) == "model"
        ]

    @cached_property
    def bnb_configs(self) -> dict[int, Call]:
        """Configurations of bitsandbytes, by the identity of their node."""
        return {id(call.node): call for call in self.named("BitsAndBytesConfig")}

    @cached_property
    def tokenizes(self) -> list[Call]:
        return [call for call in self.script.calls if self.roles.of(call.node) == "inputs"]

    def named(self, *names: str) -> list[Call]:
        """Calls of a function or class by the last part of its name."""
        return [call for call in self.script.calls if call.method in names]

    def at(self, value: Value, line: int | None) -> Known:
        """A value with its place in the script."""
        return Known(value, self.source.place(line))

    def found(self, lines: Iterable[int]) -> Known:
        """True at the first of the lines; false where there is none."""
        first = min(lines, default=None)
        return self.at(first is not None, first)

    def with_argument(self, calls: Iterable[Call], name: str, *values: object) -> Fact:
        """Whether one of the calls gives an argument (one of `values`, where any are named)."""
        hidden = None
        for call in calls:
            given = call.arguments.get(name)
            if given is None:
                hidden = call.line if call.open else hidden
            elif not values or self._is_one_of(given, values):
                return self.at(True, given.lineno)
            elif not isinstance(self.script.value(given), ast.Constant):
                hidden = given.lineno
        return self.at(False, None) if hidden is None else self.unclear(hidden, name)

    def _is_one_of(self, node: ast.expr, values: tuple[object, ...]) -> bool:
        literal = self.script.literal(node)
        return any(literal is not None and type(literal) is type(value) and literal == value for value in values)

    def unclear(self, line: int, what: str) -> Unknown:
        return Unknown(f"{self.source.place(line)} does not show {what}")


def flags(reading: Reading) -> dict[str, Fact]:
    """Facts that are there or not: a call, an argument, an attribute."""
    calls, attributes = reading.script.calls, reading.script.attributes
    tokenizing = reading.tokenizes + reading.piped
    return {
        "code.generates": reading.found(call.line for call in reading.generates),
        "code.calls_forward": reading.found(call.line for call in reading.forwards),
        "code.uses_pipeline": reading.found(call.line for call in reading.pipelines),
        "code.batches_continuously": reading.found(call.line for call in reading.batches),
        "code.computes_metrics": reading.found(
            call.line for call in calls if call.arguments.get("compute_metrics") is not None
        ),
        "code.pads_to_max_length": reading.with_argument(tokenizing, "padding", "max_length"),
        "code.pads_in_batches": reading.with_argument(tokenizing, "padding", True, "longest"),
        "code.pads_to_multiple": reading.with_argument(tokenizing, "pad_to_multiple_of"),
        "code.sets_left_padding": _left_padding(reading),
        "code.reads_attentions": reading.found(_attention_lines(reading)),
        "code.resets_cache": reading.found(
            call.line for call in calls if call.method == "reset" and _is_cache(reading, call.receiver)
        ),
        "code.pipeline_device": _pipeline_device(reading),
        "code.collects_logits": reading.found(_collecting(reading)),
        "code.checks_request_status": _only_where(
            reading.batches,
            reading.found(node.lineno for node in attributes if node.attr in ("status", "error", "is_finished")),
            "continuous batching",
        ),
    }


def compiling(reading: Reading) -> dict[str, Fact]:
    """What torch.compile is put on. `model.compile()` compiles in place: it is the forward pass that gets compiled."""
    calls = reading.named("compile")
    wrapped = [(call, call.node.args[0]) for call in calls if call.name == "torch.compile" and call.node.args]
    in_place = [
        call.line for call in calls if call.name != "torch.compile" and reading.roles.of(call.receiver) == "model"
    ]

    def of_method(name: str) -> list[int]:
        return [call.line for call, part in wrapped if isinstance(part, ast.Attribute) and part.attr == name]

    return {
        "code.compiles_generate": reading.found(of_method("generate")),
        "code.compiles_forward": reading.found([*of_method("forward"), *in_place]),
        "code.compiles_model": reading.found(call.line for call, part in wrapped if _is_model(reading, part)),
    }


def _is_model(reading: Reading, target: ast.expr) -> bool:
    if isinstance(target, ast.Attribute) and target.attr in ("forward", "generate"):
        return False
    return reading.roles.of(target) == "model"


def _left_padding(reading: Reading) -> Fact:
    """padding_side="left" as an argument, or set on the tokenizer."""
    set_on = [
        value
        for name, values in reading.script.bindings.items()
        if name.endswith(".padding_side")
        for value in values
        if reading.script.literal(value) == "left"
    ]
    if set_on:
        return reading.at(True, set_on[0].lineno)
    return reading.with_argument(
        (c for c in reading.script.calls if "padding_side" in c.arguments), "padding_side", "left"
    )


def _attention_lines(reading: Reading) -> Iterator[int]:
    for call in reading.script.calls:
        if (given := call.arguments.get("output_attentions")) and reading.script.literal(given) is True:
            yield given.lineno
    yield from (node.lineno for node in reading.script.attributes if node.attr == "attentions")


def _is_cache(reading: Reading, node: ast.expr | None) -> bool:
    made = reading.script.value(node)
    return isinstance(made, ast.Call) and reading.script.dotted(made.func).rpartition(".")[2] in CACHES


def _pipeline_device(reading: Reading) -> Fact:
    known = [reading.with_argument(reading.pipelines, name) for name in ("device", "device_map")]
    given = next((fact for fact in known if isinstance(fact, Known) and fact.value), known[0])
    return _only_where(reading.pipelines, given, "a pipeline")


def _collecting(reading: Reading) -> Iterator[int]:
    """Lists that grow by logits, scores or hidden states."""
    for call in reading.script.calls:
        if call.method == "append" and call.node.args and call.around.loops:
            kept = call.node.args[0]
            if isinstance(kept, ast.Attribute) and kept.attr in ("logits", "hidden_states", "scores"):
                yield call.line


def _only_where(calls: list[Call], fact: Fact, what: str) -> Fact:
    return fact if calls else Unknown(f"the script does not use {what}")
