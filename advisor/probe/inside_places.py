"""Loaded by inside_locate.py in the target interpreter: where a symbol stands in the installed packages.

Read from source text; nothing of the packages is imported. A symbol is `module:Name`, `module:Class.member`, with
`(argument)` behind it for an argument that it takes, or with `[value]` for a text that stands in it. Names that are
imported from elsewhere and members that are inherited are followed, as far as source goes.
"""

from __future__ import annotations  # The target may run an older Python than this program does.

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

SYMBOL = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)(?:\((\w+)\)|\[([\w|.-]+)\])?")
FUNCTION = re.compile(r"(async )?def \w+\(")
GONE, ABSENT, NO_SOURCE = "not in your version", "not installed", "its source cannot be read"
DEEPEST = 12
LARGEST_SOURCE_BYTES = 4_000_000
LONGEST_LINE = 60


class Missing(Exception):  # noqa: N818  # an answer, not an error
    """A symbol that is not there; the text says why."""


class Source:
    """One file: its path, the folder that holds its package, its lines and its syntax."""

    def __init__(self, path: Path, root: Path) -> None:
        if path.suffix not in (".py", ".pyi") or path.stat().st_size > LARGEST_SOURCE_BYTES:
            raise Missing(NO_SOURCE)
        self.path, self.root = path, root
        self.parsed: ast.Module | None = None
        try:
            self.text = path.read_text(encoding="utf-8")
        except (ValueError, OSError):
            raise Missing(NO_SOURCE) from None
        self.lines = self.text.splitlines()

    @property
    def tree(self) -> ast.Module:
        """The syntax, parsed when it is first asked for: that is what takes time."""
        if self.parsed is None:
            try:
                self.parsed = ast.parse(self.text)
            except (SyntaxError, ValueError, RecursionError):
                raise Missing(NO_SOURCE) from None
        return self.parsed

    def place(self, line: int) -> dict[str, Any]:
        return {"file": self.path.relative_to(self.root).as_posix(), "line": line, "text": shown(self.lines[line - 1])}

    def module_of(self, node: ast.ImportFrom) -> str:
        """The dotted module that an import names, the leading dots resolved."""
        package = list(self.path.relative_to(self.root).with_suffix("").parts)
        above = package[: len(package) - node.level] if node.level else []
        return ".".join([*above, *([node.module] if node.module else [])])


def shown(line: str) -> str:
    """A line of source for the screen: no blanks around it, of a function the name, an open bracket closed."""
    text = line.strip()
    if function := FUNCTION.match(text):
        return function[0] + "...)"
    text = text + "...)" if text.endswith("(") else text.rstrip(":")
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 3] + "..."


class Library:
    """The packages of this interpreter; each file is read once."""

    def __init__(self) -> None:
        self.files: dict[Path, Source] = {}

    def module(self, name: str) -> Source:
        """The file of a dotted module; of its parents none is run."""
        top, *parts = name.split(".")
        try:
            found = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            found = None
        if found is None or not found.origin:
            raise Missing(ABSENT)
        path = Path(found.origin)
        root = path.parent.parent if path.name.startswith("__init__.") else path.parent
        return self.read(self.file(path, parts), root)

    def file(self, path: Path, parts: list[str]) -> Path:
        for part in parts:
            folder = path.parent if path.name.startswith("__init__.") else None
            endings = ("/__init__.py", ".py", "/__init__.pyi", ".pyi")
            options = [folder / (part + ending) for ending in endings] if folder else []
            there = next((option for option in options if option.is_file()), None)
            if there is None:
                raise Missing(NO_SOURCE if folder and any(folder.glob(f"{part}.*.so")) else GONE)
            path = there
        return path

    def read(self, path: Path, root: Path) -> Source:
        if path not in self.files:
            self.files[path] = Source(path, root)
        return self.files[path]

    # --- names ---

    def name(self, source: Source, name: str, depth: int = 0) -> tuple[Source, ast.AST]:
        """What `name` means at the top level of a file, imports followed."""
        if depth > DEEPEST or (name not in source.text and "import *" not in source.text):
            raise Missing(GONE)
        imports: list[tuple[ast.ImportFrom, str]] = []
        for node in statements(source.tree.body):
            if defines(node, name):
                return source, node
            if isinstance(node, ast.ImportFrom) and "dummy" not in (node.module or ""):
                imports += [(node, one.name) for one in node.names if (one.asname or one.name) in (name, "*")]
        why = GONE
        for node, original in sorted(imports, key=lambda pair: unlikely(pair[0], pair[1], name)):
            try:
                return self.imported(source, node, name if original == "*" else original, depth)
            except Missing as missing:
                why = NO_SOURCE if str(missing) == NO_SOURCE else why
        raise Missing(why)

    def imported(self, source: Source, node: ast.ImportFrom, name: str, depth: int) -> tuple[Source, ast.AST]:
        module = source.module_of(node)
        try:
            return self.name(self.module(module), name, depth + 1)
        except Missing:
            inner = self.module(f"{module}.{name}")
            return inner, inner.tree

    def member(self, source: Source, owner: ast.AST, name: str, depth: int = 0) -> tuple[Source, ast.AST]:
        """A member of a class, its bases searched in their order; of a module, what the name means there."""
        if isinstance(owner, ast.Module):
            return self.name(source, name)
        if not isinstance(owner, ast.ClassDef) or depth > DEEPEST:
            raise Missing(GONE)
        own = [node for node in statements(owner.body) if defines(node, name)] or assigned_to_self(owner, name)
        if own:
            return source, own[0]
        for base in owner.bases:
            try:
                above = self.expression(source, base)
                return self.member(*above, name, depth + 1)
            except Missing:
                continue
        raise Missing(GONE)

    def expression(self, source: Source, node: ast.expr) -> tuple[Source, ast.AST]:
        """What a base class is, written as `Name` or `module.Name`."""
        if isinstance(node, ast.Name):
            return self.name(source, node.id)
        if isinstance(node, ast.Attribute):
            return self.member(*self.expression(source, node.value), node.attr)
        raise Missing(GONE)

    # --- symbols ---

    def place(self, symbol: str) -> dict[str, Any]:
        """Where a symbol stands."""
        written = SYMBOL.fullmatch(symbol)
        if written is None:
            raise Missing("no symbol: write module:Name")
        module, names, argument, value = written.groups()
        source = self.module(module)
        node: ast.AST = source.tree
        for name in names.split("."):
            source, node = self.member(source, node, name)
        if argument:
            source, node = self.argument(source, node, argument)
        line = text_line(source, node, value) if value else getattr(node, "lineno", 1)
        return {"symbol": symbol, **source.place(line)}

    def argument(self, source: Source, node: ast.AST, name: str) -> tuple[Source, ast.AST]:
        """An argument of a function, or of the making of a class: in the signature, taken from kwargs, or a field."""
        if isinstance(node, ast.ClassDef):
            try:
                return self.argument(*self.member(source, node, "__init__"), name)
            except Missing:
                return self.member(source, node, name)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            raise Missing(GONE)
        for given in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            if given.arg == name:
                return source, given
        for inner in ast.walk(node) if node.args.kwarg else ():
            if takes(inner, name):
                return source, inner
        raise Missing(GONE)


def statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements of a body and of the branches in it, in their order; of several overloads the last stands alone."""
    found: list[ast.stmt] = []
    for node in body:
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            found += statements(node.body)
            for handler in getattr(node, "handlers", ()):
                found += statements(handler.body)
            found += statements(getattr(node, "orelse", []))
        elif not (isinstance(node, ast.FunctionDef) and any(last(d) == "overload" for d in node.decorator_list)):
            found.append(node)
    return found


def unlikely(node: ast.ImportFrom, original: str, name: str) -> tuple[bool, bool]:
    """An order for imports: by name first; of whole modules, which may be hundreds, those whose own name fits."""
    return original == "*", (node.module or "").replace("_", "") not in name.lower()


def last(node: ast.AST) -> str | None:
    """The last part of a dotted name."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def defines(node: ast.AST, name: str) -> bool:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return node.name == name
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name


def assigned_to_self(owner: ast.ClassDef, name: str) -> list[ast.AST]:
    """Where a method sets `self.name`, the constructor first."""
    methods = [node for node in owner.body if isinstance(node, ast.FunctionDef)]
    methods.sort(key=lambda method: method.name not in ("__init__", "__post_init__"))
    return [node for method in methods for node in ast.walk(method) if sets(node, name)]


def sets(node: ast.AST, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(one, ast.Attribute) and one.attr == name and last(one.value) == "self" for one in targets)


def takes(node: ast.AST, name: str) -> bool:
    """`kwargs.pop("name")`, `kwargs.get("name")` or `"name" in kwargs`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("pop", "get"):
        return last(node.func.value) == "kwargs" and bool(node.args) and is_text(node.args[0], name)
    if isinstance(node, ast.Compare) and is_text(node.left, name):
        return last(node.comparators[0]) == "kwargs"
    return False


def is_text(node: ast.AST, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


def text_line(source: Source, node: ast.AST, text: str, depth: int = 0) -> int:
    """The line of a text that stands in a definition, or in what the definition adds up or is filled with."""
    for inner in ast.walk(node):
        if is_text(inner, text):
            return int(getattr(inner, "lineno", 1))
    names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    for part in statements(source.tree.body) if depth < DEEPEST and names else []:
        if isinstance(part, ast.Assign) and part is not node and assigned(part) in names:
            try:
                return text_line(source, part, text, depth + 1)
            except Missing:
                continue
    raise Missing(GONE)


def assigned(node: ast.Assign) -> str | None:
    """The name that an assignment sets or fills: `NAME = ...`, `NAME[...] = ...`."""
    target = node.targets[0]
    return last(target.value if isinstance(target, ast.Subscript) else target)
