"""A notebook file is read as its cells show it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor import cli
from advisor.reading.notebooks import as_seen

OOM = (
    "CUDA out of memory. Tried to allocate 7.83 GiB. GPU 0 has a total capacity of 23.64 GiB of which 4.21 GiB is free."
)
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# a remark"]},
        {
            "cell_type": "code",
            "source": ["x = 1\n", "run(x)"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["step 1\n"]},
                {"output_type": "error", "ename": "OutOfMemoryError", "evalue": OOM, "traceback": [
                    "\x1b[0;31mTraceback (most recent call last)\x1b[0m", f"torch.OutOfMemoryError: {OOM}"]},
            ],
        },
    ],
    "nbformat": 4,
}  # fmt: skip


def test_code_and_outputs_are_lines() -> None:
    seen = as_seen(json.dumps(NOTEBOOK)).splitlines()
    assert seen[:3] == ["x = 1", "run(x)", "step 1"]
    assert seen[-1] == f"torch.OutOfMemoryError: {OOM}"
    assert not any("remark" in line for line in seen)


def test_the_quoted_line_is_no_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.ipynb"
    path.write_text(json.dumps(NOTEBOOK))
    assert cli.main(["explain", "--json", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["quoted_line"] == f"torch.OutOfMemoryError: {OOM}"


def test_answers_for_two_files_are_parted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "oom.txt"
    path.write_text(OOM)
    assert cli.main(["explain", str(path), str(path)]) == 0
    assert capsys.readouterr().out.count("\n\nGPU memory ran out") == 1


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(cells=st.lists(st.dictionaries(st.sampled_from(["cell_type", "source", "outputs"]), values)) | values)
def test_any_cells_are_read(cells: object) -> None:
    assert isinstance(as_seen(json.dumps({"cells": cells})), str)


@given(text=st.text())
def test_other_texts_are_left_as_they_are(text: str) -> None:
    assert as_seen(text) == text
