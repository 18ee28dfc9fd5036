"""A program that is run through us behaves as if we were not there."""

import errno
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from advisor.passing.tail import Tail

ROOT = Path(__file__).parents[2]
RUN = [
    sys.executable,
    "-c",
    "import sys; from advisor.passing import run; found = run(sys.argv[1:]); sys.exit(found.code)",
]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
COUNTS = """
import signal, sys, time
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
print("ready", flush=True)
end = time.monotonic() + 20
while not seen and time.monotonic() < end:
    time.sleep(0.02)
time.sleep(0.6)
print("signals", len(seen), flush=True)
"""


def through(*words: str, **more: object) -> "subprocess.CompletedProcess[bytes]":
    settings = {"capture_output": True, "timeout": 30, "env": ENVIRONMENT, **more}
    return subprocess.run([*RUN, *words], check=False, **settings)  # type: ignore[call-overload,no-any-return]


def on_a_terminal(words: list[str], act: Callable[[int, int], None], rows: int = 31, columns: int = 97) -> str:
    """What a command shows on a terminal of its own. `act` gets the process and the terminal once `ready` is there."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(ENVIRONMENT)
        # Not before the size is set, which the other side does.
        time.sleep(0.1)
        os.execvp(words[0], words)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    shown, acted = b"", False
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError as error:
            assert error.errno == errno.EIO
            break
        if not part:
            break
        shown += part
        if b"ready" in shown and not acted:
            acted = True
            act(pid, terminal)
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown.decode()


def idle(_pid: int, _terminal: int) -> None:
    """A person who only looks."""


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_the_program_s(code: int) -> None:
    assert through("sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_is_told_as_shells_do(number: int) -> None:
    assert through("sh", "-c", f"ulimit -c 0; kill -{int(number)} $$").returncode == 128 + number


def test_the_two_streams_stay_apart_and_bytes_stay_bytes() -> None:
    found = through("sh", "-c", r"printf 'a\000\377b'; printf 'err\r\n' >&2")
    assert (found.stdout, found.stderr) == (b"a\0\xffb", b"err\r\n")


def test_one_file_for_both_keeps_the_order() -> None:
    words = "for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done"
    found = through("sh", "-c", words, capture_output=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert found.stdout.decode().split() == [f"{name}{i}" for i in range(1, 6) for name in ("out", "err")]


def test_standard_input_is_the_program_s() -> None:
    assert through("cat", input=b"x" * 100_000).stdout == b"x" * 100_000


def test_a_reader_that_goes_away_ends_the_program() -> None:
    words = " ".join(f"'{word}'" for word in [*RUN, "yes"])
    found = subprocess.run(["bash", "-c", f"{words} | head -n 1; exit ${{PIPESTATUS[0]}}"], env=ENVIRONMENT, timeout=30)
    assert found.returncode == 128 + signal.SIGPIPE


def test_a_command_that_there_is_not_has_the_shell_s_code(tmp_path: Path) -> None:
    (tmp_path / "no-program").write_text("x")
    assert through("/no/such/program").returncode == 127
    assert through(str(tmp_path / "no-program")).returncode == 126


def test_a_process_left_behind_is_not_waited_for_and_may_go_on_printing() -> None:
    began = time.monotonic()
    found = through("sh", "-c", "(sleep 1.2; echo late) & echo early")
    # The pipe's end is reached when the straggler ends; the command itself is gone by then.
    assert found.stdout == b"early\nlate\n"
    process = subprocess.Popen([*RUN, "sh", "-c", "sleep 5 &"], stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    assert process.wait(timeout=4) == 0
    assert time.monotonic() - began < 6


def test_a_terminal_stays_a_terminal_with_its_size() -> None:
    told = "import os,sys; print([os.isatty(i) for i in range(3)], tuple(os.get_terminal_size(2)))"
    assert "[True, True, True] (97, 31)\r\n" in on_a_terminal([*RUN, sys.executable, "-c", told], idle)


def test_only_the_stream_that_was_one_stays_a_terminal(tmp_path: Path) -> None:
    words = " ".join(
        f"'{word}'" for word in [*RUN, sys.executable, "-c", "import os; print(os.isatty(1), os.isatty(2))"]
    )
    on_a_terminal(["sh", "-c", f"{words} > {tmp_path / 'out'}"], idle)
    assert (tmp_path / "out").read_text() == "False True\n"


def test_a_new_size_reaches_the_program() -> None:
    told = (
        "import os,signal,time; seen=[]; signal.signal(signal.SIGWINCH, lambda *_: seen.append(1)); print('ready',"
        "flush=True); [time.sleep(0.02) for _ in range(300) if not seen]; time.sleep(0.3);"
        "print(os.get_terminal_size())"
    )

    def resize(_pid: int, terminal: int) -> None:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    assert "columns=120, lines=40" in on_a_terminal([*RUN, sys.executable, "-c", told], resize)


def test_control_c_reaches_the_program_once() -> None:
    def press(_pid: int, terminal: int) -> None:
        os.write(terminal, b"\x03")

    assert "signals 1\r\n" in on_a_terminal([*RUN, sys.executable, "-c", COUNTS], press)


@pytest.mark.usefixtures("signals_as_usual")
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to us alone", "to the whole group"])
def test_a_signal_that_was_sent_arrives_once(send: Callable[[int, int], None]) -> None:
    words = [*RUN, sys.executable, "-c", COUNTS]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=ENVIRONMENT, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        send(process.pid, signal.SIGINT)
        assert process.stdout.read() == b"signals 1\n"
    assert process.returncode == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a program with the one that ran it")
def test_nothing_is_left_when_we_are_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    process = subprocess.Popen(
        [*RUN, "sh", "-c", f"echo $$ > {note}; exec sleep 60"], stdout=subprocess.DEVNULL, env=ENVIRONMENT
    )
    while not (note.exists() and note.read_text().strip()):
        time.sleep(0.02)
    process.kill()
    process.wait()
    pid = int(note.read_text())
    for _ in range(100):
        state = _state(pid)
        if state in (None, "Z"):
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the program lived on")


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def test_the_tail_is_bounded_and_keeps_both_ends() -> None:
    tail = Tail(head=10, tail=100)
    for number in range(10_000):
        tail.add(f"line {number}\n".encode())
    text = tail.text()
    assert len(text) <= 10 + 5 + 100
    assert text.startswith("line 0\nlin")
    assert "\n...\n" in text
    assert text.endswith("line 9999\n")
    assert tail.forgotten > 0


def test_one_large_piece_is_cut_too() -> None:
    tail = Tail(head=4, tail=6)
    tail.add(b"abcd" + b"-" * 50 + b"uvwxyz")
    assert tail.text() == "abcd\n...\nuvwxyz"
