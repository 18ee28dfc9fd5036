"""Text of other programs goes out without folders, users and hosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.probe.privacy import of_machine, without_places

NAMES = ("zaphod", "heart-of-gold", "zaphod beeble")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/home/zaphod/v/bin/python: No such file or directory", "(path)(name)(path): No such file or directory"),
        ("ImportError: /srv/lib/x.so: undefined symbol: _Z3", "ImportError: (path): undefined symbol: _Z3"),
        ('File "/opt/a b/c.py", line 3', 'File "(path) b/c.py", line 3'),
        (r"C:\Work\x.py: no", "(path): no"),
        ("~/x and ./y and ../z", "(path) and (path) and (path)"),
        (r"\\server\share: gone", "(path): gone"),
        ("at http://me:word@host/x?y=1 now", "at (path) now"),
        ("user zaphod on heart-of-gold", "user (name) on (name)"),
        ("two\n  lines", "two lines"),
    ],
)
def test_places_and_names_go(text: str, clean: str) -> None:
    assert without_places(text, NAMES) == clean


@pytest.mark.parametrize(
    "text",
    [
        "libcudart.so.12: cannot open shared object file",
        "kernels >=0.17.2,<0.18 and/or n/a",
        "zaphodian",
        "no answer within 10 s",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert without_places(text, NAMES) == text


@given(st.lists(st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8), min_size=1, max_size=5))
def test_no_part_of_a_path_of_plain_names_is_left(parts: list[str]) -> None:
    told = without_places("error in /" + "/".join(parts) + ": gone", ())
    assert told == "error in (path): gone"


def test_this_user_and_host_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "zaphod")
    monkeypatch.setenv("HOME", "/home/ford")
    monkeypatch.setattr("socket.gethostname", lambda: "betelgeuse.example.org")
    assert of_machine() == {"zaphod", "ford", "betelgeuse", "betelgeuse.example.org"}


def test_names_that_say_nothing_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.setattr("socket.gethostname", lambda: "pc")
    assert of_machine() == set()
