"""What part a value plays in a script: a model, a tokenizer, a pipeline, a tokenizer's output, a generated output.

Told by where the value was made; where the script does not show that (an argument of a function), by its name.
"""

import ast
from dataclasses import dataclass, field

from advisor.reading_code.calls import DEEPEST_CHAIN, Call, Script

SAME = ("to", "cuda", "cpu", "eval", "half", "bfloat16", "float", "train", "requires_grad_", "to_bettertransformer")
"""Methods that give back what they are called on."""
MOVES = ("to", "cuda")
ENCODES = ("encode", "apply_chat_template", "batch_encode_plus", "encode_plus", "pad", "__call__")
MODEL_NAMES = ("model", "llm", "net")
TOKENIZER_NAMES = ("tokenizer", "tok", "processor")
INPUT_NAMES = ("inputs", "input_ids", "model_inputs", "encoded", "encodings")


@dataclass
class Roles:
    """Answers for one script, remembered by name."""

    script: Script
    _known: dict[str, str | None] = field(default_factory=dict)
    _moved: dict[str, bool | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """`inputs.to(device)` as a statement moves a BatchEncoding in place."""
        for call in self.script.calls:
            if call.method in MOVES and call.receiver is not None and self.of(call.receiver) == "inputs":
                self._moved[self.script.dotted(call.receiver)] = True

    def of(self, node: ast.expr | None, depth: int = 0) -> str | None:
        """`model`, `embedder`, `tokenizer`, `pipeline`, `inputs`, `outputs`, `config`, or None where nothing tells."""
        if depth > DEEPEST_CHAIN:
            return None
        match node:
            case ast.Name() | ast.Attribute():
                return self._named(node, depth)
            case ast.Call():
                return self._called(node, depth)
            case ast.Subscript(value=value) | ast.Starred(value=value) | ast.Await(value=value):
                return self.of(value, depth + 1)
            case ast.DictComp(value=value, generators=[ast.comprehension(iter=source)]):
                return self.of(value, depth + 1) or self.of(source, depth + 1)
            case _:
                return None

    def _named(self, node: ast.Name | ast.Attribute, depth: int) -> str | None:
        name = self.script.dotted(node)
        if name not in self._known:
            self._known[name] = None  # A name bound to itself tells nothing.
            bound = self.script.bindings.get(name, [])
            told = next((role for value in bound[:DEEPEST_CHAIN] if (role := self.of(value, depth + 1))), None)
            if told is None and isinstance(node, ast.Attribute):
                base = self.of(node.value, depth + 1)
                told = base if base in ("inputs", "outputs") else None
            self._known[name] = told or (None if bound else _by_name(name.rpartition(".")[2]))
        return self._known[name]

    def _called(self, node: ast.Call, depth: int) -> str | None:
        name = self.script.dotted(node.func)
        method = name.rpartition(".")[2]
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        match method:
            case "from_pretrained" | "from_config":
                return _made_by(name.split(".")[-2] if "." in name else "")
            case "pipeline":
                return "pipeline"
            case "generate":
                return "outputs"
            case "SentenceTransformer":
                return "embedder"
            case "get_peft_model" | "prepare_model_for_kbit_training":
                return "model"
            case "compile" if name == "torch.compile":
                return self.of(node.args[0], depth + 1) if node.args else None
            case "items" if owner is not None:
                return self.of(owner, depth + 1)
        if method in ENCODES and self.of(owner, depth + 1) == "tokenizer":
            return "inputs"
        if method in SAME and owner is not None:
            return self.of(owner, depth + 1)
        return {"tokenizer": "inputs", "model": "outputs"}.get(self.of(node.func, depth + 1) or "")

    def is_plain_forward(self, call: Call) -> bool:
        """`model(...)` or `model.forward(...)`."""
        func = call.node.func
        if isinstance(func, ast.Attribute) and func.attr == "forward":
            return self.of(func.value) == "model"
        return isinstance(func, ast.Name | ast.Attribute) and self.of(func) == "model"

    def moved(self, node: ast.expr | None, depth: int = 0) -> bool | None:
        """Whether a tokenizer's output was moved to a device. None where the script does not show its making."""
        if depth > DEEPEST_CHAIN:
            return None
        match node:
            case ast.Call(func=ast.Attribute(attr=method, value=owner)) if method in MOVES:
                return True if self.of(owner) in ("inputs", None) else None
            case ast.Call() if self.of(node) == "inputs":
                return False
            case ast.Subscript(value=value) | ast.Starred(value=value):
                return self.moved(value, depth + 1)
            case ast.DictComp(value=value):
                return self.moved(value, depth + 1)
            case ast.Name() | ast.Attribute():
                return self._moved_name(node, depth)
            case _:
                return None

    def _moved_name(self, node: ast.Name | ast.Attribute, depth: int) -> bool | None:
        name = self.script.dotted(node)
        if name not in self._moved:
            self._moved[name] = None
            bound = self.script.bindings.get(name, [])
            told = [self.moved(value, depth + 1) for value in bound[-DEEPEST_CHAIN:]]
            if not bound and isinstance(node, ast.Attribute):
                told = [self.moved(node.value, depth + 1)]
            self._moved[name] = True if any(told) else False if told and None not in told else None
        return self._moved[name]


def _made_by(owner: str) -> str | None:
    """What from_pretrained of this class gives."""
    if "Config" in owner:
        return "config"
    if any(part in owner for part in ("Tokenizer", "Processor", "Extractor")):
        return "tokenizer"
    return "model" if "Model" in owner or "For" in owner or "LM" in owner else None


def _by_name(name: str) -> str | None:
    for names, role in ((MODEL_NAMES, "model"), (TOKENIZER_NAMES, "tokenizer"), (INPUT_NAMES, "inputs")):
        if name in names:
            return role
    return None
