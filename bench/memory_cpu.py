"""Predicted against measured memory of small models on this CPU: `python bench/memory_cpu.py > RESULT.json`.

Models with random weights, in float32 and bfloat16, with eager and SDPA attention, one prompt and four, of 64 and 512
tokens: the cache and the allocator's peak beside the weights, by the dry run and as measured. A few minutes. A type
that fails is listed with its reason. `--seconds N` stops before the next type after N seconds of measuring.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from advisor import child
from advisor.conflicts import BITSANDBYTES
from advisor.estimate.dryrun import ask

CHILDREN = 2
PROGRAM = Path(__file__).with_name("inside_memory_cpu.py")
SMALL: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 1024,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
WINDOW = {"head_dim": 32, "sliding_window": 96, "layer_types": ["sliding_attention", "full_attention"]}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "head_dim": 32}
ALL_HEADS = {"num_key_value_heads": 4}
GPT2 = {"n_embd": 128, "n_layer": 2, "n_head": 4, "vocab_size": 1000, "n_positions": 1024, "bos_token_id": 1}
BLOOM = {"hidden_size": 128, "n_layer": 2, "n_head": 4, "vocab_size": 1000, "pad_token_id": 0}
OPT = {**SMALL, "ffn_dim": 352, "word_embed_proj_dim": 128}
LATENT = {
    **ALL_HEADS,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "moe_intermediate_size": 64,
    "n_routed_experts": 4,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
}
CONFIGS: dict[str, dict[str, Any]] = {
    **{
        name: {**SMALL, "model_type": name}
        for name in (
            "llama",
            "mistral",
            "qwen2",
            "phi3",
            "olmo",
            "olmo2",
            "stablelm",
            "starcoder2",
            "granite",
            "cohere",
        )
    },
    **{
        name: {**SMALL, "model_type": name, "head_dim": 32}
        for name in ("qwen3", "gemma", "glm", "glm4", "smollm3", "ernie4_5", "helium", "nemotron", "seed_oss", "arcee")
    },
    **{name: {**SMALL, **WINDOW, "model_type": name} for name in ("gemma2", "gemma3_text", "cohere2")},
    **{name: {**SMALL, **ALL_HEADS, "model_type": name} for name in ("gpt_neox", "phi", "persimmon")},
    "mixtral": {**SMALL, "model_type": "mixtral", "num_local_experts": 4},
    "qwen3_moe": {**SMALL, **EXPERTS, "model_type": "qwen3_moe"},
    "olmoe": {**SMALL, "model_type": "olmoe", "num_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v3": {**SMALL, **LATENT, "model_type": "deepseek_v3"},
    "gpt2": {**GPT2, "model_type": "gpt2", "eos_token_id": 2},
    "bloom": {**BLOOM, "model_type": "bloom"},
    "opt": {**OPT, "model_type": "opt"},
}
CASES = tuple(
    ask.Case(dtype, attention, "dynamic", rows, prompt, 4, False)
    for dtype, attention, rows, prompt in itertools.product(
        ("float32", "bfloat16"), ("eager", "sdpa"), (1, 4), (64, 512)
    )
)
PLAIN = ask.Case("bfloat16", "sdpa", "dynamic", 2, 256, 6, False)
IN_BLOCKS = {**SMALL, "intermediate_size": 384}
"""Rows that are whole blocks of 64: bitsandbytes packs others for no CPU."""
OTHER_CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**IN_BLOCKS, "model_type": "llama"},
    "gpt2": CONFIGS["gpt2"],
    "qwen3_moe": {**IN_BLOCKS, **EXPERTS, "model_type": "qwen3_moe"},
    "mixtral": {**CONFIGS["mixtral"]},
}
OTHERS: tuple[tuple[str, str, ask.Case], ...] = (
    *(("llama", scheme, replace(PLAIN, quantization=scheme)) for scheme in BITSANDBYTES),
    ("gpt2", "bnb_nf4", replace(PLAIN, quantization="bnb_nf4", dtype="float32")),
    ("gpt2", "bnb_int8", replace(PLAIN, quantization="bnb_int8")),
    ("qwen3_moe", "bnb_int8", replace(PLAIN, quantization="bnb_int8", dtype="float16")),
    ("qwen3_moe", "batched_mm", replace(PLAIN, experts="batched_mm", dtype="float32")),
    ("mixtral", "batched_mm", replace(PLAIN, experts="batched_mm")),
    ("llama", "cache: fp8", replace(PLAIN, cache="quantized", cache_backend="fp8")),
    ("llama", "cache: quanto, 4 bits", replace(PLAIN, cache="quantized", cache_backend="quanto", cache_bits=4)),
    (
        *("llama", "cache: quanto, 2 bits"),
        replace(PLAIN, cache="quantized", cache_backend="quanto", cache_bits=2, new_tokens=140),
    ),
    ("llama", "cache: none", replace(PLAIN, cache="none")),
    ("llama", "cache: static", replace(PLAIN, cache="static")),
    ("llama", "prompt in chunks", replace(PLAIN, rows=4, prompt_tokens=896, chunk_tokens=256)),
    ("llama", "prompt in chunks, static", replace(PLAIN, cache="static", rows=4, prompt_tokens=896, chunk_tokens=256)),
)
OTHER_TABLE = "Quantized and other caches"
OTHER_ABOUT = (
    " The last table has the errors of single runs; their weights include the scales, after a first pass, which packs "
    "4-bit weights anew on some CPUs."
)
EXACT_KV, PEAK = "KV cache bytes", "peak memory"


def summary(errors: Sequence[float]) -> dict[str, float] | None:
    """Count, median and tails of the errors without their signs; None of none."""
    if not errors:
        return None
    found = sorted(map(abs, errors))
    tails = {f"p{share}": found[min(len(found) - 1, len(found) * share // 100)] for share in (90, 95)}
    return {"count": len(found), "median": statistics.median(found), **tails}


def compared(answer: dict[str, Any], real: dict[str, Any]) -> dict[str, Any]:
    """Predicted and measured bytes of one case, or why there are none."""
    said = ask.read(answer)
    if said is None:
        return {"error": f"dry run: {answer.get('error')}"}
    if "error" in real:
        return {"error": f"run: {real['error']}"}
    last = said.last_step or said.prompt
    predicted = {"cache_bytes": last.cache_bytes, "peak_bytes": max(one.peak_bytes for one in said.passes)}
    if "weights_bytes" in real:
        predicted["weights_bytes"] = said.weights_held_bytes
    errors = {name: share(predicted[name], real[name]) for name in predicted}
    return {"predicted": predicted, "measured": real, "errors": errors}


def share(predicted: int, real: int) -> float:
    """The error against what was measured; two nothings are equal."""
    return 0.0 if predicted == real else predicted / real - 1


def others_rows(parts: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What the children said of `OTHERS`, which they shared, in its order."""
    rows = []
    for at, (name, setup, case) in enumerate(OTHERS):
        one = parts[at % CHILDREN][at // CHILDREN]
        about = {"model": name, "setup": setup, **asdict(case)}
        rows.append({**about, **compared(one["said"], one["measured"])})
    return rows


def others_table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each setup."""
    return [
        {
            "runs": f"{row['model']}, {row['dtype']}, {row['setup']}",
            **{kind: summary([row["errors"][key]]) for kind, key in OTHER_KINDS.items()},
        }
        for row in rows
    ]


def tables(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """A line for each type, each setup, and all, as docs/make_accuracy.py takes it."""
    groups: dict[str, list[dict[str, Any]]] = {"all": list(rows)}
    for row in rows:
        for name in (f"{row.get('dtype')}, {row.get('attn_implementation')}", row["model"]):
            groups.setdefault(name, []).append(row)
    lines = [
        {"runs": name, **{kind: summary(errors(own, key)) for kind, key in KINDS.items()}}
        for name, own in groups.items()
    ]
    return {"Dry run": [line for line in lines if line[EXACT_KV] is not None]}


def worst(rows: Sequence[dict[str, Any]]) -> str:
    """A sentence on the peak that is furthest off; empty where none was compared."""
    run = max((row for row in rows if "errors" in row), key=lambda row: abs(row["errors"]["peak_bytes"]), default=None)
    if run is None:
        return ""
    setup = ", ".join(f"{run[name]}" for name in NAMED if name in run)
    megabytes = run["measured"]["peak_bytes"] / 1e6
    return f" Furthest off is {setup}: {run['errors']['peak_bytes']:+.1%} of {megabytes:.1f} MB."


NAMED = ("model", "dtype", "attn_implementation")
KINDS = {EXACT_KV: "cache_bytes", PEAK: "peak_bytes"}
OTHER_KINDS = {"weights": "weights_bytes", **KINDS}


def errors(rows: Sequence[dict[str, Any]], key: str) -> list[float]:
    return [row["errors"][key] for row in rows if "errors" in row]


def result(rows: Sequence[dict[str, Any]], versions: dict[str, str]) -> dict[str, Any]:
    """What is kept."""
    failed: dict[str, dict[str, None]] = {}
    for row in rows:
        if "error" in row:
            failed.setdefault(row["error"][:160], {})[
                " ".join(map(str, [row[name] for name in NAMED if name in row]))
            ] = None
    lacking = "; ".join(f"{', '.join(names)} ({why})" for why, names in failed.items())
    types = len({row["model"] for row in rows if "errors" in row})
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    about = (
        f"`bench/memory_cpu.py`, {platform.machine()}, {os.cpu_count()} cores, one thread, {named}. {types} types of "
        "models with random weights and a width of 128, one prompt and four, of 64 and 512 tokens. The peak is what "
        "torch's allocator gave out beside the weights during generate; kernels' scratch, which the dry run does not "
        f"see, counts for more than in models of a usual size.{worst(rows)} The formula is not part of this bench. "
        f"Not compared: {lacking or 'none'}."
    )
    goals = {name: found for name, key in KINDS.items() if (found := summary(errors(rows, key))) is not None}
    found = {"title": "Memory of small models on a CPU", "about": about, "tables": tables(rows), "goals": goals}
    return {**found, "versions": versions, "rows": list(rows)}


def asked(names: Sequence[str], others: Sequence[tuple[str, str, ask.Case]], seconds: float) -> dict[str, Any]:
    """What the child says of these types.

    Raises:
        SystemExit: it died.
    """
    request = {
        "configs": {name: CONFIGS[name] for name in names},
        "cases": [asdict(case) for case in CASES],
        "seconds": seconds,
        "others": [{"config": OTHER_CONFIGS[name], "case": asdict(case)} for name, _, case in others],
        "dry_run": str(ask.PROGRAMS[0]),
    }
    quiet = {**ask.QUIET_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    match child.run(sys.executable, PROGRAM, request, seconds + 120, quiet, lambda line: print(line, file=sys.stderr)):
        case child.Died(reason):
            raise SystemExit(reason)
        case child.Answered(answer=answer):
            return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    installed = {one.metadata["Name"] for one in metadata.distributions()}
    named = [name for name in ("torch", "transformers", "bitsandbytes", "optimum-quanto") if name in installed]
    versions = {name: metadata.version(name) for name in named}
    names = list(CONFIGS)
    with ThreadPoolExecutor(CHILDREN) as pool:
        parts = pool.map(lambda first: asked(names[first::CHILDREN], OTHERS[first::CHILDREN], seconds), range(CHILDREN))
        answers = list(parts)
    measured = {name: found for answer in answers for name, found in answer["measured"].items()}
    said = {name: found for answer in answers for name, found in answer["said"].items()}
    rows = []
    for name in CONFIGS:
        about = {"model": name}
        if isinstance(measured[name], dict):
            rows.append({**about, **measured[name]})
            continue
        for case, one, real in zip(CASES, said[name], measured[name], strict=True):
            rows.append({**about, **asdict(case), **compared(one, real)})
    found = result(rows, versions)
    other_rows = others_rows([answer["others"] for answer in answers])
    found["about"] += OTHER_ABOUT
    found["tables"][OTHER_TABLE] = others_table([row for row in other_rows if "errors" in row])
    print(json.dumps({**found, "others": other_rows}, indent=1))


if __name__ == "__main__":
    main()
