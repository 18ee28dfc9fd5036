"""The command line from outside: exit code, stdout and stderr together."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from advisor import cli

PYTHON = sys.executable
RULES = Path(__file__).parents[1] / "rules"


def run(*words: str, stdin: str = "", cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """`perf-advisor WORDS` in a process of its own."""
    return subprocess.run(
        [PYTHON, "-m", "advisor.cli", *words],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(RULES.parent), **environment},
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", ["diagnose", "apply", "check", "explain", "probe", "rule", "demo"])
def test_every_command_has_help_and_the_common_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for option in ("--json", "--no-input", "--machine", "--rules", "--python"):
        assert option in told


def test_help_and_explain_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom advisor import cli\n"
        "try: cli.main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "heavy = ('torch', 'transformers', 'rich', 'questionary', 'huggingface_hub', 'psutil', 'yaml',"
        " 'packaging.version', 'subprocess', 'csv', 'advisor.rulebook', 'advisor.vocabulary')\n"
        "print(sorted(m for m in heavy if m in sys.modules), file=sys.stderr)"
    )
    explaining = ["explain", "--json", "--no-input", "-"]
    run(*explaining, stdin="hello")  # keeps the rules, which are read without a parser from then on
    for words in (["--help"], explaining):
        done = subprocess.run(
            [PYTHON, "-c", code, *words], input="hello", capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stderr.strip().splitlines()[-1] == "[]", words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["diagnose"], "MODEL: which model?"),
        (["rule", "fp32-weights-on-bf16-devise"], "did you mean fp32-weights-on-bf16-device?"),
        (["diagnose", "llama-3.1-8b", "--set", "dtpe=float32", "--set", "threads=0"], "did you mean dtype?"),
        (["diagnose", "llama-3.1-8b", "--set", "dtype=fp16", "--set", "dtype=bf16"], "dtype is given twice"),
        (["diagnose", "llama-3.1-8b", "--machine", "/none.json"], "/none.json: No such file"),
        (["rule", "--rules", "/none"], "/none: no such folder of rules"),
        (["apply", "--plan", "/none.json"], "/none.json: No such file"),
        (["diagnose", "llama-3.1-8b", "--python", "/none/python"], "--python: /none/python is no program"),
        (["where", "dtype", "--python", str(RULES)], f"{RULES} is no program"),
        (["demo", "--python", "/none/python"], "--python: /none/python is no program"),
        (["diagnose", "llama-3.1-8b", "-o", "/none/plan.json"], "the folder does not exist"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert "diagnose" in captured.err and captured.out == ""


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "10000001", "9" * 5000, "x", "\u0663"])
def test_a_count_says_what_it_takes(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["diagnose", "llama-3.1-8b", f"--batch={count}"])
    assert ended.value.code == 2
    assert "is no whole number from 1 to 10000000" in capsys.readouterr().err


def test_the_same_plan_can_be_asked_for_without_questions(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that is printed gives the plan again, a rule folder of one's own and -o included."""
    rung = tmp_path / "mine" / "1-placement"
    rung.mkdir(parents=True)
    shutil.copy(RULES / "1-placement" / "model-left-on-cpu.yaml", rung / "model-left-on-the-cpu-again.yaml")
    monkeypatch.chdir(tmp_path)
    machine = str(RULES.parent / "tests" / "machines" / "t4.json")
    words = ["qwen2.5-7b", "--machine", machine, "--rules", "mine", "-o", "one.json", "--set", "dtype=fp16"]
    assert cli.main(["diagnose", *words]) == 0
    told = capsys.readouterr().err.splitlines()[-1].partition("perf-advisor ")[2]
    first = Path("one.json").read_text()
    Path("one.json").unlink()
    assert cli.main(shlex.split(told)) == 0
    assert "model-left-on-the-cpu-again" in first
    # What was assumed is stated then, so only the reasons' sources may differ.
    again, before = json.loads(Path("one.json").read_text()), json.loads(first)
    assert [step["change"] for step in again["steps"]] == [step["change"] for step in before["steps"]]
    assert [d["rule"] for d in again["decisions"]] == [d["rule"] for d in before["decisions"]]


def test_all_wrong_knobs_are_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diagnose", "llama-3.1-8b", "--set", "dtpe=float32", "--set", "threads=0"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_bug_keeps_its_traceback_and_says_what_to_send(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from advisor.commands import rule

    def broken(*_: object) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(rule, "run", broken)
    assert cli.main(["rule"]) == cli.BUG
    told = capsys.readouterr().err
    assert "ZeroDivisionError: a bug" in told
    assert "perf-advisor probe --json" in told


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from advisor.commands import rule

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(rule, "run", interrupted)
    assert cli.main(["rule"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{PYTHON} -m advisor.cli rule --json | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_the_ladder_as_json_names_what_scripts_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rule", "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)
    assert len(rules) >= 14
    assert all({"id", "rung", "summary", "evidence", "sources", "knobs"} <= set(rule) for rule in rules)


def test_a_folder_is_tested_with_exit_1_when_a_case_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["rule", "--test", str(RULES)]) == 0
    capsys.readouterr()
    source = (RULES / "pitfalls" / "cache-off-while-generating.yaml").read_text()
    (tmp_path / "mine" / "pitfalls").mkdir(parents=True)
    (tmp_path / "mine" / "pitfalls" / "broken.yaml").write_text(
        source.replace("use_cache: true}\n", "use_cache: false}\n")
    )
    assert cli.main(["rule", "--test", str(tmp_path / "mine")]) == 1
    assert "should be silent and fires" in capsys.readouterr().out


def test_a_folder_without_a_rule_is_no_success(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["rule", "--test", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "holds no rule" in captured.err and captured.out == ""


def test_a_kill_ends_the_children_and_takes_the_temporary_folders_away(tmp_path: Path) -> None:
    """A model that hangs while it is looked at, and a SIGTERM meanwhile."""
    program = tmp_path / "inside.py"
    program.write_text("import json, os, time\nprint(json.dumps({'id': os.getpid()}), flush=True)\ntime.sleep(60)\n")
    code = (
        "import sys; from pathlib import Path; from advisor import child, cli; from advisor.commands import rule\n"
        f"rule.run = lambda _: child.run(sys.executable, Path({str(program)!r}), {{}}, 60,"
        " heard=lambda m: print(m['id'], flush=True))\n"
        "sys.exit(cli.main(['rule']))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    with subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        inner = int(process.stdout.readline())
        process.terminate()
        assert process.wait(timeout=20) == cli.TERMINATED
    assert not psutil.pid_exists(inner)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_path_of_a_rule_names_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rule", "errors/recompile_limit"]) == 0
    assert capsys.readouterr().out.startswith("recompile_limit")


def test_a_cause_that_explain_names_has_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rule", "fragmentation"]) == 0
    assert "expandable_segments" in capsys.readouterr().out
    assert cli.main(["rule", "fragmentation", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rung"] == "errors"
