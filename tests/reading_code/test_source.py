"""Scripts and notebooks that cannot be read are refused in one line, with the place."""

import json
from pathlib import Path

import pytest

from advisor import reading_code
from advisor.errors import RequestError
from advisor.reading_code.source import LARGEST_BYTES, parse, read


def refused(path: Path) -> str:
    with pytest.raises(RequestError) as caught:
        read(path)
    assert len(caught.value.mistakes) == 1
    return str(caught.value.mistakes[0])


@pytest.mark.parametrize(
    ("name", "data", "place", "told"),
    [
        ("a.py", b"x = 1\ny = (\n", "a.py:2", "no Python"),
        ("a.py", b"x = 1\n\xff\n", "a.py:2", "not UTF-8"),
        ("a.py", b"x = '\0'\n", "a.py", "null byte"),
        ("a.py", b"x = " + b"-" * 100_000 + b"1", "a.py", "nested too deep"),
        ("a.py", b"#" * (LARGEST_BYTES + 1), "a.py", "larger than"),
        ("a.ipynb", b"{", "a.ipynb", "not JSON"),
        ("a.ipynb", b"[]", "a.ipynb", "no list of cells"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(
    tmp_path: Path, name: str, data: bytes, place: str, told: str
) -> None:
    (tmp_path / name).write_bytes(data)
    message = refused(tmp_path / name)
    assert place in message
    assert told in message


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.py")
    assert "no such file" in refused(tmp_path)


def notebook(*cells: str | list[str]) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]})


def test_a_notebook_is_its_code_cells_without_magics() -> None:
    text = notebook(
        ["%pip install x\n", "!ls\n", "files = !ls\n", "model?\n", "x = 7 % 2"],
        "%%bash\nrm -rf /tmp/x && (",
        "%%time\nout = model.generate(x)",
    )
    source = parse(text, "use.ipynb")
    assert source.cells == (1, 6, 8)
    found = reading_code.of_source(source).facts.get("code.generates")
    assert getattr(found, "source", None) == "use.ipynb cell 3:2"


def test_a_mistake_in_a_notebook_names_the_cell() -> None:
    with pytest.raises(RequestError, match=r"use.ipynb cell 2:1"):
        parse(notebook("x = 1", "y = )"), "use.ipynb")


def test_text_cells_and_broken_cells_are_passed_over() -> None:
    cells = [{"cell_type": "markdown", "source": "no ("}, {"cell_type": "code", "source": 5}, None, 3]
    assert parse(json.dumps({"cells": cells}), "a.ipynb").cells == (1,)


def test_nothing_of_the_script_is_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    path = tmp_path / "use.py"
    path.write_text(f"open({str(trace)!r}, 'w')\nimport surely_no_such_module\n")
    reading_code.of_file(path)
    assert not trace.exists()
