"""Asking the child: what is kept, what counts as no answer, and that every failure is an unknown with its reason."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from advisor import child
from advisor.estimate.dryrun import ask as dryrun
from advisor.estimate.dryrun.ask import ByLayer, Case, DryRun
from advisor.facts import Unknown

CONFIG = {"model_type": "llama", "hidden_size": 64}
VERSIONS = {"torch": "2.13.0", "transformers": "5.22.2"}
CASE = Case("bfloat16", "sdpa", "dynamic", 1, 100, 10, padded=False)
PASS = {
    "peak_bytes": 300,
    "at": "mul.Tensor",
    "operators": 9,
    "attention": ["flash"],
    "cache_bytes": 100,
    "away_bytes": 0,
}
ANSWER = {
    "weights": {"linear": {"bfloat16": 1000}, "buffers": {"float32": 8}},
    "weights_held_bytes": 1536,
    "by_layer": {"layers": [600, 600], "embedding": 300, "head": 0, "rest": 36},
    "prompt": PASS,
    "first_step": PASS,
    "last_step": {**PASS, "peak_bytes": 200, "cache_bytes": 110},
    "fullest_step": None,
    "drawn_out": False,
}

Children = Callable[[child.Outcome], list[dict[str, Any]]]


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Children:
    """Puts an outcome in place of the child, and gives the requests that it got."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def place(outcome: child.Outcome) -> list[dict[str, Any]]:
        requests: list[dict[str, Any]] = []

        def run(python: str, program: Path, request: dict[str, Any], *_: Any) -> child.Outcome:
            requests.append(request)
            return outcome

        monkeypatch.setattr(child, "run", run)
        return requests

    return place


def answered(*cases: Any, versions: dict[str, Any] | None = None) -> child.Outcome:
    return child.Answered({"versions": versions or VERSIONS, "cases": list(cases)}, "", 1.0)


def asked(*cases: Case, versions: dict[str, str] | None = None) -> tuple[dryrun.Outcome, ...]:
    return dryrun.ask(CONFIG, cases or (CASE,), "python", versions or VERSIONS)


def test_an_answer_is_read(children: Children) -> None:
    requests = children(answered(ANSWER))
    (found,) = asked()
    assert isinstance(found, DryRun)
    assert found.weights_held_bytes == 1536
    assert (found.prompt.cache_bytes, found.prompt.beside_bytes, found.prompt.peak_bytes) == (100, 200, 300)
    assert found.last_step is not None and found.last_step.beside_bytes == 90
    assert len(found.passes) == 3
    assert found.by_layer == ByLayer((600, 600), 300, 0, 36)
    assert requests[0]["cases"][0]["prompt_tokens"] == 100


def test_what_is_in_ram_is_no_part_of_the_peak(children: Children) -> None:
    children(answered({**ANSWER, "prompt": {**PASS, "cache_bytes": 400, "away_bytes": 350}}))
    (found,) = asked()
    assert isinstance(found, DryRun)
    assert (found.prompt.cache_bytes, found.prompt.peak_bytes, found.prompt.beside_bytes) == (400, 300, 250)


def test_a_kept_answer_needs_no_child(children: Children) -> None:
    requests = children(answered(ANSWER))
    lines: list[str] = []
    first = dryrun.ask(CONFIG, [CASE], "python", VERSIONS, lines.append)
    again = dryrun.ask(CONFIG, [CASE], "python", VERSIONS, lines.append)
    assert first == again
    assert len(requests) == len(lines) == 1


def test_one_child_answers_all_that_is_missing(children: Children) -> None:
    children(answered(ANSWER))
    asked()
    other, third = replace(CASE, rows=2), replace(CASE, rows=3)
    requests = children(answered({**ANSWER, "weights_held_bytes": 2048}, {"error": "no"}))
    found = asked(third, CASE, other, CASE)
    assert [case["rows"] for case in requests[0]["cases"]] == [3, 2]
    assert [one.weights_held_bytes if isinstance(one, DryRun) else one.reason for one in found] == [
        *(2048, 1536, "no", 1536)
    ]


@pytest.mark.parametrize(
    "changed",
    [
        lambda: asked(replace(CASE, prompt_tokens=101)),
        lambda: dryrun.ask({**CONFIG, "hidden_size": 65}, [CASE], "python", VERSIONS),
    ],
)
def test_what_an_answer_depends_on(children: Children, changed: Callable[[], Any]) -> None:
    requests = children(answered(ANSWER))
    asked()
    changed()
    assert len(requests) == 2


def test_another_version_is_another_question(children: Children) -> None:
    children(answered(ANSWER))
    asked()
    newer = {**VERSIONS, "transformers": "5.23.0"}
    requests = children(answered(ANSWER, versions=newer))
    assert isinstance(asked(versions=newer)[0], DryRun)
    assert len(requests) == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"weights": 3}', '{"weights": {"linear": {"x": -1}}}', "\x00" * 99])
def test_a_damaged_file_is_asked_anew_and_replaced(children: Children, damage: str) -> None:
    children(answered(ANSWER))
    asked()
    (path,) = Path(platformdirs.user_cache_dir("perf-advisor")).glob("dry-run-*.json")
    path.write_text(damage, encoding="utf-8")
    requests = children(answered(ANSWER))
    assert isinstance(asked()[0], DryRun)
    asked()
    assert len(requests) == 1


def test_a_folder_that_cannot_be_written_costs_time_alone(children: Children) -> None:
    requests = children(answered(ANSWER))
    folder = Path(platformdirs.user_cache_dir("perf-advisor"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file stands here", encoding="utf-8")
    assert isinstance(asked()[0], DryRun)
    assert isinstance(asked()[0], DryRun)
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (child.Died("killed by SIGKILL", "", 1.0), "killed by SIGKILL"),
        (child.Answered({"versions": {"torch": None, "transformers": "5"}}, "", 1.0), "no torch in the target"),
        (child.Answered({"versions": {"torch": "2", "transformers": None}}, "", 1.0), "no transformers in the target"),
        (child.Answered({}, "", 1.0), "gave no answer"),
        (answered(), "gave no answer"),
        (answered("text"), "gave no answer"),
        (answered({"error": "OSError: no"}), "OSError: no"),
        (answered({**ANSWER, "prompt": None}), "unexpected answer"),
        (answered({**ANSWER, "last_step": {}}), "unexpected answer"),
        (answered({**ANSWER, "weights_held_bytes": 0}), "unexpected answer"),
        (answered({**ANSWER, "by_layer": {**ANSWER["by_layer"], "layers": [1, -1]}}), "unexpected answer"),
        (answered({**ANSWER, "prompt": {**PASS, "away_bytes": 101}}), "unexpected answer"),
        (answered({**ANSWER, "prompt": {**PASS, "cache_bytes": 301}}), "unexpected answer"),
        (answered(ANSWER, versions={**VERSIONS, "torch": "2.14.0"}), "has changed since"),
    ],
)
def test_failures_are_unknown_and_not_kept(children: Children, outcome: child.Outcome, reason: str) -> None:
    children(outcome)
    (found,) = asked()
    assert isinstance(found, Unknown)
    assert reason in found.reason
    requests = children(answered(ANSWER))
    assert isinstance(asked()[0], DryRun)
    assert len(requests) == 1


def test_what_the_code_refuses_is_kept(children: Children) -> None:
    requests = children(answered({"error": "ValueError: no such attention"}))
    assert asked() == asked() == (Unknown("ValueError: no such attention"),)
    assert len(requests) == 1


def test_an_environment_without_torch(tmp_path: Path) -> None:
    """A real interpreter that has neither library."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    (found,) = dryrun.ask(CONFIG, [CASE], str(tmp_path / "bare" / "bin" / "python"), VERSIONS)
    assert isinstance(found, Unknown)
    assert "no torch" in found.reason


@pytest.mark.models
def test_a_real_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 128,
        "auto_map": {"AutoConfig": "hostile--code.Config"},
    }
    versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    fine, refused = dryrun.ask(config, [CASE, replace(CASE, attn_implementation="no_such")], sys.executable, versions)
    assert isinstance(fine, DryRun) and isinstance(refused, Unknown)
    assert fine.last_step is not None
    assert fine.last_step.cache_bytes == 2 * 109 * 2 * 2 * 16 * 2
    assert "no_such" in refused.reason
