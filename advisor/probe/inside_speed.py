"""Runs in the target interpreter: what a decode step is made of on the device that torch uses first.

Two paths on the command line: the request and the answer, both JSON. On a CPU the model is a few Llama layers with
random weights (inside_speed_cpu.py). Kinds of measurement take turns, so that a disturbance meets all of them alike.

Request: {"cores": int | null, "disturbed": bool}. Answer: {"device", "threads", "values": {name: number}, "missing":
{part: reason}}.
"""

import gc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

DTYPES = ("bfloat16", "float16", "float32")
EVERY_WIDTH = ("bfloat16", "float32")
"""Types of which matrices of three widths are measured on a CPU; float16 is rarely computed in there, and slow."""
HEADS, SHORT, ROWS, PROMPT = 8, 16, 8, 256
FEW_LAYERS, MORE_LAYERS = 2, 6
TOKENS = 12
ROUNDS = 2
TURN_SECONDS, SLOW_SECONDS = 0.02, 0.2
"""A job's turn is at least one sample, and more as long as this lasts; what takes longer has one sample in all."""
HOST_JOBS, HOST_TURN_SECONDS = ("host few", "host more", "tiny"), 0.12
"""What all other figures are lowered by, and is told from small differences: these jobs' turns last longer."""
MOST_SECONDS = 8.0
"""After this no further round is begun: a disturbed measurement does not get better by waiting for it."""
SIDE, QUEUED, PAST = 8192, 16, 4096
"""An accelerator's matrices have 128 MiB in 16 bits, which no cache holds; so many operators are queued at once that
it never waits for the host."""

Samples = dict[str, list[float]]
Jobs = dict[str, Callable[[], float]]
Typical = Callable[[list[float]], float]


def beside(name: str) -> ModuleType:
    """The program of this name in this program's folder, whatever the import path holds."""
    place = Path(__file__).resolve().with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cpu = beside("inside_speed_cpu")


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
            end = time.perf_counter() + (HOST_TURN_SECONDS if name in HOST_JOBS else TURN_SECONDS)
            samples[name].append(job())
            while time.perf_counter() < end:
                samples[name].append(job())
    return samples


def lower_quarter(samples: list[float]) -> float:
    """The time that a quarter of the samples stays below: virtual machines are slower for seconds and do not say so."""
    return sorted(samples)[len(samples) // 4]


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


def host_jobs(dtype: str, device: str) -> Jobs:
    """Time of one step of generate on models so small that only launching counts."""
    import torch

    def job(layers: int) -> Callable[[], float]:
        model = cpu.llama(dtype, layers, 64, 128, 4, 2, 128)
        model = cpu.from_pool(model, cpu.filled_pool(dtype, cpu.PATTERN)).to(device)
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


def on_cpu(missing: dict[str, str], typical: Typical) -> dict[str, float]:
    """All constants of the CPU. What fails for one type is noted in `missing`."""
    jobs = {**host_jobs("float32", "cpu"), "tiny": cpu.tiny_step()}
    for dtype in DTYPES:
        jobs |= attempt(missing, dtype, cpu.jobs, dtype, dtype in EVERY_WIDTH)
    samples = in_turns(jobs)
    values: dict[str, float] = attempt(missing, "host", host_values, samples, typical)
    layer, parameters = values.get("layer_host_seconds"), cpu.pool_parameters()
    for dtype in DTYPES:
        if layer is not None and f"{dtype} prompt" in samples:
            values |= attempt(missing, dtype, cpu.values, samples, typical, dtype, layer, parameters)
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
    gc.disable()  # collecting garbage again and again takes a tenth of the imports
    import torch
    import transformers
    from transformers.models.llama import modeling_llama  # noqa: F401  # what a program that generates has imported

    gc.enable()
    gc.freeze()
    process = resident_bytes()
    transformers.logging.set_verbosity_error()
    torch.set_grad_enabled(False)
    threads = min(torch.get_num_threads(), request["cores"] or torch.get_num_threads())
    torch.set_num_threads(threads)
    accelerated = torch.cuda.is_available()
    missing: dict[str, str] = {}
    # Disturbances only ever add time, so that among disturbed samples the shortest is nearest to the truth.
    typical = min if request["disturbed"] else lower_quarter
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
