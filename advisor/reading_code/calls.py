"""The calls in a script, each with its dotted name, its arguments and the loops and switches it stands in.

One pass over the tree, without recursion: the text may come from anybody and be nested as deep as Python allows.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

DEEPEST_CHAIN = 12
"""Links of a.b.c or of names bound to names that are followed; longer ones are nobody's model."""

MOST_ENTRIES = 200
"""Arguments that a dictionary may hold; larger ones are data."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Loop = ast.For | ast.AsyncFor | ast.comprehension | ast.While


@dataclass(frozen=True)
class Around:
    """What a node stands in: its loops, outermost first, the function, and whether gradients are switched off."""

    loops: tuple[Loop, ...] = ()
    function: Function | None = None
    no_gradients: bool = False


@dataclass(frozen=True)
class Call:
    """A call. `name` is dotted with aliases of imports resolved; `open` says that arguments stay hidden (`**unknown`).

    `arguments` holds the keyword arguments, those of dictionaries that the script spells out included.
    """

    name: str
    node: ast.Call
    around: Around
    arguments: Mapping[str, ast.expr]
    open: bool

    @property
    def line(self) -> int:
        return self.node.lineno

    @property
    def method(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]

    @property
    def receiver(self) -> ast.expr | None:
        """What a method is called on."""
        return self.node.func.value if isinstance(self.node.func, ast.Attribute) else None


@dataclass
class Script:
    """What one pass finds: calls in order, bindings by dotted name, entries set by key, imports by alias."""

    calls: list[Call] = field(default_factory=list)
    bindings: dict[str, list[ast.expr]] = field(default_factory=dict)
    entries: dict[str, dict[str, ast.expr]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    import_lines: dict[str, int] = field(default_factory=dict)
    attributes: list[ast.Attribute] = field(default_factory=list)
    subscripts: list[ast.Subscript] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)

    def dotted(self, node: ast.expr | None) -> str:
        """`a.b.c` with the alias of an import resolved; a part that is no name reads as `?`."""
        parts: list[str] = []
        for _ in range(DEEPEST_CHAIN):
            if not isinstance(node, ast.Attribute):
                break
            parts.append(node.attr)
            node = node.value
        root = self.imports.get(node.id, node.id) if isinstance(node, ast.Name) else "?"
        return ".".join([root, *reversed(parts)])

    def value(self, node: ast.expr | None) -> ast.expr | None:
        """What a name stands for where it is bound exactly once; else the node itself."""
        for _ in range(DEEPEST_CHAIN):
            if not isinstance(node, ast.Name | ast.Attribute):
                break
            bound = self.bindings.get(self.dotted(node), [])
            if len(bound) != 1:
                break
            node = bound[0]
        return node

    def literal(self, node: ast.expr | None) -> object:
        """The constant that an expression stands for, or None."""
        value = self.value(node)
        return value.value if isinstance(value, ast.Constant) else None


def script(tree: ast.Module) -> Script:
    """Everything that one pass over the tree finds."""
    found = Script()
    nodes = list(_walk(tree))
    for node, _ in nodes:
        _note_import(found, node)
    for node, _ in nodes:
        _note_binding(found, node)
    for node, around in nodes:
        match node:
            case ast.Call():
                found.calls.append(_call(found, node, around))
            case ast.Attribute():
                found.attributes.append(node)
            case ast.Subscript():
                found.subscripts.append(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found.functions.append(node)
    found.calls.sort(key=lambda call: (call.line, call.node.col_offset))
    return found


def _walk(tree: ast.Module) -> Iterator[tuple[ast.AST, Around]]:
    """Every node with what it stands in."""
    waiting: list[tuple[ast.AST, Around]] = [(tree, Around())]
    while waiting:
        node, around = waiting.pop()
        yield node, around
        inner = _inside(node, around)
        outside = {id(head) for head in _heads(node)}
        waiting += [(child, around if id(child) in outside else inner) for child in ast.iter_child_nodes(node)]


def _heads(node: ast.AST) -> tuple[ast.AST, ...]:
    """Children that are evaluated once, before the loop or the block they belong to."""
    match node:
        case ast.For() | ast.AsyncFor():
            return (node.iter,)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            return (node.generators[0].iter,)
        case ast.With() | ast.AsyncWith():
            return tuple(node.items)
        case _:
            return ()


def _inside(node: ast.AST, around: Around) -> Around:
    """What the children of a node stand in."""
    match node:
        case ast.For() | ast.AsyncFor() | ast.While():
            return _with(around, loops=(*around.loops[-DEEPEST_CHAIN:], node))
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            return _with(around, loops=(*around.loops[-DEEPEST_CHAIN:], node.generators[0]))
        case ast.With() | ast.AsyncWith() if any(_switches_off(item.context_expr) for item in node.items):
            return _with(around, no_gradients=True)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            off = any(_switches_off(decorator) for decorator in node.decorator_list)
            return Around((), node, off)
        case ast.ClassDef() | ast.Lambda():
            return _with(around, loops=())
        case _:
            return around


def _with(around: Around, loops: tuple[Loop, ...] | None = None, no_gradients: bool | None = None) -> Around:
    kept = around.loops if loops is None else loops
    return Around(kept, around.function, around.no_gradients if no_gradients is None else no_gradients)


def _switches_off(node: ast.expr) -> bool:
    """no_grad(), inference_mode(), set_grad_enabled(False)."""
    called = node.func if isinstance(node, ast.Call) else node
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    if name == "set_grad_enabled" and isinstance(node, ast.Call) and node.args:
        return isinstance(node.args[0], ast.Constant) and node.args[0].value is False
    return name in ("no_grad", "inference_mode")


def _note_import(found: Script, node: ast.AST) -> None:
    match node:
        case ast.Import():
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                found.imports[bound] = alias.name if alias.asname else bound
                found.import_lines.setdefault(alias.name.partition(".")[0], node.lineno)
        case ast.ImportFrom(module=str(module)):
            found.import_lines.setdefault(module.partition(".")[0], node.lineno)
            for alias in node.names:
                found.imports[alias.asname or alias.name] = f"{module}.{alias.name}"
                found.import_lines.setdefault(alias.name, node.lineno)


def _note_binding(found: Script, node: ast.AST) -> None:
    match node:
        case ast.Assign(targets=targets, value=value):
            pairs = [(target, value) for target in targets]
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
            pairs = [(target, value)]
        case ast.AugAssign(target=target, value=value) | ast.For(target=target, iter=value):
            pairs = [(target, value), (target, value)]  # Bound more than once: not told by either.
        case ast.With(items=items):
            pairs = [(item.optional_vars, item.context_expr) for item in items if item.optional_vars]
        case _:
            return
    for target, value in pairs:
        _bind(found, target, value)


def _bind(found: Script, target: ast.expr, value: ast.expr) -> None:
    match target:
        case ast.Name() | ast.Attribute():
            found.bindings.setdefault(found.dotted(target), []).append(value)
        case ast.Subscript(value=ast.Name() as owner, slice=ast.Constant(value=str(key))):
            found.entries.setdefault(owner.id, {})[key] = value
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
            for place, part in enumerate(targets):
                if isinstance(part, ast.Name | ast.Attribute):
                    known = values[place] if len(values) == len(targets) else value
                    found.bindings.setdefault(found.dotted(part), []).append(known)


def _call(found: Script, node: ast.Call, around: Around) -> Call:
    arguments: dict[str, ast.expr] = {}
    hidden = False
    for keyword in node.keywords:
        if keyword.arg is not None:
            arguments[keyword.arg] = keyword.value
        elif (entries := spelled_out(found, keyword.value)) is None:
            hidden = True
        else:
            arguments.update(entries)
    return Call(found.dotted(node.func), node, around, arguments, hidden)


def spelled_out(found: Script, node: ast.expr) -> dict[str, ast.expr] | None:
    """The entries of a dictionary that the script writes down (`{...}` or `dict(...)`), or None."""
    entries: dict[str, ast.expr] = {}
    match found.value(node):
        case ast.Dict(keys=keys, values=values) if len(keys) <= MOST_ENTRIES:
            for key, value in zip(keys, values, strict=True):
                if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                    return None
                entries[key.value] = value
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            if any(keyword.arg is None for keyword in keywords):
                return None
            entries = {str(keyword.arg): keyword.value for keyword in keywords}
        case _:
            return None
    if isinstance(node, ast.Name):
        entries.update(found.entries.get(node.id, {}))
    return entries if len(entries) <= MOST_ENTRIES else None
