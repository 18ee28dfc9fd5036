"""Requests that arrive one by one: the programs that answer them, what is counted, and how it is judged."""

import importlib.util
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.version import Version

from advisor.errors import PlanError
from advisor.plan import ModelReference
from advisor.run import inside_serving
from advisor.run.figures import Measured, Peak, Run, Served
from advisor.run.measure import measure
from advisor.run.recipe import recipe
from advisor.run.subject import Subject
from advisor.run.verify import HOLDS, NO_BETTER, Aim, judge
from advisor.setup import Setup
from advisor.workload import Arrivals, Workload, wrong_arrivals

LOAD = Workload(batch=4, prompt_tokens=48, new_tokens=8)
SHAPE = ModelReference("shape", "x", None, True)
CONFIG = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512,
}  # fmt: skip
HERE = Version("5.22.2")
CPU = {"device": "cpu", "dtype": "float32"}
FOLDER = Subject(
    ModelReference("folder", "m", None, False), LOAD, False, tokenizer=True, transformers=Version("5.22.2")
)


def subject(arrivals: Arrivals | None) -> Subject:
    return Subject(SHAPE, replace(LOAD, arrivals=arrivals), True, CONFIG, HERE)


def functions(text: str, *names: str) -> dict[str, Any]:
    """Some functions of a program, without its imports."""
    space: dict[str, Any] = {"random": random, "PROMPT_TOKENS": 48, "NEW_TOKENS": 8, "REQUESTS": 200, "PER_SECOND": 4.0}
    for name in names:
        body = text[text.index(f"def {name}(") :]
        exec(body[: body.find("\n\n\n")], space)
    return space


MODEL = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=512)))


def test_requests_arrive_at_the_rate_and_are_of_all_lengths() -> None:
    text = recipe(subject(Arrivals(200, 4.0)), Setup(**CPU, batching="padded"))
    space = functions(text, "make_requests")
    made = space["make_requests"](MODEL)
    assert made == space["make_requests"](MODEL), "the same in every run"
    at = [one[0] for one in made]
    assert at == sorted(at) and at[0] == 0
    assert 200 / at[-1] == pytest.approx(4.0, rel=0.15)
    assert {len(one[1]) for one in made} == set(range(12, 49))
    assert {one[2] for one in made} == set(range(2, 9))


def test_without_a_rate_all_are_there_at_once_and_alike() -> None:
    text = recipe(subject(None), Setup(**CPU, batching="loop", engine="serve"))
    made = functions(text, "make_requests")["make_requests"](MODEL)
    assert {(at, len(prompt), new) for at, prompt, new in made} == {(0.0, 48, 8)}
    assert "REQUESTS = 4\n" in text


@pytest.mark.parametrize("arrivals", [Arrivals(0, 1.0), Arrivals(1001, 1.0), Arrivals(8, 0.0), Arrivals(8, 1e9)])
def test_arrivals_that_cannot_be_made_are_refused(arrivals: Arrivals) -> None:
    assert wrong_arrivals(arrivals)
    with pytest.raises(PlanError, match="requests"):
        recipe(subject(arrivals), Setup(**CPU))


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert inside_serving.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert inside_serving.percentile([float(n) for n in range(1, 21)], 0.95) == 19.0
    assert inside_serving.percentile([7.0], 0.95) == 7.0


def test_figures_are_of_all_requests() -> None:
    found = inside_serving.figures([(0.1, 0.5, [1, 2]), (0.3, 0.9, [3])], 2.0)
    assert found["tokens_per_second"] == 1.5 and found["requests_per_second"] == 1.0
    assert (found["ttft_p50_seconds"], found["latency_p95_seconds"]) == (0.1, 0.9)


def served(late: float, seconds: float) -> Measured:
    figures = Served(8, 0.1, 0.2, 0.3, late, 32 / seconds, 8 / seconds)
    held = Peak(100, None, None, None, None, None)
    runs = (Run(seconds, 0.1, None, 32 / seconds, None, False, figures),) * 2
    return Measured(runs, (1.0,), (1.0,), held, held, ((1,),), None, {}, "cpu", 1)


def test_the_goal_says_what_is_judged() -> None:
    now, then = served(2.0, 10.0), served(1.0, 10.0)
    assert judge(now, then, Aim("latency", True, False)).word == HOLDS
    assert judge(now, then, Aim("throughput", True, False)).word == NO_BETTER
    assert judge(now, served(2.0, 5.0), Aim("throughput", True, False)).word == HOLDS


def test_figures_go_to_json_beside_the_others() -> None:
    told = served(2.0, 10.0).to_json()
    assert told["serving"]["latency_p95_seconds"] == 2.0 and told["request_seconds"] == 10.0


def test_what_the_server_is_told() -> None:
    knobs = {"dtype": "bfloat16", "attn_implementation": "sdpa", "device": "cuda"}
    text = recipe(FOLDER, Setup(**knobs, engine="serve", batching="continuous", page_size=32, batch_size=6))
    options = functions(text, "serve_options")["serve_options"]()
    assert options == [
        *("--device", "cuda", "--dtype", "bfloat16", "--attn-implementation", "sdpa"),
        *("--continuous-batching", "--cb-block-size", "32", "--cb-num-blocks", "18", "--cb-max-batch-tokens", "288"),
    ]


def test_weights_that_the_server_quantizes() -> None:
    text = recipe(FOLDER, Setup(engine="serve", batching="loop", quantization="bnb_nf4_double", device="cuda"))
    assert functions(text, "serve_options")["serve_options"]()[-2:] == ["--quantization", "bnb-4bit"]


def test_a_server_needs_a_tokenizer_and_a_release_that_was_tried() -> None:
    alone = Subject(ModelReference("folder", "m", None, False), LOAD, False)
    with pytest.raises(PlanError, match="no tokenizer"):
        recipe(alone, Setup(engine="serve", batching="loop"))
    old = Subject(SHAPE, LOAD, True, CONFIG, Version("5.4"))
    with pytest.raises(PlanError, match=r"serve needs transformers 5\.22"):
        recipe(old, Setup(engine="serve", batching="loop"))


# As much of `transformers serve` as a client sees, without a model: it says what it was asked, token by token.
STAND_IN = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200); self.end_headers()
        say = lambda part: self.wfile.write(b"data: " + json.dumps(part).encode() + b"\\n\\n")
        if body["max_tokens"] == 7: return say({"error": "seven is refused"})
        for word in body["prompt"].split()[:body["max_tokens"]]: say({"choices": [{"text": " " + word}]})
        say({"choices": [{"text": ""}], "usage": {"completion_tokens": body["max_tokens"]}})
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def client(tmp_path: Path) -> tuple[Any, Path]:
    """A program that asks the stand-in, and its file; the model's parts are made up."""
    text = recipe(subject(Arrivals(4, 50.0)), Setup(**CPU, batching="loop", engine="serve"))
    lines = [line for line in text.splitlines() if not line.startswith(("import torch", "from "))]
    load = f"\n\ndef up():\n    return Server('m', None, None, [])\n\nSTART = {STAND_IN!r}\n"
    place = tmp_path / "client.py"
    place.write_text("\n".join(lines).replace('if __name__ == "__main__":\n    main()', "") + load, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("client", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, place


def test_requests_go_to_the_server_and_come_back_in_order(client: tuple[Any, Path]) -> None:
    module, _ = client
    server = module.up().wait()
    try:
        requests = [(0.1, [5, 6, 7], 2), (0.0, [8, 9], 1)]
        answers = module.serve(server, requests)
        assert [ids for _, _, ids in answers] == [[5, 6], [8]]
        assert all(0 < first <= last < 5 for first, last, _ in answers), "seconds from each one's own arrival"
        with pytest.raises(RuntimeError, match="failed on 1 requests: RuntimeError: seven is refused"):
            module.serve(server, [(0.0, [5] * 8, 7)])
    finally:
        server.stop()
    assert server.process.returncode is not None


def test_a_server_that_ends_is_told(client: tuple[Any, Path]) -> None:
    module, _ = client
    module.START = "raise SystemExit(3)"
    with pytest.raises(RuntimeError, match="exit code 3"):
        module.up().wait()


def test_packages_that_lack_are_named_with_the_command(client: tuple[Any, Path]) -> None:
    module, _ = client
    module.PACKAGES = ["json", "no_such_package"]
    with pytest.raises(ImportError, match=r"lacks no_such_package: pip install 'transformers\[serving\]'"):
        module.load()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not end it")
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_no_server_outlives_its_program(client: tuple[Any, Path], way: signal.Signals) -> None:
    _, place = client
    # The kernel's promise stands in front of the library's own command; here in front of the stand-in.
    promise = "import ctypes; ctypes.CDLL(None).prctl(1, 9)\n"
    code = f"exec(open({str(place)!r}).read())\nSTART = {promise!r} + START\nserver = up().wait()\n"
    code += "print(server.process.pid, flush=True)\ntime.sleep(60)\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        server = int(program.stdout.readline())
        program.send_signal(way)
    for _ in range(100):
        if not Path(f"/proc/{server}/stat").exists() or Path(f"/proc/{server}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the server still runs")


def test_the_programs_own_server_carries_the_kernels_promise() -> None:
    text = recipe(subject(None), Setup(**CPU, batching="loop", engine="serve"))
    assert "prctl(1, 9)" in text and '"127.0.0.1"' in text and "trust_remote_code" not in text


@pytest.mark.models
def test_both_ways_of_batching_give_the_same_tokens() -> None:
    """Ragged requests that arrive alone: in float32 it makes no difference in which company each one runs."""
    pytest.importorskip("transformers")
    found = {}
    for batching in ("padded", "continuous"):
        text = recipe(subject(Arrivals(6, 100.0)), Setup(**CPU, threads=1, batching=batching))
        measured = measure(sys.executable, text, False, 0.1, 120.0)
        assert isinstance(measured, Measured), measured
        assert measured.serving is not None and measured.serving.requests == 6
        assert measured.serving.ttft_p50_seconds <= measured.serving.latency_p50_seconds
        found[batching] = measured.tokens
    assert len({len(row) for row in found["padded"]}) > 2
    assert found["padded"] == found["continuous"]


@pytest.mark.models
def test_transformers_serve_gives_the_same_tokens_as_the_model() -> None:
    for package in ("fastapi", "openai", "uvicorn", "transformers"):
        pytest.importorskip(package)
    alone = measure(
        sys.executable, recipe(subject(Arrivals(4, 50.0)), Setup(**CPU, batching="loop")), False, 0.1, 120.0
    )
    text = recipe(subject(Arrivals(4, 50.0)), Setup(**CPU, batching="continuous", engine="serve", threads=1))
    server = measure(sys.executable, text, False, 0.1, 120.0)
    assert isinstance(alone, Measured) and isinstance(server, Measured), server
    assert server.tokens == alone.tokens
    assert server.peak_bytes is not None and server.peak_bytes > 100e6, "the server's memory, not the client's"
