"""The `generate()` of a recipe: prompts side by side, in the calls and with the arguments that a setup asks for."""

from dataclasses import replace

from packaging.version import Version

from advisor.conflicts import STATIC, spread
from advisor.run.drafting import drafting_arguments
from advisor.run.keeping_cache import kept_cache_lines, own_cache_lines
from advisor.run.source import Lines, call, literal
from advisor.run.subject import Subject
from advisor.setup import Setup
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


# Members of torch.nn.attention.SDPBackend.
SDPA_BACKENDS = {
    "flash": "FLASH_ATTENTION",
    "mem_efficient": "EFFICIENT_ATTENTION",
    "math": "MATH",
    "cudnn": "CUDNN_ATTENTION",
}


# A model says `meta` of itself where its first layer is offloaded; accelerate moves the inputs to where they are used.
INPUT_DEVICE = (
    'device = "cpu" if model.device.type == "meta" else model.device  # meta: read from disk or RAM when used'
)


def prompts_at_hand(workload: Workload) -> int:
    """Prompts of one measured request: those of every request that is in flight at a time."""
    return workload.batch * workload.concurrency


def prompts_per_call(workload: Workload, setup: Setup) -> int:
    """Prompts in one call of generate: one in a loop, else the batch size, else the batch of one request."""
    return 1 if setup.batching == "loop" else setup.batch_size or workload.batch


def generate_lines(subject: Subject, setup: Setup) -> Lines:
    """The function `generate()`, after the one that pads prompts. Every value of `setup` has been checked before."""
    body = _continuous(subject, setup) if setup.batching == "continuous" else _calls(subject, setup)
    texts = [
        "if tokenizer is not None:",
        '    prompts = [tokenizer(text)["input_ids"] for text in prompts]',
    ]
    # Continuous batching generates in a thread of its own, where tensors of this mode may not be written to.
    before = (
        []
        if setup.batching == "continuous"
        else [*padded_lines(setup), *own_cache_lines(setup), "@torch.inference_mode()"]
    )
    return [
        *before,
        "def generate(model, tokenizer, prompts, **options):",
        '    """New token ids for each prompt. Prompts are lists of token ids, or texts where a tokenizer is given."""',
        *(f"    {line}" for line in [*texts, *body]),
    ]


def padded_lines(setup: Setup) -> Lines:
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
    arguments = ["input_ids=ids", "attention_mask=mask", "pad_token_id=pad", *_arguments(subject, setup)]
    return [
        "ends = model.generation_config.eos_token_id or 0",
        "pad = ends[0] if isinstance(ends, list) else ends  # the mask hides it, so any token will do",
        *compile_configuration(setup),
        *([INPUT_DEVICE] if spread(setup) else []),
        f"order = {order}",
        "made = [None] * len(prompts)",
        f"for start in range(0, len(prompts), {size}):",
        f"    chosen = order[start : start + {size}]",
        f"    ids, mask = padded([prompts[i] for i in chosen], pad, {'device' if spread(setup) else 'model.device'})",
        *_call(setup, [*arguments, "**options"]),
        "    for i, row in zip(chosen, output[:, ids.shape[1] :].tolist()):",
        "        made[i] = row",
        "return made",
    ]


def _call(setup: Setup, arguments: list[str]) -> Lines:
    """The call of generate, within the choice of a kernel where there is one."""
    before = kept_cache_lines(setup)
    if setup.sdpa_backend is None:
        return [*before, *call("    output = model.generate", arguments, 4)]
    chosen = f"    with sdpa_kernel(SDPBackend.{SDPA_BACKENDS[setup.sdpa_backend]}):"
    return [*before, chosen, *call("        output = model.generate", arguments, 8)]


def _arguments(subject: Subject, setup: Setup) -> list[str]:
    """What generate is told of lengths, cache, chunks, drafting and compilation."""
    return [
        "max_new_tokens=NEW_TOKENS",
        "min_new_tokens=NEW_TOKENS,  # for comparable figures; without it the model stops where it wants",
        "do_sample=False",
        *knob_arguments(subject, setup),
    ]


def own_arguments_lines(subject: Subject, setup: Setup) -> Lines:
    """Lines that leave in `arguments` what the knobs of `setup` say to model.generate, for a user's own calls."""
    # One's own calls differ in length and number of prompts, so that no one cache serves them all.
    setup = replace(setup, keep_cache=None)
    return [*compile_configuration(setup), *call("arguments = dict", knob_arguments(subject, setup), 0)]


def knob_arguments(subject: Subject, setup: Setup) -> list[str]:
    """What the knobs say to generate, of cache, chunks, drafting and compilation."""
    arguments = _cache_arguments(setup)
    if setup.prefill_chunk_size is not None:
        arguments.append(f"prefill_chunk_size={literal(setup.prefill_chunk_size)}")
    arguments += drafting_arguments(setup)
    if setup.compile == "generate":
        arguments.append("compile_config=compile_config")
    fixed = setup.cache_implementation in STATIC
    if fixed and setup.compile == "none" and not subject.older_than(DISABLE_COMPILE_SINCE):
        arguments.append("disable_compile=True,  # on a GPU a static cache is compiled unless this is said")
    return arguments


def _cache_arguments(setup: Setup) -> list[str]:
    arguments = []
    if setup.use_cache is not None:
        arguments.append(f"use_cache={literal(setup.use_cache)}")
    if setup.keep_cache:
        arguments.append("past_key_values=cache")
    elif setup.cache_implementation is not None and setup.speculation != "assistant":
        # With an assistant the growing cache is the only one, and the assistant's own call refuses to be told of it.
        arguments.append(f"cache_implementation={literal(setup.cache_implementation)}")
    given = {"backend": setup.cache_backend, "nbits": setup.cache_bits}
    configuration = {name: value for name, value in given.items() if value is not None}
    if setup.cache_implementation == "quantized" and configuration:
        arguments.append(f"cache_config={literal(configuration)}")
    return arguments


def compile_configuration(setup: Setup) -> Lines:
    """Lines that leave what generate is told of compilation in `compile_config`; none where nothing is compiled."""
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


def batch_limits(subject: Subject, setup: Setup, in_flight: int) -> Lines:
    """Lines that make the `config` of continuous batching for `in_flight` requests of `longest` tokens at most."""
    page_name = "block_size" if subject.older_than(PAGE_SIZE_SINCE) else "page_size"
    page = f'{CPU_PAGE_TOKENS} if model.device.type == "cpu" else {PAGE_TOKENS}'
    tokens = f"min({MOST_BATCH_TOKENS}, max(longest, {in_flight} * PROMPT_TOKENS))"
    return [
        f"page = {page if setup.page_size is None else literal(setup.page_size)}",
        *call(
            "config = ContinuousBatchingConfig",
            [
                f"{page_name}=page",
                f"num_blocks={in_flight} * (-(-longest // page) + 1),  # else nine tenths of the memory are taken",
                f"max_batch_tokens={tokens if setup.max_batch_tokens is None else literal(setup.max_batch_tokens)}",
            ],
            0,
        ),
    ]


def _continuous(subject: Subject, setup: Setup) -> Lines:
    return [
        "longest = max(len(prompt) for prompt in prompts) + NEW_TOKENS",
        *batch_limits(subject, setup, setup.batch_size or prompts_at_hand(subject.workload)),
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
