"""Loaded by inside_software.py in the target interpreter: which settings the installed transformers takes.

Read from the source text of the package, which is never imported. Every function takes the package's folder and gives
names; None where the source cannot be read or is not as expected, an empty list where this version has no such thing.
"""

from __future__ import annotations  # The target may run an older Python than this program does.

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LARGEST_SOURCE_BYTES = 4_000_000
GENERATION = "generation/configuration_utils.py"
ANY_CACHE, OLD_CACHE = "ALL_CACHE_IMPLEMENTATIONS", "DEPRECATED_STATIC_CACHE_IMPLEMENTATIONS"
CHAT_ENDPOINT = "/v1/chat/completions"
SERVERS = ("cli/serve.py", "cli/serving/server.py", "cli/serving/chat_completion.py", "commands/serving.py")
"""Where `transformers serve` stands: from 4.54 in commands, from 5.0 in cli, from 5.5 in a package of its own. Before
4.54 the command of this name served pipelines and had no OpenAI endpoints."""


def settings(place: Path) -> dict[str, Any]:
    """All that is read here, by the names of the facts `transformers.*`."""
    return {
        **cache_implementations(place / GENERATION),
        "quantizers": quantizers(place / "quantizers"),
        "loading_arguments": loading_arguments(place / "modeling_utils.py"),
        "generation_settings": generation_settings(place / GENERATION),
        "continuous_settings": continuous_settings(place / "generation"),
        "compile_settings": fields(place / GENERATION, "CompileConfig"),
        "training_settings": fields(place / "training_args.py", "TrainingArguments"),
        "serve": any(CHAT_ENDPOINT in text(place / server) for server in SERVERS),
    }


def text(path: Path) -> str:
    """The source at `path`; empty where there is none or it is far too large to be source."""
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= LARGEST_SOURCE_BYTES else ""
    except (OSError, ValueError):
        return ""


def tree(path: Path) -> ast.Module | None:
    """The syntax of a source file; None where it cannot be read."""
    try:
        return ast.parse(source) if (source := text(path)) else None
    except (SyntaxError, ValueError, RecursionError):
        return None


def found_class(parsed: ast.Module, name: str) -> ast.ClassDef | None:
    return next((node for node in parsed.body if isinstance(node, ast.ClassDef) and node.name == name), None)


def method(owner: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def public(names: Any) -> list[str]:
    """Names once each, in their order, without those that begin with an underscore."""
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def fields(path: Path, name: str) -> list[str] | None:
    """The fields of a dataclass."""
    parsed = tree(path)
    if parsed is None:
        return None
    owner = found_class(parsed, name)
    return public(declared(owner)) if owner else []


def declared(owner: ast.ClassDef) -> Iterator[str]:
    for node in owner.body:
        if not isinstance(node, ast.AnnAssign) or "ClassVar" in ast.dump(node.annotation):
            continue
        if isinstance(node.target, ast.Name):
            yield node.target.id


# --- keyword arguments -----------------------------------------------------------------------------------------------


def loading_arguments(path: Path) -> list[str] | None:
    """What from_pretrained itself takes; arguments that it throws away unread are left out."""
    return keywords(path, "PreTrainedModel", "from_pretrained", ("cls", "pretrained_model_name_or_path"))


def generation_settings(path: Path) -> list[str] | None:
    """What GenerationConfig takes by name; anything else it merely stores."""
    return keywords(path, "GenerationConfig", "__init__", ("self",))


def keywords(path: Path, owner: str, name: str, positional: tuple[str, ...]) -> list[str] | None:
    """The named parameters of a method and the keys that it takes out of its `kwargs`."""
    parsed = tree(path)
    inside = found_class(parsed, owner) if parsed else None
    function = method(inside, name) if inside else None
    if function is None:
        return None
    given = [one.arg for one in (*function.args.args, *function.args.kwonlyargs) if one.arg not in positional]
    return public([*given, *taken(function)])


def taken(function: ast.FunctionDef) -> Iterator[str]:
    """Keys of `kwargs` that are read: popped or got, and not into `_` or into nothing."""
    dropped = {id(call) for node in ast.walk(function) if (call := dropped_value(node))}
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and id(node) not in dropped and is_read(node.func) and node.args:
            key = node.args[0]
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value


def is_read(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("pop", "get") and named(node.value) == "kwargs"


def dropped_value(node: ast.AST) -> ast.expr | None:
    """What a statement evaluates and does not keep."""
    if isinstance(node, ast.Expr) or (isinstance(node, ast.Assign) and named(node.targets[0]) == "_"):
        return node.value
    return None


def named(node: ast.AST) -> str | None:
    """The last part of a dotted name."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def continuous_settings(folder: Path) -> list[str] | None:
    """Fields of ContinuousBatchingConfig; before 5.4 what continuous batching reads off the generation config."""
    own = fields(folder / "configuration_utils.py", "ContinuousBatchingConfig")
    if own is None or own:
        return own
    package = folder / "continuous_batching"
    files = sorted(package.glob("*.py")) if package.is_dir() else [folder / "continuous_batching.py"]
    return public(name for file in files if (parsed := tree(file)) for name in asked_of_config(parsed))


def asked_of_config(parsed: ast.Module) -> Iterator[str]:
    """X of each `getattr(generation_config, "X", ...)`."""
    for node in ast.walk(parsed):
        if isinstance(node, ast.Call) and named(node.func) in ("getattr", "hasattr") and len(node.args) > 1:
            owner, key = node.args[0], node.args[1]
            if named(owner) == "generation_config" and isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value


# --- cache implementations -------------------------------------------------------------------------------------------


def cache_implementations(path: Path) -> dict[str, list[str] | None]:
    """Values of `cache_implementation`, those apart that the version itself calls deprecated."""
    parsed = tree(path)
    known = collections(parsed.body, {}) if parsed else {}
    every, old = known.get(ANY_CACHE), known.get(OLD_CACHE, [])
    current = None if every is None else [name for name in dict.fromkeys(every) if name not in old]
    return {"cache_implementations": current, "cache_implementations_deprecated": old if every is not None else None}


def collections(body: list[ast.stmt], known: dict[str, list[str]]) -> dict[str, list[str]]:
    """The lists, tuples and keys of dictionaries that a module assigns, one after the other, also under an `if`."""
    for node in body:
        if isinstance(node, ast.If):
            collections(node.body, known)
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Name) and (value := members(node.value, known)) is not None:
                known[target.id] = value
            elif isinstance(target, ast.Subscript) and named(target.value) in known:
                known[str(named(target.value))] += members(ast.List([target.slice]), known) or []
    return known


def members(node: ast.expr, known: dict[str, list[str]]) -> list[str] | None:
    """The texts of a collection written as literal, name, sum, list(...) or X.keys(); None for anything else."""
    if isinstance(node, (ast.Tuple, ast.List)):
        return [one.value for one in node.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    if isinstance(node, ast.Dict):
        return [one.value for one in node.keys if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = members(node.left, known), members(node.right, known)
        return None if left is None or right is None else left + right
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys":
        return members(node.func.value, known)
    if isinstance(node, ast.Call) and named(node.func) in ("list", "tuple") and node.args:
        return members(node.args[0], known)
    return None


# --- quantizers ------------------------------------------------------------------------------------------------------


def quantizers(folder: Path) -> list[str] | None:
    """Methods of the registry that this version carries out.

    From 5.0 the loader asks the quantizer's class for the operation on each weight (`get_quantize_ops`), and the base
    class answers NotImplementedError. A method is refused when its class wants weights quantized, is not for
    calibrated checkpoints alone, and inherits that answer.
    """
    parsed = tree(folder / "auto.py")
    registry = next(filter(None, map(mapping, parsed.body)), None) if parsed else None
    if registry is None:
        return None
    known = classes(folder)
    return [method for method, name in registry.items() if not is_refused(lineage(name, known))]


def mapping(node: ast.stmt) -> dict[str, str] | None:
    """AUTO_QUANTIZER_MAPPING as {method: name of the class}."""
    if not isinstance(node, ast.Assign) or named(node.targets[0]) != "AUTO_QUANTIZER_MAPPING":
        return None
    if not isinstance(node.value, ast.Dict):
        return None
    written = dict(zip(node.value.keys, node.value.values))  # noqa: B905  # `strict` is not in Python 3.9
    return {str(key.value): named(value) or "" for key, value in written.items() if isinstance(key, ast.Constant)}


def classes(folder: Path) -> dict[str, ast.ClassDef]:
    parsed = (tree(path) for path in sorted(folder.glob("*.py")))
    return {node.name: node for one in parsed if one for node in one.body if isinstance(node, ast.ClassDef)}


def lineage(name: str | None, known: dict[str, ast.ClassDef], seen: tuple[str, ...] = ()) -> list[ast.ClassDef]:
    """A class and its bases as far as they stand here, the nearest first."""
    if name not in known or name in seen:
        return []
    own = known[str(name)]
    above = [base for written in own.bases for base in lineage(named(written), known, (*seen, str(name)))]
    return [own, *above]


def is_refused(owners: list[ast.ClassDef]) -> bool:
    if any("requires_calibration" in truths(owner) for owner in owners[:1]):
        return False
    wants, operation = inherited(owners, "param_needs_quantization"), inherited(owners, "get_quantize_ops")
    if wants is None or operation is None or not raises(operation, "NotImplementedError"):
        return False
    last = wants.body[-1]
    return not (isinstance(last, ast.Return) and isinstance(last.value, ast.Constant) and last.value.value is False)


def truths(owner: ast.ClassDef) -> set[str]:
    """Names that a class body sets to True."""
    return {
        str(named(node.targets[0]))
        for node in owner.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is True
    }


def inherited(owners: list[ast.ClassDef], name: str) -> ast.FunctionDef | None:
    return next((found for owner in owners if (found := method(owner, name))), None)


def raises(function: ast.FunctionDef, error: str) -> bool:
    """Whether the last thing that a function does is to raise this error."""
    last = function.body[-1]
    return isinstance(last, ast.Raise) and isinstance(last.exc, ast.Call) and named(last.exc.func) == error
