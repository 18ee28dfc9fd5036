"""The house: every module stands on a floor, and imports go to lower floors only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "advisor"

FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "files",
        "spoken",
        "knob_places",
        "old_names",
        "scratch",
        "inside_guard",
        "amounts",
        "loop_terms",
        "shipped",
        "patterns",
    ),
    ("facts", "yaml_lines", "child", "kept", "passing", "live"),
    ("vocabulary", "code_facts", "text_facts", "clauses", "setup", "workload"),
    ("process_conflicts",),
    ("rule", "plan", "conflicts", "learnt"),
    (
        "engine",
        "rulebook",
        "errorbook",
        "reading",
        "reading_code",
        "estimate",
        "probe",
        "run",
        "named_folders",
        "own_runs",
        "batch_facts",
        "baseline",
        "notes",
        "steps",
        "order",
        "merit",
    ),
    ("planner", "casebook", "planfile", "derived", "ruleschema", "subjects", "mending", "witness"),
    ("diagnosing", "explaining", "installing", "applying", "where", "candidates", "snapshot"),
    ("tuning", "remedies"),
    ("show",),
    ("commands",),
    ("cli", "api", "hooks"),
)
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
JUDGEMENT = (
    "facts",
    "setup",
    "workload",
    "clauses",
    "rule",
    "rulebook",
    "engine",
    "planner",
    "merit",
    "plan",
    "casebook",
)
WORLDLY = {"torch", "transformers", "os", "time", "socket", "subprocess", "urllib", "random", "platform"}
HEAVY = {"torch", "transformers", "accelerate", "bitsandbytes"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The top-level module or package of `advisor` that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def runs_in_child(path: Path) -> bool:
    return path.name.startswith("inside_") or path.name == "worker.py"


def imported(path: Path) -> set[str]:
    """Every module that a file imports anywhere, as dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_a_floor() -> None:
    assert {part(path) for path in modules()} - {"__init__"} == set(FLOOR_OF)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downstairs(path: Path) -> None:
    if part(path) == "__init__":
        return
    own = {name.split(".")[1] for name in imported(path) if name.startswith("advisor.")}
    upstairs = {name for name in own if name != part(path) and FLOOR_OF[name] >= FLOOR_OF[part(path)]}
    assert not upstairs


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_models_are_loaded_in_children_only(path: Path) -> None:
    names = {name.split(".")[0] for name in imported(path)}
    if runs_in_child(path):
        assert "advisor" not in names, "the target environment need not have this program installed"
    else:
        assert not names & HEAVY


@pytest.mark.parametrize("name", JUDGEMENT)
def test_judgement_knows_nothing_of_the_world(name: str) -> None:
    assert not {module.split(".")[0] for module in imported(PACKAGE / f"{name}.py")} & WORLDLY


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_a_sitting_and_a_function_a_screen(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= 40, f"{node.name} has {length} lines"
