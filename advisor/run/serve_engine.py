"""A recipe whose requests go to `transformers serve`: started on loopback, asked by as many threads, stopped.

The server is the installed library's own, in a process of its own that ends with the program: stopped at its end, and
on Linux killed by the kernel should the program be killed. Prompts travel as text, so random weights get a tokenizer of
one word a token, which brings the token ids back; a real tokenizer's text is counted by the server instead.
"""

from packaging.version import Version

from advisor.process_conflicts import SERVE_QUANTIZATION
from advisor.run.generating import CPU_PAGE_TOKENS, MOST_BATCH_TOKENS, PAGE_TOKENS
from advisor.run.serving import at_a_time
from advisor.run.source import Lines, literal
from advisor.run.subject import SEED, Subject
from advisor.setup import Setup

SERVE_SINCE = Version("5.22")
"""The oldest release whose `transformers serve` was read and run here."""
PACKAGES = ("accelerate", "fastapi", "openai", "pydantic", "rich", "typer", "uvicorn")
"""What the command imports (is_serve_available), and what its loading by device needs."""
START_SECONDS = 3600
"""A start may download weights; who runs the program has a limit of their own."""


def imports(subject: Subject) -> Lines:
    """What the program imports."""
    modules = ["atexit", "http.client", "importlib.util", "json", "os", "random", "socket", "subprocess", "sys"]
    modules += ["tempfile", "threading", "time"] if subject.random_weights else ["threading", "time"]
    names = "AutoConfig, AutoTokenizer"
    made = []
    if subject.random_weights:
        names = "AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast"
        made = ["import torch", "from tokenizers import Tokenizer, models, pre_tokenizers"]
    return [*(f"import {module}" for module in modules), "", *made, f"from transformers import {names}"]


def load_lines(subject: Subject, setup: Setup) -> Lines:
    """`load()` and the server that it starts. Every value of `setup` has been checked before."""
    server = [*_constants(subject, setup), *_server(setup), *_texts(subject)]
    return [*server, *_options(subject, setup), *_load(subject), *_loading(subject)]


def serve_lines() -> Lines:
    """The function `serve()`: every request in a thread, sent when its time has come."""
    return [
        "def serve(model, requests):",
        '    """Send each request when its time has come, and read the answers as they stream in."""',
        "    answers = [None] * len(requests)",
        "    started = time.perf_counter() + 0.05  # all threads wait for the same moment",
        "    threads = [",
        "        threading.Thread(target=ask, args=(model, request, started, answers, number), daemon=True)",
        "        for number, request in enumerate(requests)",
        "    ]",
        "    for thread in threads:",
        "        thread.start()",
        "    for thread in threads:",
        "        thread.join()",
        "    failed = [answer for answer in answers if not isinstance(answer, tuple)]",
        "    if failed:",
        '        raise RuntimeError(f"transformers serve failed on {len(failed)} requests: {failed[0]}")',
        "    return answers",
        "",
        "",
        "def ask(model, request, started, answers, number):",
        '    """Put the answer of one request, or why there is none, in its place."""',
        "    at, prompt, new = request",
        "    time.sleep(max(0.0, started + at - time.perf_counter()))",
        "    try:",
        "        first, text, made = stream(model, prompt, new)",
        "        last = time.perf_counter()",
        "        ids = model.ids(text, made)",
        "        answers[number] = (first - started - at, last - started - at, ids)",
        "    except Exception as error:",
        '        answers[number] = f"{type(error).__name__}: {error}"',
        "",
        "",
        *_stream(),
    ]


def _stream() -> Lines:
    return [
        "def stream(model, prompt, new):",
        '    """When the first text came, the text, and how many tokens the server counts in it."""',
        '    greedy = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}',
        '    body = {"model": model.name, "prompt": model.text(prompt), "stream": True, "max_tokens": new}',
        '    body["generation_config"] = json.dumps(greedy)',
        '    connection = http.client.HTTPConnection("127.0.0.1", model.port)',
        '    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})',
        "    response = connection.getresponse()",
        "    if response.status != 200:",
        '        raise RuntimeError(f"{response.status} {response.read()[:200]}")',
        "    first, pieces, made = None, [], None",
        "    for line in response:",
        '        if not line.startswith(b"data: {"):',
        "            continue",
        "        part = json.loads(line[6:])",
        '        if "error" in part:',
        '            raise RuntimeError(part["error"])',
        '        if part.get("usage"):',
        '            made = part["usage"]["completion_tokens"]',
        '        if text := part["choices"][0].get("text"):',
        "            first = first or time.perf_counter()",
        "            pieces.append(text)",
        "    connection.close()",
        "    if first is None or made is None:",
        '        raise RuntimeError("the answer is empty")',
        '    return first, "".join(pieces), made',
    ]


def _constants(subject: Subject, setup: Setup) -> Lines:
    """What the server's process is started with."""
    # The kernel ends the server with the program that started it, however that ends; elsewhere `stop` has to do.
    last = "import ctypes, sys; sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, 9)"
    here = subject.reference.kind == "folder" or subject.random_weights
    return [
        'OFFLINE = {"HF_HUB_OFFLINE": "1"}  # the model lies here' if here else "OFFLINE = {}",
        f"THREADS = {literal({} if setup.threads is None else {'OMP_NUM_THREADS': str(setup.threads)})}",
        f'START = "{last}; from transformers.cli.transformers import main; main()"',
        f"PACKAGES = {literal(list(PACKAGES))}",
        "",
        "",
    ]


def _server(setup: Setup) -> Lines:
    """The class that stands for the running server."""
    return [
        "class Server:",
        '    """transformers serve in a process of its own, which ends with this one."""',
        "",
        "    def __init__(self, name, config, tokenizer, options):",
        "        self.name, self.config, self.tokenizer = name, config, tokenizer",
        f"        self.device, self.threads = {literal(setup.device or 'auto')}, {literal(setup.threads)}",
        '        with socket.create_server(("127.0.0.1", 0)) as free:',
        "            self.port = free.getsockname()[1]",
        '        place = ["--host", "127.0.0.1", "--port", str(self.port)]',
        "        environment = {**os.environ, **OFFLINE, **THREADS}",
        "        self.process = subprocess.Popen(",
        '            [sys.executable, "-c", START, "serve", name, *place, *options],',
        "            env=environment,",
        "            stdin=subprocess.DEVNULL,",
        "            stdout=subprocess.DEVNULL,",
        "        )",
        "        atexit.register(self.stop)",
        "",
        *_waiting(),
    ]


def _waiting() -> Lines:
    """How the server's class waits for it and stops it."""
    return [
        "    def wait(self):",
        f"        for _ in range({START_SECONDS * 5}):",
        "            if self.process.poll() is not None:",
        '                raise RuntimeError(f"transformers serve ended with exit code {self.process.returncode}")',
        "            try:",
        '                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)',
        '                connection.request("GET", "/health")',
        "                if connection.getresponse().status == 200:",
        "                    return self",
        "            except OSError:",
        "                pass",
        "            time.sleep(0.2)",
        '        raise RuntimeError("transformers serve does not answer")',
        "",
        "    def stop(self):",
        "        self.process.terminate()",
        "        try:",
        "            self.process.wait(10)",
        "        except subprocess.TimeoutExpired:",
        "            self.process.kill()",
        "            self.process.wait()",
        "",
    ]


def _texts(subject: Subject) -> Lines:
    """What the server's class says of texts and token ids."""
    words = subject.random_weights
    text = '" ".join(f"t{number}" for number in prompt)' if words else "self.tokenizer.decode(prompt)"
    ids = "[int(word[1:]) for word in text.split()]" if words else "[None] * made  # text does not tell them"
    return [
        "    def text(self, prompt):",
        f"        return {text}",
        "",
        "    def ids(self, text, made):",
        f"        return {ids}",
        "",
        "",
    ]


def _options(subject: Subject, setup: Setup) -> Lines:
    """The function that gives the server's options."""
    given = options(setup)
    body = [f"options = {literal(given)}"]
    if setup.batching == "continuous":
        count = at_a_time(subject, setup)
        page = setup.page_size or (CPU_PAGE_TOKENS if setup.device == "cpu" else PAGE_TOKENS)
        tokens = f"min({MOST_BATCH_TOKENS}, max(longest, {literal(count)} * PROMPT_TOKENS))"
        body += [
            "longest = PROMPT_TOKENS + NEW_TOKENS",
            f"page = {literal(page)}",
            f"blocks = {literal(count)} * (-(-longest // page) + 1)  # else nine tenths of the memory are taken",
            f"tokens = {tokens if setup.max_batch_tokens is None else literal(setup.max_batch_tokens)}",
            'options += ["--continuous-batching", "--cb-block-size", str(page)]',
            'options += ["--cb-num-blocks", str(blocks), "--cb-max-batch-tokens", str(tokens)]',
        ]
    return [
        "def serve_options():",
        '    """What the server is told."""',
        *(f"    {line}" for line in body),
        "    return options",
        "",
        "",
    ]


def options(setup: Setup) -> list[str]:
    """The options of `transformers serve` for this setup, those of continuous batching aside."""
    given = []
    device = "auto" if setup.device_map == "auto" else setup.device
    if device is not None:
        given += ["--device", device]
    if setup.dtype is not None:
        given += ["--dtype", setup.dtype]
    if setup.attn_implementation is not None:
        given += ["--attn-implementation", setup.attn_implementation]
    if setup.quantization in SERVE_QUANTIZATION:
        given += ["--quantization", SERVE_QUANTIZATION[setup.quantization]]
    if setup.compile == "generate":
        given.append("--compile")
    return given


def _load(subject: Subject) -> Lines:
    return [
        "def load():",
        '    """The server, ready to answer."""',
        "    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]",
        "    if missing:",
        "        lacks = f\"transformers serve lacks {', '.join(missing)}\"",
        "        raise ImportError(f\"{lacks}: pip install 'transformers[serving]'\")",
        *(f"    {line}" for line in (_random(subject) if subject.random_weights else _found(subject))),
        "    return server.wait()",
    ]


def _found(subject: Subject) -> Lines:
    revision = subject.reference.revision
    given = "" if revision is None else f", revision={literal(revision)}"
    name = "MODEL" if revision is None else f"MODEL + {literal('@' + revision)}"
    return [
        f"config = AutoConfig.from_pretrained(MODEL{given})",
        f"tokenizer = AutoTokenizer.from_pretrained(MODEL{given})",
        f"server = Server({name}, config, tokenizer, serve_options())",
    ]


def _random(subject: Subject) -> Lines:
    known = "AutoConfig.for_model(**CONFIG)" if subject.config is not None else "AutoConfig.from_pretrained(MODEL)"
    return [
        f"torch.manual_seed({SEED})  # random weights, the same in every run",
        f"config = {known}",
        'folder = tempfile.TemporaryDirectory(prefix="random-weights-", ignore_cleanup_errors=True)',
        "AutoModelForCausalLM.from_config(config).save_pretrained(folder.name)",
        "save_tokenizer(folder.name, config.get_text_config().vocab_size)",
        "server = Server(folder.name, config, None, serve_options())",
        "server.weights_folder = folder",
    ]


def _loading(subject: Subject) -> Lines:
    if not subject.random_weights:
        return []
    return [
        "",
        "",
        "def save_tokenizer(folder, size):",
        '    """One word for each token, so that text and token ids say the same."""',
        '    words = {f"t{number}": number for number in range(size)}',
        '    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))',
        "    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()",
        "    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)",
    ]
