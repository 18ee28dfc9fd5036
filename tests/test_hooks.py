"""`advisor.install()` in processes of its own, and in a notebook's shell that is made up."""

import gc
import subprocess
import sys
import threading
import weakref
from multiprocessing.process import BaseProcess
from types import SimpleNamespace
from typing import Any

import pytest

import advisor
from advisor import hooks

OOM = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB."
FULL = "[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory"


def python(program: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture(autouse=True)
def _uninstalled() -> Any:
    yield
    advisor.uninstall()


def test_the_explanation_follows_the_traceback_and_torch_is_not_imported() -> None:
    found = python(
        "import advisor, sys, atexit; advisor.install(); advisor.install()\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        f"raise RuntimeError({OOM!r})"
    )
    assert (found.returncode, found.stdout) == (1, "False\n")
    own, _, ours = found.stderr.partition("\n\n")
    assert own.startswith("Traceback") and own.endswith(f"RuntimeError: {OOM}")
    assert ours.startswith("GPU memory ran out")
    assert ours.count("Right now in this process") == 1
    assert " held by this process, " in ours


def test_an_error_that_nobody_knows_is_followed_by_nothing() -> None:
    with_it = python("import advisor; advisor.install()\nraise KeyError('x')").stderr
    assert with_it.splitlines()[-1] == "KeyError: 'x'"


def test_threads_are_heard_too() -> None:
    found = python(
        "import advisor, threading; advisor.install()\n"
        f"def work(): raise RuntimeError({OOM!r})\n"
        "t = threading.Thread(target=work); t.start(); t.join()"
    )
    assert found.returncode == 0
    assert "GPU memory ran out" in found.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
def test_children_that_are_forked_are_heard_too() -> None:
    found = python(
        "import advisor, multiprocessing; advisor.install()\n"
        f"def work(): raise RuntimeError({OOM!r})\n"
        "p = multiprocessing.get_context('fork').Process(target=work); p.start(); p.join(); print(p.exitcode)"
    )
    assert found.stdout == "1\n"
    assert found.stderr.count("GPU memory ran out") == 1
    assert found.stderr.index("Traceback") < found.stderr.index("GPU memory ran out")


def test_the_whole_error_is_at_hand_so_nobody_asks_for_it() -> None:
    found = python("import advisor; advisor.install()\nraise RuntimeError('CUDA out of memory.')")
    assert "GPU memory ran out" in found.stderr
    assert "paste the whole" not in found.stderr.lower()
    assert "\n\nRight now in this process" in found.stderr


def test_after_uninstall_all_is_as_before() -> None:
    before = sys.excepthook, threading.excepthook, BaseProcess._bootstrap  # type: ignore[attr-defined]
    advisor.install()
    assert sys.excepthook is not before[0]
    advisor.uninstall()
    advisor.uninstall()
    assert (sys.excepthook, threading.excepthook, BaseProcess._bootstrap) == before  # type: ignore[attr-defined]


def test_a_hook_that_came_later_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda *_: called.append("first"))
    advisor.install()
    ours = sys.excepthook
    later = lambda *found: ours(*found)  # noqa: E731
    sys.excepthook = later
    advisor.uninstall()
    assert sys.excepthook is later
    later(RuntimeError, RuntimeError(OOM), None)
    assert called == ["first"]


@pytest.mark.parametrize("part", ["explain", "live"])
@pytest.mark.parametrize("wrong", [MemoryError(), RuntimeError(), KeyboardInterrupt()])
def test_what_goes_wrong_in_here_stays_in_here(
    part: str, wrong: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Fails:
        def __call__(self, *_: object) -> None:
            raise wrong

        def __getattr__(self, _: str) -> Any:
            raise wrong

    advisor.install()
    monkeypatch.setattr(hooks, part, Fails())
    sys.excepthook(RuntimeError, RuntimeError(OOM), None)
    assert OOM in capsys.readouterr().err


def test_an_error_whose_text_cannot_be_had_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise MemoryError

    advisor.install()
    sys.excepthook(MuteError, MuteError(), None)
    assert "perf-advisor" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_end_on_purpose_is_no_failure(kind: type[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    advisor.install()
    sys.excepthook(kind, kind(OOM), None)
    assert "GPU memory ran out" not in capsys.readouterr().err


class Shell:
    """As much of IPython's shell as shows tracebacks."""

    def __init__(self) -> None:
        self.shown: list[object] = []

    def showtraceback(self, exc_tuple: Any = None, **_: object) -> None:
        self.shown.append(exc_tuple)


def test_a_notebook_s_cells_are_heard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    advisor.install()
    try:
        raise RuntimeError(OOM)
    except RuntimeError:
        shell.showtraceback(running_compiled_code=True)
    assert shell.shown == [None]
    assert "GPU memory ran out" in capsys.readouterr().err
    advisor.uninstall()
    assert "showtraceback" not in vars(shell)


def test_nothing_of_the_error_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    class Large:
        pass

    def fail(large: Large) -> None:
        raise RuntimeError(OOM)

    advisor.install()
    large = Large()
    watch = weakref.ref(large)
    try:
        fail(large)
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    del large
    gc.collect()
    assert watch() is None
    assert "Right now" in capsys.readouterr().err


def test_a_mapping_of_locals_that_the_program_holds_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> dict[str, Any]:
        value = 7
        mine = locals()
        try:
            raise RuntimeError(OOM)
        except RuntimeError as error:
            sys.excepthook(type(error), error, error.__traceback__)
        return mine

    advisor.install()
    assert fail()["value"] == 7


@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit on addresses")
def test_where_no_memory_is_left_there_is_still_an_explanation() -> None:
    found = python(
        "import advisor, resource; advisor.install()\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 30 * 2**20,) * 2)\n"
        "kept = []\n"
        "while True: kept.append(bytearray(2**10))"
    )
    assert found.returncode == 1
    assert "MemoryError\n\nHost memory ran out" in found.stderr
    assert "; ulimit -v allows it " in " ".join(found.stderr.split())


@pytest.mark.models
def test_real_models_and_tensors_are_named_and_not_kept_alive() -> None:
    found = python(
        "import advisor, gc, sys, torch, weakref\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "advisor.install()\n"
        "config = LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4,\n"
        "                     num_key_value_heads=4, vocab_size=5000)\n"
        "model = LlamaForCausalLM(config).to(torch.bfloat16)\n"
        "model.hf_device_map = {'model': 0, 'lm_head': 'cpu'}\n"
        "class Holder: pass\n"
        "def step(net):\n"
        "    holder = Holder(); holder.cache = {'keys': torch.ones(1000, 1000)}\n"
        "    view = holder.cache['keys'].view(-1)\n"
        "    global watch; watch = weakref.ref(holder.cache['keys'])\n"
        f"    raise RuntimeError({FULL!r})\n"
        "try:\n"
        "    step(model)\n"
        "except RuntimeError as error:\n"
        "    sys.excepthook(type(error), error, error.__traceback__)\n"
        "gc.collect(); print(watch() is None)\n"
    )
    assert (found.returncode, found.stdout) == (0, "True\n"), found.stderr
    assert "net in step: LlamaForCausalLM, bfloat16; 1 parts on 0, 1 parts on cpu" in found.stderr
    assert "625 KiB  5000x64 bfloat16 on cpu  net.model.embed_tokens.weight in step" in " ".join(
        found.stderr.split("\n")
    )
    largest = found.stderr.partition("Largest tensors")[2].splitlines()[1]
    assert largest.split()[:6] == ["3.81", "MiB", "1000000", "float32", "on", "cpu"] or "1000x1000" in largest
    assert "in step" in largest
