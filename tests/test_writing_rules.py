"""docs/writing-rules.md: the folder that it writes passes, its mistake is found as shown, and it reaches plans."""

import json
import re
from pathlib import Path

import pytest

from advisor import cli

DOCS = Path(__file__).parents[1] / "docs"
MACHINES = Path(__file__).parent / "machines"
TEXT = (DOCS / "writing-rules.md").read_text(encoding="utf-8")
RULES = dict(re.findall(r"```yaml\n# (my-rules/\S+\.yaml)\n(.*?)```", TEXT, re.DOTALL))
OUTPUTS = re.findall(r"```console\n\$ perf-advisor rule --test my-rules\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in RULES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # The page names the file in a comment of the first line, which counts.
        path.write_text(f"# {name}\n{text}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my-rules"


def test_the_page_shows_two_rules_and_two_outputs() -> None:
    assert (len(RULES), len(OUTPUTS)) == (2, 2)


def test_the_folder_passes_as_the_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rule", "--test", "my-rules"]) == 0
    assert capsys.readouterr().out == OUTPUTS[0]


def test_a_missing_case_is_named_as_the_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "1-placement" / "large-batch-on-a-shared-l4.yaml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "a small batch" not in line), encoding="utf-8")
    assert cli.main(["rule", "--test", "my-rules"]) == 1
    assert capsys.readouterr().out == OUTPUTS[1]


def test_the_rules_reach_a_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["diagnose", "qwen2.5-32b", "--rules", "my-rules", "--machine", str(MACHINES / "l4.json"), "--no-input"]
    assert cli.main([*words, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    verdicts = {decision["rule"]: decision["verdict"] for decision in plan["decisions"]}
    assert verdicts["large-batch-on-a-shared-l4"] == "silent" or verdicts["large-batch-on-a-shared-l4"] == "undecided"
    assert [note["advice"] for note in plan["notes"] if note["rule"] == "model-on-network-storage"] == [
        ["rsync -a /models/Qwen/Qwen2.5-32B-Instruct /scratch/   # once per job; loads in a tenth of the time"]
    ]
