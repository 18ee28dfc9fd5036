"""A setup as the Python that a user would write: one text that is exported, run by hand and measured.

The text stands alone: `python FILE.py` loads the model, generates and prints the figures. Its functions `load()`,
`make_prompts(model)` and `generate(model, tokenizer, prompts, **options)` are what the measuring child calls.

Plans travel, so every value that enters the text is checked against the knob's declaration and written by
`literal`, which knows only plain data; nothing else of a plan reaches the text, comments included.
"""

from advisor.conflicts import spread
from advisor.errors import PlanError
from advisor.run import arrivals, serve_engine, tensor_parallel
from advisor.run.generating import generate_lines, prompts_at_hand
from advisor.run.loading import load_lines, saved_first
from advisor.run.process_wide import environment_lines
from advisor.run.quantizing import configuration_class, torchao_class
from advisor.run.refusals import refusals
from advisor.run.serving import arrivals_of, serve_lines
from advisor.run.source import Lines, literal, table
from advisor.run.subject import SEED, Subject
from advisor.run.tensor_parallel import splits
from advisor.setup import Setup
from advisor.workload import Workload

TITLE = '"""Loads a model, generates, and prints the speed. Written by perf-advisor; yours to change."""'


def recipe(subject: Subject, setup: Setup) -> str:
    """The program for `setup`.

    Raises:
        PlanError: a knob's value, the model's name or the combination cannot be carried out; all reasons together.
    """
    if mistakes := refusals(subject, setup):
        raise PlanError(*mistakes)
    parts = [[*_header(subject, setup), "", *_constants(subject, setup)], *_functions(subject, setup)]
    return "\n\n\n".join("\n".join(part) for part in parts) + '\n\n\nif __name__ == "__main__":\n    main()\n'


def _functions(subject: Subject, setup: Setup) -> list[Lines]:
    """The functions of the program: `generate()` for prompts together, `serve()` for requests that arrive alone."""
    found = arrivals_of(subject, setup)
    load = load_lines(subject, setup)
    if found is None:
        return [load, _prompts(subject.workload), generate_lines(subject, setup), _main(subject)]
    serve = serve_lines(subject, setup)
    if setup.engine == "serve":
        load, serve = serve_engine.load_lines(subject, setup), serve_engine.serve_lines()
    return [load, arrivals.request_lines(subject.workload, found), serve, arrivals.main_lines()]


def _header(subject: Subject, setup: Setup) -> Lines:
    if setup.engine == "serve":
        return [TITLE, "", *serve_engine.imports(subject)]
    modules = ["random", "time"] if arrivals_of(subject, setup) else ["random", "statistics", "time"]
    if spread(setup) or (subject.random_weights and saved_first(setup)):
        modules.append("tempfile")
    environment = environment_lines(subject, setup)
    modules += ["os"] if environment and not splits(setup) else []
    modules += tensor_parallel.modules(setup)
    names = ["AutoModelForCausalLM"]
    names += ["AutoConfig"] if subject.random_weights or splits(setup) else []
    names += ["AutoTokenizer"] if subject.tokenizer and arrivals_of(subject, setup) is None else []
    names += [made] if (made := configuration_class(setup)) else []
    names += ["CompileConfig"] if setup.compile == "generate" else []
    names += ["ContinuousBatchingConfig", "GenerationConfig"] if setup.batching == "continuous" else []
    names += ["StaticCache"] if setup.keep_cache else []
    torchao = torchao_class(subject, setup)
    return [
        TITLE,
        "",
        *(f"import {module}" for module in sorted(modules)),
        "",
        *([*environment, ""] if environment else []),
        "import torch",
        *tensor_parallel.imported(subject, setup)[:1],
        *(["from torch.nn.attention import SDPBackend, sdpa_kernel"] if setup.sdpa_backend else []),
        *([f"from torchao.quantization import {torchao}"] if torchao else []),
        f"from transformers import {', '.join(sorted(names))}",
        *tensor_parallel.imported(subject, setup)[1:],
    ]


def _constants(subject: Subject, setup: Setup) -> Lines:
    workload = subject.workload
    lines = tensor_parallel.constant(setup)
    lines += [] if subject.config is not None else [f"MODEL = {literal(subject.reference.name)}"]
    if subject.config is not None:
        lines += table("CONFIG", subject.config)
    if found := arrivals_of(subject, setup):
        lines += arrivals.constants(found)
    else:
        lines.append(f"PROMPTS = {literal(prompts_at_hand(workload))}")
    lines += [
        f"PROMPT_TOKENS = {literal(workload.prompt_tokens)}",
        f"NEW_TOKENS = {literal(workload.new_tokens)}",
    ]
    if subject.tokenizer and arrivals_of(subject, setup) is None:
        lines.append("TEXTS = []  # your own prompts; while empty, the speed is measured with random tokens")
    return lines


def _prompts(workload: Workload) -> Lines:
    lengths = ["lengths = [PROMPT_TOKENS] * PROMPTS"]
    if workload.mixed_lengths:
        lengths = [
            "# Lengths between a quarter and the whole of PROMPT_TOKENS, in no order.",
            "lengths = [max(1, PROMPT_TOKENS * (PROMPTS + 3 * i) // (4 * PROMPTS)) for i in range(1, PROMPTS + 1)]",
            "numbers.shuffle(lengths)",
        ]
    return [
        "def make_prompts(model):",
        '    """Random token ids, the same in every run: speed does not depend on what they say."""',
        f"    numbers = random.Random({SEED})",
        *(f"    {line}" for line in lengths),
        "    size = model.config.get_text_config().vocab_size",
        "    words = range(size // 10, size // 2 + 1)  # the ends of a vocabulary hold special tokens",
        "    return [numbers.choices(words, k=length) for length in lengths]",
    ]


def _main(subject: Subject) -> Lines:
    texts = [
        "    if TEXTS:",
        "        tokenizer = AutoTokenizer.from_pretrained(MODEL)",
        "        for text, ids in zip(TEXTS, generate(model, tokenizer, TEXTS)):",
        "            print(text, tokenizer.decode(ids, skip_special_tokens=True))",
        "        return",
    ]
    return [
        "def main():",
        "    started = time.perf_counter()",
        "    model = load()",
        '    print(f"loaded in {time.perf_counter() - started:.1f} s")',
        *(texts if subject.tokenizer else []),
        "    prompts = make_prompts(model)",
        "    started = time.perf_counter()",
        "    generate(model, None, prompts)  # the first request is slower; compilation happens here",
        '    print(f"first request in {time.perf_counter() - started:.1f} s")',
        "    seconds = []",
        "    for _ in range(3):",
        "        started = time.perf_counter()",
        "        made = generate(model, None, prompts)",
        "        seconds.append(time.perf_counter() - started)",
        "    tokens = sum(len(ids) for ids in made)",
        "    middle = statistics.median(seconds)",
        '    print(f"{middle:.3f} s for a request of {len(prompts)} prompts, {tokens / middle:.1f} new tokens/s")',
        "    if torch.cuda.is_available():",
        '        print(f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of GPU memory at most")',
    ]
