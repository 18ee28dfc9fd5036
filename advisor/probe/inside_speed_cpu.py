"""Loaded by inside_speed.py in the target interpreter: what steps of a few Llama layers take on a CPU, by width.

Whole layers, built by the installed transformers, because operators timed alone promise up to twice of what they reach
between all the others. Three widths, because a product of few rows reads narrow matrices more slowly than wide ones:
every row of a matrix begins anew, and every product is shared out to the threads. A step of each model reads weights
twice as large as the last-level cache; the weights of all models of a type lie in one pool, which is filled once.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEADS_OF = {"narrow": 6, "middle": 8, "wide": 16}
HIDDEN = {"narrow": 384, "middle": 1024, "wide": 2048}
INNER_SHARE, WORDS = 2.75, 128
HEAD_HIDDEN = {"narrow_head": 512, "head": 1024}
HEAD_PARAMETERS = 2**25
SHORT, LONG, ROWS, PROMPT = 16, 272, 8, 256
PROMPT_LAYERS = 2
"""Layers of the model that reads a prompt: 256 rows hide the reading of weights, which may then lie in a cache."""
FEWEST, MOST = 48 * 2**20, 160 * 2**20
"""Parameters of the pool: one layer of the widest model at least."""
PATTERN = 2**20
TINY_LAYERS = 2

Samples = dict[str, list[float]]
Jobs = dict[str, Callable[[], float]]
Typical = Callable[[list[float]], float]


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def layer_parameters(width: str) -> int:
    """Parameters of the products of one layer; half as many key and value heads as query heads."""
    hidden = HIDDEN[width]
    return int(3 * hidden * hidden + 3 * hidden * hidden * INNER_SHARE)


def pool_parameters() -> int:
    """As many 16-bit weights as are twice as large as the last-level cache, within limits."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        if text[:-1].isdigit() and text[-1] in "KM":
            sizes.append(int(text[:-1]) * {"K": 2**10, "M": 2**20}[text[-1]])
    return min(MOST, max(FEWEST, max(sizes, default=2**25)))


def sizes_of(width: str) -> tuple[int, int, int, int, int]:
    """Hidden and inner size, heads, key and value heads, and words of a model of this width."""
    hidden, heads = HIDDEN[width], HEADS_OF[width]
    return hidden, int(hidden * INNER_SHARE), heads, heads // 2, WORDS


def layers_of(width: str, parameters: int) -> int:
    """Layers that go through the whole pool once."""
    return max(1, parameters // layer_parameters(width))


def do_nothing(*_: Any) -> None:
    """Stands for the library's initialization of weights, which takes most of the time."""


def llama(dtype: str, layers: int, hidden: int, inner: int, heads: int, kv_heads: int, words: int) -> Any:
    """A model of one type on the CPU, whose weights are what the memory held."""
    import torch
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "vocab_size": words}
    config = LlamaConfig(**sizes, num_attention_heads=heads, num_key_value_heads=kv_heads)
    torch.nn.Linear.reset_parameters = torch.nn.Embedding.reset_parameters = do_nothing
    LlamaForCausalLM._init_weights = do_nothing
    torch.set_default_dtype(getattr(torch, dtype))
    model = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    return model


def filled_pool(dtype: str, parameters: int) -> Any:
    """One flat tensor of random weights."""
    import torch

    kind = getattr(torch, dtype)
    whole = parameters // PATTERN
    pool = torch.empty(whole, PATTERN, dtype=kind)
    pool.copy_(torch.empty(PATTERN).uniform_(-0.05, 0.05).to(kind))
    return pool.view(-1)


def from_pool(model: Any, pool: Any) -> Any:
    """`model` with its matrices laid one after the other into the pool, from the start again where it ends."""
    at = 0
    for weight in (each for each in model.parameters() if each.dim() > 1):
        size = weight.numel()
        at = at if at + size <= pool.numel() else 0
        weight.data = pool[at : at + size].view_as(weight)
        at += size
    return model


def step(model: Any, rows: int, past: int) -> Callable[[], float]:
    """Time of one decode step of `rows` sequences that hold `past` tokens each, or a few more."""
    import torch
    from transformers import DynamicCache

    config, cache = model.config, DynamicCache()
    width = config.hidden_size // config.num_attention_heads
    kept = torch.rand(rows, config.num_key_value_heads, past, width).to(model.dtype)
    for layer in range(config.num_hidden_layers):
        cache.update(kept.clone(), kept.clone(), layer)
    ids = torch.zeros(rows, 1, dtype=torch.long)

    def forward() -> None:
        model.lm_head(model.model(input_ids=ids, past_key_values=cache, use_cache=True)[0])

    forward()  # the first copy of a cache finds no memory to reuse, later ones do
    return lambda: timed(forward)


def tiny_step() -> Callable[[], float]:
    """A step so small that only launching counts: what a forward pass takes beside its layers, and two of those."""
    model = llama("float32", TINY_LAYERS, 64, 128, 4, 2, WORDS)
    return step(from_pool(model, filled_pool("float32", PATTERN)), 1, SHORT)


def projection(head: Any, rows: int) -> Callable[[], float]:
    """Time of the product of so many rows with an output projection."""
    import torch

    states = torch.rand(rows, head.shape[1]).to(head.dtype)
    return lambda: timed(lambda: torch.nn.functional.linear(states, head))


def jobs(dtype: str, every_width: bool) -> Jobs:
    """Steps of 1 and 8 prompts, one with a long past, a prompt, and the output projection by itself."""
    import torch

    parameters = pool_parameters()
    pool = filled_pool(dtype, parameters)
    found: Jobs = {}
    models = {}
    for width in HIDDEN if every_width else ("middle",):
        models[width] = from_pool(llama(dtype, layers_of(width, parameters), *sizes_of(width)), pool)
        found |= {f"{width} one": step(models[width], 1, SHORT), f"{width} eight": step(models[width], ROWS, SHORT)}
    middle = models["middle"]
    found["long"] = step(middle, ROWS, LONG)

    shallow = from_pool(llama(dtype, PROMPT_LAYERS, *sizes_of("middle")), pool)

    def prompt() -> None:
        ids = torch.zeros(1, PROMPT, dtype=torch.long)
        shallow.lm_head(shallow.model(input_ids=ids, use_cache=True)[0][:, -1:])

    prompt()  # the first one finds no memory to reuse, and a slow one is timed but once
    found["prompt"] = lambda: timed(prompt)
    for name, hidden in HEAD_HIDDEN.items() if every_width else ():
        head = pool[:HEAD_PARAMETERS].view(-1, hidden)
        found |= {f"{name} one": projection(head, 1), f"{name} eight": projection(head, ROWS)}
    return {f"{dtype} {name}": job for name, job in found.items()}


def values(samples: Samples, typical: Typical, dtype: str, layer: float, parameters: int) -> dict[str, float]:
    """Rates of one type, from step times less what launching them takes: `layer` seconds for each layer.

    Raises:
        ValueError: the samples are too disturbed to tell the parts apart.
    """
    seconds = {name.removeprefix(f"{dtype} "): typical(found) for name, found in samples.items() if dtype in name}
    # A few hundredths of a step, left over from two larger figures: noise may make it less than nothing.
    around = max(0.0, typical(samples["tiny"]) - TINY_LAYERS * layer)
    size = 4 if dtype == "float32" else 2
    # Of each rate: what was read or computed, and the seconds that it took.
    parts: dict[str, tuple[float, float]] = {}
    for width in (name for name in HIDDEN if f"{name} one" in seconds):
        layers = layers_of(width, parameters)
        body, launch = layers * layer_parameters(width), layers * layer + around
        prefix = "" if width == "middle" else f"{width}_"
        parts[f"{prefix}gemv_{dtype}_bytes_per_second"] = (body * size, seconds[f"{width} one"] - launch)
        parts[f"{prefix}small_gemm_{dtype}_flops_per_second"] = (2 * ROWS * body, seconds[f"{width} eight"] - launch)
    layers = layers_of("middle", parameters)
    body, launch = PROMPT_LAYERS * layer_parameters("middle"), PROMPT_LAYERS * layer + around
    kept_bytes = 2 * layers * ROWS * HIDDEN["middle"] * (LONG - SHORT) * size
    parts[f"gemm_{dtype}_flops_per_second"] = (2 * PROMPT * body, seconds["prompt"] - launch)
    parts[f"kv_{dtype}_bytes_per_second"] = (kept_bytes, seconds["long"] - seconds["middle eight"])
    for name in (name for name in HEAD_HIDDEN if f"{name} one" in seconds):
        parts[f"{name}_gemv_{dtype}_bytes_per_second"] = (HEAD_PARAMETERS * size, seconds[f"{name} one"])
        amount = 2 * ROWS * HEAD_PARAMETERS
        parts[f"{name}_small_gemm_{dtype}_flops_per_second"] = (amount, seconds[f"{name} eight"])
    if min(taken for _, taken in parts.values()) <= 0:
        raise ValueError("times too disturbed to tell the parts of a step apart")
    return {name: amount / taken for name, (amount, taken) in parts.items()}
