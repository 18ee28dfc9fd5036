"""What the README shows is what happens."""

import itertools
import re
import shlex
from pathlib import Path

import pytest

from advisor import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```console\n\$ (.+)\n((?:.*\n)*?)```")
BLOCKS = [(words, shown) for words, shown in BLOCK.findall(README) if words.startswith("perf-advisor ")]


def test_there_are_blocks_to_run() -> None:
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize(("words", "shown"), BLOCKS, ids=[words for words, _ in BLOCKS])
def test_a_block_shows_what_its_command_prints(
    words: str, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tests", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert cli.main(shlex.split(words)[1:]) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    wanted = [line.rstrip() for line in shown.splitlines()]
    place = 0
    # "..." stands for lines left out; every other line must follow in order.
    for left_out, group in itertools.groupby(wanted, lambda line: line == "..."):
        lines = [] if left_out else list(group)
        found = next((n for n in range(place, len(printed)) if printed[n : n + len(lines)] == lines), None)
        assert found is not None, "not printed:\n" + "\n".join(lines) + "\n--- printed:\n" + "\n".join(printed)
        place = found + len(lines)


def test_set_up_stands_in_the_first_25_lines() -> None:
    first = README.splitlines()[:25]
    assert any("make demo" in line for line in first)
    assert any("make test" in line for line in first)
    assert any(re.search(r"Holds: [\d.]+ times as fast", line) for line in first), "with real output"


def test_options_that_the_readme_names_exist(capsys: pytest.CaptureFixture[str]) -> None:
    helps = ""
    for command in ("diagnose", "apply", "check", "explain", "run", "probe", "rule", "where", "demo"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        helps += capsys.readouterr().out
    pip = {"--dry-run", "--constraint"}
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - pip:
        assert option in helps, option
