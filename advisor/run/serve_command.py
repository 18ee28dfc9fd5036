"""A plan as commands that serve its model: `transformers serve`, and vLLM, with the arithmetic in comments.

The flags of `transformers serve` stand in the command line of transformers 5.22.2. Those of vLLM are the documented
ones ("Engine Arguments"); vLLM was not run here. Nothing of a plan reaches the text but checked values and the model's
name, which is quoted for the shell.
"""

import math
import shlex
from collections.abc import Iterator
from dataclasses import replace

from advisor.conflicts import conflict
from advisor.errors import Mistake, PlanError
from advisor.facts import Facts
from advisor.plan import Memory, Plan
from advisor.run.generating import CPU_PAGE_TOKENS, MOST_BATCH_TOKENS, PAGE_TOKENS
from advisor.run.serve_engine import options
from advisor.run.source import Lines
from advisor.setup import Setup, knobs, unusable

MARGIN = 0.05
"""Share of a GPU added to what the plan predicts: vLLM keeps CUDA graphs beside its cache. A guess, said as one."""
VLLM_QUANTIZATION = {"bnb_nf4": "bitsandbytes", "bnb_nf4_double": "bitsandbytes", "fp8": "fp8"}
"""What vLLM quantizes on load, by its documentation; its bitsandbytes is nf4."""
GIB = 2**30


def serve_script(plan: Plan, setup: Setup) -> str:
    """The text of a shell script: one command to run, the other beside it as a comment.

    Raises:
        PlanError: there are no weights to serve, or the model's name cannot stand in a command.
    """
    name, many = _name(plan, setup), _sequences(plan, setup)
    lines = [
        "#!/bin/sh",
        "# Serves the model of a plan; written by perf-advisor, yours to change. Both listen on this machine alone.",
        f"# {many} request{'' if many == 1 else 's'} at a time, each of up to {plan.workload.total_tokens} tokens",
        f"# ({plan.workload.prompt_tokens} of the prompt and {plan.workload.new_tokens} new ones).",
        "",
        "# 1. transformers serve (pip install 'transformers[serving]')",
        *_transformers(plan, setup, name),
        "",
        "# 2. vLLM, by its documentation; it was not run here. Take the comment signs away to use it instead.",
        *_vllm(plan, setup, name),
    ]
    return "\n".join(lines) + "\n"


def _name(plan: Plan, setup: Setup) -> str:
    reference = plan.model
    if reference.kind not in ("hub", "folder"):
        raise PlanError(
            Mistake("--export-serve", "the plan is about a configuration alone: there are no weights to serve")
        )
    names = [reference.name, reference.revision or ""]
    if any(text.startswith("-") or not text.isprintable() for text in names):
        raise PlanError(Mistake("model.name", "cannot stand in a command"))
    for knob in knobs():
        value = getattr(setup, knob)
        if value is not None and (wrong := unusable(knob, value)):
            raise PlanError(Mistake(f"setup.{knob}", wrong))
    return reference.name


def _sequences(plan: Plan, setup: Setup) -> int:
    """Requests side by side: as many as the plan's memory counts."""
    return 1 if setup.batching == "loop" else setup.batch_size or plan.workload.batch * plan.workload.concurrency


def _command(words: list[str], comment: bool = False) -> Lines:
    """A command with one option a line, quoted for the shell."""
    rows: list[str] = []
    for word in words:
        quoted = shlex.quote(word)
        if rows and not word.startswith("--"):
            rows[-1] += f" {quoted}"
        else:
            rows.append(quoted)
    text = [row + (" \\" if row is not rows[-1] else "") for row in rows]
    return [("# " if comment else "") + ("" if number == 0 else "  ") + row for number, row in enumerate(text)]


def _transformers(plan: Plan, setup: Setup, name: str) -> Lines:
    many = _sequences(plan, setup) > 1
    # The server pads nothing: what the plan says of padding has no place there.
    batching = "continuous" if many else "loop"
    served = replace(setup, engine="serve", batching=batching, padding_side=None, pad_to_multiple_of=None)
    if reason := conflict(served):
        return [f"# It cannot carry this plan out: {reason}."]
    revision = f"@{plan.model.revision}" if plan.model.revision else ""
    words = ["transformers", "serve", name + revision, "--host", "127.0.0.1", "--port", "8000", *options(served)]
    if not many:
        return _command(words)
    page = setup.page_size or (CPU_PAGE_TOKENS if setup.device == "cpu" else PAGE_TOKENS)
    total, rows = plan.workload.total_tokens, _sequences(plan, setup)
    pages = math.ceil(total / page) + 1
    tokens = setup.max_batch_tokens or min(MOST_BATCH_TOKENS, max(total, rows * plan.workload.prompt_tokens))
    words += ["--continuous-batching", "--cb-block-size", str(page), "--cb-num-blocks", str(rows * pages)]
    words += ["--cb-max-batch-tokens", str(tokens)]
    said = f"# blocks: {rows} requests x ({total} tokens / {page} a block, rounded up, and 1 more) = {rows * pages}"
    return [said, *_command(words)]


def _vllm(plan: Plan, setup: Setup, name: str) -> Lines:
    if reason := _vllm_lacks(setup):
        return [f"# It cannot carry this plan out: {reason}."]
    words = ["vllm", "serve", name, "--host", "127.0.0.1", "--port", "8000"]
    words += ["--revision", plan.model.revision] if plan.model.revision else []
    words += ["--dtype", setup.dtype] if setup.dtype else []
    words += ["--max-model-len", str(plan.workload.total_tokens), "--max-num-seqs", str(_sequences(plan, setup))]
    words += ["--max-num-batched-tokens", str(setup.max_batch_tokens)] if setup.max_batch_tokens else []
    words += (
        ["--quantization", VLLM_QUANTIZATION[setup.quantization]] if setup.quantization in VLLM_QUANTIZATION else []
    )
    words += ["--kv-cache-dtype", "fp8"] if setup.cache_backend == "fp8" else []
    ranks = setup.tensor_parallel or 1
    words += ["--tensor-parallel-size", str(ranks)] if ranks > 1 else []
    if setup.device == "cpu":
        return _on_cpu(_memory(plan, setup), words)
    told = list(_utilization(_memory(plan, setup), plan.machine, ranks))
    share = told.pop() if told and not told[-1].startswith("#") else None
    words += ["--gpu-memory-utilization", share] if share else []
    return [*told, *_command(words, comment=True)]


def _vllm_lacks(setup: Setup) -> str | None:
    """What the plan says and vLLM has no flag for, or None."""
    if setup.quantization not in (None, "none", *VLLM_QUANTIZATION):
        return f"it does not load weights as {setup.quantization}; take a checkpoint that is quantized already"
    if setup.cache_implementation == "quantized" and setup.cache_backend != "fp8":
        return "its cache is quantized to fp8 alone"
    if setup.device in ("mps", "xpu"):
        return f"its ways for {setup.device} are not known here"
    return None


def _memory(plan: Plan, setup: Setup) -> Memory | None:
    """What is predicted for this very setup; None for one that the plan did not foresee."""
    known = {plan.baseline: plan.baseline_estimate, plan.setup: plan.estimate}
    return known[setup].memory if setup in known else None


def _on_cpu(memory: Memory | None, words: list[str]) -> Lines:
    """On a CPU vLLM is told the size of its cache by a variable, in GiB."""
    cache = None if memory is None else memory.kv_cache_bytes
    if cache is None:
        return _command(words, comment=True)
    size = math.ceil(cache / GIB)
    said = f"# cache: {cache / GIB:.2f} GiB by the plan, rounded up"
    return [said, *_command(["env", f"VLLM_CPU_KVCACHE_SPACE={size}", *words], comment=True)]


def _utilization(memory: Memory | None, machine: Facts, ranks: int) -> Iterator[str]:
    """Comment lines with the arithmetic, and the share of a GPU last where it is known."""
    total, free = machine.count("gpu.memory_total_bytes"), machine.count("gpu.memory_free_bytes")
    names = ("weights", "kv_cache", "activation_peak", "overhead")
    parts = [getattr(memory, f"{name}_bytes", None) for name in names]
    if total is None or free is None or any(part is None for part in parts):
        yield "# --gpu-memory-utilization is left out (0.9 of the GPU): the plan does not know the memory"
        return
    gib = [(part or 0) / GIB for part in parts]
    needed = sum(gib) * GIB / ranks / total
    share = min(needed + MARGIN, free / total)
    said = zip(gib, ("weights", "cache", "activations", "overhead"), strict=True)
    yield "# memory: " + " + ".join(f"{size:.2f} GiB {name}" for size, name in said)
    shared = f" on {ranks} GPUs" if ranks > 1 else ""
    yield f"# = {sum(gib):.2f} GiB{shared}; of {total / GIB:.2f} GiB a GPU that is {needed:.2f}, and {MARGIN} more;"
    yield f"# free are {free / GIB:.2f} GiB, {free / total:.2f} of it; vLLM does not start with more than is free"
    if needed > free / total:
        yield "# It is predicted not to fit."
    yield f"{math.floor(share * 100) / 100:.2f}"
