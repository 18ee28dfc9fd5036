"""`perf-advisor run`: what stands on stdout and stderr, in the file, and the exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from advisor import cli

OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB."
FAILS = [sys.executable, "-c", f"import sys; print('out'); print({OOM!r}, file=sys.stderr); sys.exit(5)"]


def perf_advisor(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "advisor.cli", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_stdout_is_the_program_s_and_the_explanation_comes_last_on_stderr() -> None:
    found = perf_advisor("run", "--", *FAILS)
    assert (found.returncode, found.stdout) == (5, "out\n")
    program, _, advice = found.stderr.partition("perf-advisor: ")
    assert program == f"{OOM}\n\n"
    assert advice.startswith("the program ended with exit code 5.\nGPU memory ran out")


def test_a_program_that_ends_well_is_not_spoken_of(tmp_path: Path) -> None:
    report = tmp_path / "end.json"
    found = perf_advisor("run", "--json", str(report), "--", "echo", "--json", "hello")
    assert (found.returncode, found.stdout, found.stderr) == (0, "--json hello\n", "")
    assert json.loads(report.read_text())["diagnosis"] is None


def test_the_file_holds_the_end_and_the_diagnosis(tmp_path: Path) -> None:
    report = tmp_path / "end.json"
    perf_advisor("run", "--json", str(report), *FAILS)
    data = json.loads(report.read_text())
    assert (data["schema"], data["exit_code"], data["signal"]) == (1, 5, None)
    assert data["diagnosis"]["kind"] == "gpu_oom"
    assert data["diagnosis"]["memory"]["requested_bytes"] == 2 * 2**30


def test_secrets_of_the_command_line_are_not_written(tmp_path: Path) -> None:
    report = tmp_path / "end.json"
    perf_advisor("run", "--json", str(report), "--", "sh", "-c", "exit 1", "--token=hf_abcdefghijkl")
    assert "abcdefghijkl" not in report.read_text()


def test_what_nobody_knows_is_one_line() -> None:
    found = perf_advisor("run", "--", "sh", "-c", "echo what; exit 3")
    assert found.returncode == 3
    assert found.stderr.split("\n") == [
        "", "perf-advisor: the program ended with exit code 3.", "No rule knows what it printed.", "",
    ]  # fmt: skip


def test_a_program_that_explains_itself_is_not_explained_twice() -> None:
    program = f"import advisor; advisor.install(); raise RuntimeError({OOM!r})"
    found = perf_advisor("run", "--", sys.executable, "-c", program)
    assert found.returncode == 1
    assert found.stderr.count("GPU memory ran out") == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_change_no_exit_code(closed: str) -> None:
    words = f"{sys.executable} -m advisor.cli run -- sh -c 'exit 6' {closed}"
    assert subprocess.run(["sh", "-c", words], check=False, capture_output=True, timeout=60).returncode == 6


def test_an_end_on_purpose_is_not_commented() -> None:
    found = perf_advisor("run", "--", "sh", "-c", "kill -TERM $$")
    assert (found.returncode, found.stderr) == (143, "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run"], "COMMAND: what is to be run?"),
        (["run", "--"], "COMMAND: what is to be run?"),
        (["run", "--json", "/no/such/folder/x", "--", "true"], "--json: /no/such/folder/x cannot be written"),
        (["run", "--machine", "/no/such", "--", "true"], "--machine: /no/such does not exist"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert told in capsys.readouterr().err
