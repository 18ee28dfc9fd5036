"""A setup as the Python that a user would write: one text that is exported, run by hand and measured.

The text stands alone: `python FILE.py` loads the model, generates and prints the figures. Its functions `load()`,
`make_prompts(model)` and `generate(model, tokenizer, prompts, **options)` are what the measuring child calls.

Plans travel, so every value that enters the text is checked against the knob's declaration and written by
`literal`, which knows only plain data; nothing else of a plan reaches the text, comments included.
"""

from packaging.version import Version

from advisor.conflicts import conflict
from advisor.errors import Mistake, PlanError
from advisor.plan import MODEL_KINDS
from advisor.run.loading import load_lines, saved_first
from advisor.run.source import Lines, call, literal, table
from advisor.run.subject import SEED, Subject
from advisor.setup import Setup, knobs, unusable
from advisor.workload import Workload

# Pages of 16 tokens start a CPU run in under a second, the default of 256 in over ten (measured); GPU kernels for
# paged attention want 256.
CPU_PAGE_TOKENS = 16
PAGE_TOKENS = 256
# Tokens of all requests in one forward of continuous batching. SDPA masks each against the whole cache, so that the
# mask grows with this number.
MOST_BATCH_TOKENS = 2048
# generate_batch takes a ContinuousBatchingConfig from 5.4 on, and calls its pages `page_size` from 5.17 on.
CONTINUOUS_SINCE = Version("5.4")
PAGE_SIZE_SINCE = Version("5.17")
DISABLE_COMPILE_SINCE = Version("4.49")


def recipe(subject: Subject, setup: Setup) -> str:
    """The program for `setup`.

    Raises:
        PlanError: a knob's value, the model's name or the combination cannot be carried out; all reasons together.
    """
    mistakes = [*_unusable_knobs(setup), *_unusable_model(subject), *_unusable_combination(subject, setup)]
    if mistakes:
        raise PlanError(*mistakes)
    parts = [
        [*_header(subject, setup), "", *_constants(subject)],
        load_lines(subject, setup),
        _prompts(subject.workload),
        _generate(subject, setup),
        _main(subject),
    ]
    return "\n\n\n".join("\n".join(part) for part in parts) + '\n\n\nif __name__ == "__main__":\n    main()\n'


def prompts_at_hand(workload: Workload) -> int:
    """Prompts of one measured request: those of every request that is in flight at a time."""
    return workload.batch * workload.concurrency


def prompts_per_call(workload: Workload, setup: Setup) -> int:
    """Prompts in one call of generate: one in a loop, else the batch size, else the batch of one request."""
    return 1 if setup.batching == "loop" else setup.batch_size or workload.batch


def _unusable_knobs(setup: Setup) -> list[Mistake]:
    values = {name: value for name in knobs() if (value := getattr(setup, name)) is not None}
    return [Mistake(f"setup.{name}", wrong) for name, value in values.items() if (wrong := unusable(name, value))]


def _unusable_model(subject: Subject) -> list[Mistake]:
    reference = subject.reference
    mistakes = []
    if reference.kind not in MODEL_KINDS or (reference.kind == "shape" and subject.config is None):
        mistakes.append(Mistake("model.kind", f"{reference.kind!r} cannot be loaded"))
    if "\0" in reference.name:
        mistakes.append(Mistake("model.name", "the path holds a zero byte"))
    if reference.kind in ("config", "shape") and not subject.random_weights:
        mistakes.append(Mistake("model", "only a configuration is at hand", "run with --weights random"))
    return mistakes


def _unusable_combination(subject: Subject, setup: Setup) -> list[Mistake]:
    if wrong := conflict(setup):
        return [Mistake("setup", wrong)]
    if setup.batching == "continuous" and subject.older_than(CONTINUOUS_SINCE):
        return [Mistake("setup.batching", f"continuous batching needs transformers {CONTINUOUS_SINCE} or newer")]
    return []


def _header(subject: Subject, setup: Setup) -> Lines:
    modules = ["random", "statistics", "time"]
    if subject.random_weights and saved_first(setup):
        modules.append("tempfile")
    names = ["AutoModelForCausalLM"]
    names += ["AutoConfig"] if subject.random_weights else []
    names += ["AutoTokenizer"] if subject.tokenizer else []
    names += ["BitsAndBytesConfig"] if setup.quantization not in (None, "none") else []
    names += ["CompileConfig"] if setup.compile == "generate" else []
    names += ["ContinuousBatchingConfig", "GenerationConfig"] if setup.batching == "continuous" else []
    return [
        '"""Loads a model, generates, and prints the speed. Written by perf-advisor; yours to change."""',
        "",
        *(f"import {module}" for module in sorted(modules)),
        "",
        "import torch",
        f"from transformers import {', '.join(sorted(names))}",
    ]


def _constants(subject: Subject) -> Lines:
    workload = subject.workload
    lines = [] if subject.config is not None else [f"MODEL = {literal(subject.reference.name)}"]
    if subject.config is not None:
        lines += table("CONFIG", subject.config)
    lines += [
        f"PROMPTS = {literal(prompts_at_hand(workload))}",
        f"PROMPT_TOKENS = {literal(workload.prompt_tokens)}",
        f"NEW_TOKENS = {literal(workload.new_tokens)}",
    ]
    if subject.tokenizer:
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


def _generate(subject: Subject, setup: Setup) -> Lines:
    body = _continuous(subject, setup) if setup.batching == "continuous" else _calls(subject, setup)
    texts = [
        "if tokenizer is not None:",
        '    prompts = [tokenizer(text)["input_ids"] for text in prompts]',
    ]
    # Continuous batching generates in a thread of its own, where tensors of this mode may not be written to.
    before = [] if setup.batching == "continuous" else [*_padded(setup), "@torch.inference_mode()"]
    return [
        *before,
        "def generate(model, tokenizer, prompts, **options):",
        '    """New token ids for each prompt. Prompts are lists of token ids, or texts where a tokenizer is given."""',
        *(f"    {line}" for line in [*texts, *body]),
    ]


def _padded(setup: Setup) -> Lines:
    """The function that pads prompts to one length; the library's own way needs a tokenizer."""
    width = ["width = max(len(prompt) for prompt in prompts)"]
    if setup.pad_to_multiple_of:
        width.append(f"width += -width % {literal(setup.pad_to_multiple_of)}  # fewer different shapes to compile for")
    right = setup.padding_side == "right"
    row = "prompt + [pad] * (width - len(prompt))" if right else "[pad] * (width - len(prompt)) + prompt"
    left_seen = "[0] * (width - len(prompt)) + [1] * len(prompt)"
    seen = "[1] * len(prompt) + [0] * (width - len(prompt))" if right else left_seen
    return [
        "def padded(prompts, pad, device):",
        f'    """Prompts as one tensor, padded on the {"right" if right else "left"}, and the mask of what is text."""',
        *(f"    {line}" for line in width),
        f"    ids = [{row} for prompt in prompts]",
        f"    mask = [{seen} for prompt in prompts]",
        "    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)",
        "",
        "",
    ]


def _calls(subject: Subject, setup: Setup) -> Lines:
    size = literal(prompts_per_call(subject.workload, setup))
    order = "range(len(prompts))"
    if setup.batching == "sorted":
        order = "sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # like lengths together: less padding"
    arguments = ["input_ids=ids", "attention_mask=mask", "pad_token_id=pad", *_generation_arguments(subject, setup)]
    return [
        "ends = model.generation_config.eos_token_id or 0",
        "pad = ends[0] if isinstance(ends, list) else ends  # the mask hides it, so any token will do",
        *_compile_configuration(setup),
        f"order = {order}",
        "made = [None] * len(prompts)",
        f"for start in range(0, len(prompts), {size}):",
        f"    chosen = order[start : start + {size}]",
        "    ids, mask = padded([prompts[i] for i in chosen], pad, model.device)",
        *call("    output = model.generate", [*arguments, "**options"], 4),
        "    for i, row in zip(chosen, output[:, ids.shape[1] :].tolist()):",
        "        made[i] = row",
        "return made",
    ]


def _generation_arguments(subject: Subject, setup: Setup) -> list[str]:
    arguments = [
        "max_new_tokens=NEW_TOKENS",
        "min_new_tokens=NEW_TOKENS,  # for comparable figures; without it the model stops where it wants",
        "do_sample=False",
    ]
    if setup.use_cache is not None:
        arguments.append(f"use_cache={literal(setup.use_cache)}")
    if setup.cache_implementation is not None:
        arguments.append(f"cache_implementation={literal(setup.cache_implementation)}")
    if setup.compile == "generate":
        arguments.append("compile_config=compile_config")
    fixed = setup.cache_implementation in ("static", "offloaded_static")
    if fixed and setup.compile == "none" and not subject.older_than(DISABLE_COMPILE_SINCE):
        arguments.append("disable_compile=True,  # on a GPU a static cache is compiled unless this is said")
    return arguments


def _compile_configuration(setup: Setup) -> Lines:
    if setup.compile != "generate":
        return []
    given = []
    if setup.compile_mode is not None:
        given.append(f"mode={literal(setup.compile_mode)}")
    if setup.compile_fullgraph is not None:
        given.append(f"fullgraph={literal(setup.compile_fullgraph)}")
    forced = [
        'if model.device.type != "cuda":',
        "    compile_config._compile_all_devices = True  # the library compiles by itself on CUDA only",
    ]
    return [f"compile_config = CompileConfig({', '.join(given)})", *forced]


def _continuous(subject: Subject, setup: Setup) -> Lines:
    page_name = "block_size" if subject.older_than(PAGE_SIZE_SINCE) else "page_size"
    in_flight = literal(setup.batch_size or prompts_at_hand(subject.workload))
    return [
        f'page = {CPU_PAGE_TOKENS} if model.device.type == "cpu" else {PAGE_TOKENS}',
        "longest = max(len(prompt) for prompt in prompts) + NEW_TOKENS",
        *call(
            "config = ContinuousBatchingConfig",
            [
                f"{page_name}=page",
                f"num_blocks={in_flight} * (-(-longest // page) + 1),  # else nine tenths of the memory are taken",
                f"max_batch_tokens=min({MOST_BATCH_TOKENS}, max(longest, {in_flight} * PROMPT_TOKENS))",
            ],
            0,
        ),
        "settings = GenerationConfig(max_new_tokens=NEW_TOKENS, do_sample=False)  # no end token: exact lengths",
        "results = list(",
        "    model.generate_batch(",
        "        prompts, generation_config=settings, continuous_batching_config=config, **options",
        "    ).values()",
        ")",
        "failed = [result.error for result in results if result.error]",
        "if failed or len(results) < len(prompts):",
        '    raise RuntimeError(f"continuous batching left requests unfinished: {failed[:1]}")',
        "return [result.generated_tokens for result in results]",
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
