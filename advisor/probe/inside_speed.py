"""Runs in the target interpreter: what a decode step is made of on the device that torch uses first.

Two paths on the command line: the request and the answer, both JSON. On a CPU the model is a few Llama layers with
random weights, built by the installed transformers, because operators timed alone promise up to twice of what they
reach between all the others. Kinds of measurement take turns, so that a disturbance meets all of them alike.

Request: {"cores": int | null, "disturbed": bool}. Answer: {"device", "threads", "values": {name: number}, "missing":
{part: reason}}.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DTYPES = ("bfloat16", "float16", "float32")
HIDDEN, INNER, HEADS, KV_HEADS, WORDS = 1024, 2816, 8, 4, 8192
NARROW = (256, 704, 4, 2, 128)
"""Wide enough that operators are spread over threads, narrow enough that weights take no time."""
LAYER_PARAMETERS = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * HIDDEN * KV_HEADS // HEADS + 3 * HIDDEN * INNER
SHORT, LONG, ROWS, PROMPT = 16, 272, 8, 256
FEW_LAYERS, MORE_LAYERS = 2, 6
TOKENS = 12
ROUNDS = 3
TURN_SECONDS, SLOW_SECONDS = 0.03, 0.3
"""A job's turn is at least one sample, and more as long as this lasts; what takes longer has one sample in all."""
MOST_SECONDS = 8.0
"""After this no further round is begun: a disturbed measurement does not get better by waiting for it."""
SIDE, QUEUED, PAST = 8192, 16, 4096
"""An accelerator's matrices have 128 MiB in 16 bits, which no cache holds; so many operators are queued at once that
it never waits for the host."""

Samples = dict[str, list[float]]
Jobs = dict[str, Callable[[], float]]
Typical = Callable[[list[float]], float]


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turns(jobs: Jobs) -> Samples:
    """Samples of every job, taken in rounds of one short turn each."""
    samples: Samples = {name: [] for name in jobs}
    started = time.perf_counter()
    for count in range(ROUNDS):
        if count and time.perf_counter() - started > MOST_SECONDS:
            break
        for name, job in jobs.items():
            if min(samples[name], default=0.0) > SLOW_SECONDS:
                continue
            end = time.perf_counter() + TURN_SECONDS
            samples[name].append(job())
            while time.perf_counter() < end:
                samples[name].append(job())
    return samples


def attempt(missing: dict[str, str], part: str, work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` gives, or an empty dict with the reason noted: what one type cannot do must not cost the others."""
    try:
        return work(*arguments)
    except Exception as error:
        missing[part] = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        return {}


def resident_bytes() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def layers_needed() -> int:
    """Layers whose 16-bit weights are twice as large as the last-level cache, at most 12."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        if text[:-1].isdigit() and text[-1] in "KM":
            sizes.append(int(text[:-1]) * {"K": 2**10, "M": 2**20}[text[-1]])
    return min(12, max(3, -(-max(sizes, default=2**25) // LAYER_PARAMETERS)))


def do_nothing(*_: Any) -> None:
    """Stands for the library's initialization of weights, which takes most of the time."""


def llama(dtype: str, layers: int, hidden: int, inner: int, heads: int, kv_heads: int, words: int) -> Any:
    """A model with random weights of one type, on the CPU."""
    import torch
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "vocab_size": words}
    config = LlamaConfig(**sizes, num_attention_heads=heads, num_key_value_heads=kv_heads)
    torch.nn.Linear.reset_parameters = torch.nn.Embedding.reset_parameters = do_nothing
    LlamaForCausalLM._init_weights = do_nothing
    kind = getattr(torch, dtype)
    torch.set_default_dtype(kind)
    model = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    pattern = torch.empty(2**20).uniform_(-0.05, 0.05).to(kind)
    for weight in (each for each in model.parameters() if each.dim() > 1):
        whole, rest = divmod(weight.numel(), pattern.numel())
        weight.copy_(torch.cat([pattern] * whole + [pattern[:rest]]).view_as(weight))
    return model


def host_jobs(dtype: str, device: str) -> Jobs:
    """Time of one step of generate on models so small that only launching counts."""
    import torch

    def job(layers: int) -> Callable[[], float]:
        model = llama(dtype, layers, 64, 128, 4, 2, 128).to(device)
        ids = torch.zeros(1, SHORT, dtype=torch.long, device=device)
        options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 0}

        def run(tokens: int) -> float:
            return timed(lambda: model.generate(ids, max_new_tokens=tokens, min_new_tokens=tokens, **options))

        run(TOKENS + 1)
        return lambda: (run(TOKENS + 1) - run(1)) / TOKENS

    return {"host few": job(FEW_LAYERS), "host more": job(MORE_LAYERS)}


def host_values(samples: Samples, typical: Typical) -> dict[str, float]:
    """Host seconds of a layer and of a step without its layers, from models of two depths."""
    few, more = typical(samples["host few"]), typical(samples["host more"])
    layer = (more - few) / (MORE_LAYERS - FEW_LAYERS)
    step = few - FEW_LAYERS * layer
    if layer <= 0 or step <= 0:
        raise ValueError("times too disturbed to tell a layer's launch")
    return {"layer_host_seconds": layer, "step_host_seconds": step}


def cpu_step(model: Any, rows: int, past: int) -> Callable[[], float]:
    """Time of one decode step of `rows` sequences that hold `past` tokens each."""
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

    for _ in range(2):  # the first copies of a cache find no memory to reuse, later ones do
        forward()
    return lambda: timed(forward)


def cpu_jobs(dtype: str, layers: int) -> Jobs:
    """Steps of 1 and 8 prompts, one with a long past, a prompt, and a step of layers so narrow that all is overhead."""
    import torch

    model, narrow = llama(dtype, layers, HIDDEN, INNER, HEADS, KV_HEADS, WORDS), llama(dtype, MORE_LAYERS, *NARROW)

    def prompt() -> None:
        ids = torch.zeros(1, PROMPT, dtype=torch.long)
        model.lm_head(model.model(input_ids=ids, use_cache=True)[0][:, -1:])

    jobs = {"narrow": cpu_step(narrow, 1, SHORT), "one": cpu_step(model, 1, SHORT), "prompt": lambda: timed(prompt)}
    jobs |= {"eight": cpu_step(model, ROWS, SHORT), "long": cpu_step(model, ROWS, LONG)}
    return {f"{dtype} {name}": job for name, job in jobs.items()}


def cpu_values(samples: Samples, typical: Typical, dtype: str, layers: int) -> dict[str, float]:
    """Rates of one type, from step times less the overhead of the layers."""
    layer = typical(samples[f"{dtype} narrow"]) / MORE_LAYERS
    names = ("one", "eight", "long", "prompt")
    one, eight, long, prompt = (typical(samples[f"{dtype} {name}"]) - layers * layer for name in names)
    size = 4 if dtype == "float32" else 2
    body, head = layers * LAYER_PARAMETERS, WORDS * HIDDEN
    if min(one, eight, prompt, long - eight) <= 0:
        raise ValueError("times too disturbed to tell the parts of a step apart")
    return {
        f"layer_{dtype}_seconds": layer,
        f"gemv_{dtype}_bytes_per_second": (body + head) * size / one,
        f"small_gemm_{dtype}_flops_per_second": 2 * ROWS * (body + head) / eight,
        f"gemm_{dtype}_flops_per_second": 2 * (PROMPT * body + head) / prompt,
        f"kv_{dtype}_bytes_per_second": 2 * layers * ROWS * HIDDEN * (LONG - SHORT) * size / (long - eight),
    }


def on_cpu(missing: dict[str, str], typical: Typical) -> dict[str, float]:
    """All constants of the CPU. What fails for one type is noted in `missing`."""
    layers = layers_needed()
    jobs = host_jobs("float32", "cpu")
    for dtype in DTYPES:
        jobs |= attempt(missing, dtype, cpu_jobs, dtype, layers)
    samples = in_turns(jobs)
    values: dict[str, float] = attempt(missing, "host", host_values, samples, typical)
    for dtype in DTYPES:
        if f"{dtype} one" in samples:
            values |= attempt(missing, dtype, cpu_values, samples, typical, dtype, layers)
    return values


def accelerator_jobs(dtype: str) -> Jobs:
    """Products of 1, 8 and 256 rows with large matrices, and a step's copy and attention of a large cache."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    kind = {"device": "cuda", "dtype": getattr(torch, dtype)}
    matrices = [torch.randn(SIDE, SIDE, **kind) for _ in range(4)]
    kept = [torch.randn(ROWS, HEADS, PAST, 128, **kind) for _ in range(4)]
    new = torch.randn(ROWS, HEADS, 1, 128, **kind)

    def product(rows: int) -> Callable[[int], Any]:
        inputs = torch.randn(rows, SIDE, **kind)
        return lambda turn: F.linear(inputs, matrices[turn % 4])

    def attend(turn: int) -> None:
        key, value = (torch.cat((kept[part + turn % 2], new), -2) for part in (0, 2))
        F.scaled_dot_product_attention(new, key, value)

    def queued(work: Callable[[int], Any]) -> Callable[[], float]:
        def run() -> None:
            for turn in range(QUEUED):
                work(turn)
            torch.cuda.synchronize()

        run()
        return lambda: timed(run) / QUEUED

    works = {"one": product(1), "eight": product(ROWS), "prompt": product(PROMPT), "long": attend}
    return {name: queued(work) for name, work in works.items()}


def accelerator_values(dtype: str, typical: Typical) -> dict[str, float]:
    samples = in_turns(accelerator_jobs(dtype))
    one, eight, prompt, long = (typical(samples[name]) for name in ("one", "eight", "prompt", "long"))
    size = 4 if dtype == "float32" else 2
    return {
        f"gemv_{dtype}_bytes_per_second": SIDE * SIDE * size / one,
        f"small_gemm_{dtype}_flops_per_second": 2 * ROWS * SIDE * SIDE / eight,
        f"gemm_{dtype}_flops_per_second": 2 * PROMPT * SIDE * SIDE / prompt,
        f"kv_{dtype}_bytes_per_second": 2 * ROWS * HEADS * (PAST + 1) * 128 * size / long,
    }


def on_accelerator(missing: dict[str, str], typical: Typical) -> dict[str, float]:
    """All constants of the CUDA or ROCm device that torch uses first, one type after the other to spare its memory."""
    import torch

    host = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    values: dict[str, float] = attempt(missing, "host", lambda: host_values(in_turns(host_jobs(host, "cuda")), typical))
    for dtype in DTYPES:
        values |= attempt(missing, dtype, accelerator_values, dtype, typical)
        torch.cuda.empty_cache()
    return values


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Everything that can be had."""
    import torch
    import transformers
    from transformers.models.llama import modeling_llama  # noqa: F401  # what a program that generates has imported

    process = resident_bytes()
    transformers.logging.set_verbosity_error()
    torch.set_grad_enabled(False)
    threads = min(torch.get_num_threads(), request["cores"] or torch.get_num_threads())
    torch.set_num_threads(threads)
    accelerated = torch.cuda.is_available()
    missing: dict[str, str] = {}
    # Disturbances only ever add time, so that among disturbed samples the shortest is nearest to the truth.
    typical = min if request["disturbed"] else statistics.median
    values = on_accelerator(missing, typical) if accelerated else on_cpu(missing, typical)
    if process is not None:
        values["process_bytes"] = process
    device = torch.cuda.get_device_name(0) if accelerated else "cpu"
    return {"device": device, "threads": threads, "values": values, "missing": missing}


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = measure(request)
    whole = Path(sys.argv[2] + ".part")
    whole.write_text(json.dumps(answer), encoding="utf-8")
    whole.replace(sys.argv[2])


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if str(Path(entry or ".").resolve()) != here]
    main()
