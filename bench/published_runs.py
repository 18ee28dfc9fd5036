"""Published runs of transformers on one GPU, made ready for the estimate: read by bench/published.py.

A file of runs holds one a line: model, gpu, n_gpus, quant, dtype, batch, prompt_len, new_tokens, attn, framework,
env.transformers, env.bitsandbytes, source, and figures (gen_tps, decode_tps in tokens a second; latency_ms_per_token;
peak_mem_gib, generate_alloc_mb as torch's allocator counts). The data does not ship. Left out are runs on several GPUs,
of models whose shape is not at hand, and peaks that NVML counted: those hold what the allocator kept for later.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.facts import Fact, Facts, Known
from advisor.probe import anatomy, shapes
from advisor.setup import Setup
from advisor.workload import Workload

SHAPES = {
    "qwen2-0.5b": "qwen2.5-0.5b",
    "qwen2-1.5b": "qwen2.5-1.5b",
    "qwen2-7b": "qwen2.5-7b",
    "qwen2.5-0.5b": "qwen2.5-0.5b",
    "qwen2.5-1.5b": "qwen2.5-1.5b",
    "qwen2.5-3b": "qwen2.5-3b",
    "qwen2.5-7b": "qwen2.5-7b",
    "qwen2.5-32b": "qwen2.5-32b",
    "llama-3.1-8b": "llama-3.1-8b",
    "llama-2-7b": "llama-2-7b",
    "llama-7b": "llama-2-7b",
    "vicuna-7b": "llama-2-7b",
}
"""Beginnings of published names, and the shipped shape of the same size."""
QWEN15 = {
    "qwen1.5-0.5b": (1024, 24, 16, 2816, 151936, True),
    "qwen1.5-4b": (2560, 40, 20, 6912, 151936, False),
    "qwen1.5-7b": (4096, 32, 32, 11008, 151936, False),
    "qwen1.5-14b": (5120, 40, 40, 13696, 152064, False),
}
"""Hidden size, layers, heads, width of the MLP, vocabulary, tied: the published configurations of a family that is not
among the shipped shapes. Its class is Qwen2's."""
GPUS = {
    "A100-SXM4-80GB": ("NVIDIA A100-SXM4-80GB", 80, 8.0),
    "H100-SXM5-80GB": ("NVIDIA H100 80GB HBM3", 80, 9.0),
    "RTX 4090": ("NVIDIA GeForce RTX 4090", 24, 8.9),
    "T4": ("Tesla T4", 16, 7.5),
}
QUANT = {
    "none": ("none", None, 16.0),
    "gptq-int4": ("none", "gptq", 4.16),
    "gptq-int8": ("none", "gptq", 8.19),
    "awq-int4": ("none", "awq", 4.16),
    "bnb-4bit": ("bnb_nf4", None, 4.5),
    "bnb-4bit(nf4)": ("bnb_nf4", None, 4.5),
    "bnb-4bit(nf4)+double_quant": ("bnb_nf4_double", None, 4.13),
    "bnb-int8(outlier decomposition)": ("bnb_int8", None, 8.0),
}
"""What the setup asks for, what the checkpoint is, and bits per weight of its layers."""
RELEASE_RANGES = {"4.37-4.39 (not stated)": "4.38.2"}
"""Of these the middle is taken: the sources of the three releases hold the same in memory for these models."""


@dataclass(frozen=True)
class Run:
    """One published run. New tokens a second, allocated bytes at the peak; None if not published."""

    group: str
    source: str
    attention: str
    model: Facts
    machine: Facts
    workload: Workload
    setup: Setup
    stored: str | None
    rate: float | None
    rate_is_of_decoding: bool
    peak_bytes: float | None

    @property
    def plain(self) -> bool:
        """Whether the weights are not quantized."""
        return self.stored is None and self.setup.quantization == "none"

    @property
    def host(self) -> tuple[str, str | None, str]:
        """Runs that share a host and its software, as far as the publication says.

        Attention is part of it: each kind launches another number of kernels for a layer.
        """
        return self.source, self.machine.text("gpu.name"), self.attention


def read(path: Path) -> list[Run]:
    """The runs of a file that can be held against the estimate."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [run for row in rows if (run := _run(row)) is not None]


def _run(row: dict[str, Any]) -> Run | None:
    model = _model(row)
    version = str(row.get("env", {}).get("transformers", ""))
    version = RELEASE_RANGES.get(version, version)
    if row.get("framework") != "transformers" or row.get("n_gpus", 1) != 1 or model is None:
        return None
    if row.get("gpu") not in GPUS or not version[:1].isdigit():
        return None
    rate = row.get("gen_tps") or row.get("decode_tps")
    if rate is None and (latency := row.get("latency_ms_per_token")):
        rate = 1000 * row["batch"] / latency
    return Run(
        group=_group(row, version),
        source=str(row.get("source")),
        attention=_attention(row),
        model=model,
        machine=_machine(row, version),
        workload=Workload(
            batch=row["batch"], prompt_tokens=row.get("prompt_len") or 128, new_tokens=row.get("new_tokens") or 128
        ),
        setup=Setup(
            device="cuda",
            dtype=row.get("dtype") or ("bfloat16" if GPUS[row["gpu"]][2] >= 8.0 else "float16"),
            attn_implementation="eager" if row.get("attn") == "eager" else "sdpa",
            batching="padded",
            quantization=QUANT[row["quant"]][0],
        ),
        stored=QUANT[row["quant"]][1],
        rate=rate,
        rate_is_of_decoding=row.get("gen_tps") is None,
        peak_bytes=_peak_bytes(row),
    )


def _group(row: dict[str, Any], version: str) -> str:
    """Models and release; of families that were published on more than one GPU or as few sizes, more."""
    family = str(row["model"]).rsplit("/", 1)[-1].split("-", 1)[0]
    if str(row.get("quant")).startswith("bnb") and "bitsandbytes" in row.get("env", {}):
        return f"bitsandbytes on {row['gpu']}, transformers {version}"
    if family == "Qwen1.5":
        with_flash = "with" if _attention(row) == "flash" else "without"
        return f"{family} {with_flash} flash attention, transformers 4.37 to 4.39"
    if family.startswith("Qwen"):
        return f"{family}, transformers {version}"
    if version.startswith("4.46"):
        return f"16-bit on {row['gpu']}, transformers {version}"
    kind = "16-bit" if row["quant"] == "none" else row["quant"].split("(")[0]
    return f"Llama 7B {kind}, transformers 4.35"


def _attention(row: dict[str, Any]) -> str:
    published = str(row.get("attn"))
    return "flash" if "flash" in published else "eager" if published == "eager" else "other"


def _machine(row: dict[str, Any], version: str) -> Facts:
    name, gigabytes, capability = GPUS[row["gpu"]]
    machine = {
        "gpu.name": name,
        "gpu.capability": capability,
        "gpu.memory_total_bytes": gigabytes * 2**30,
        "gpu.memory_free_bytes": gigabytes * 2**30,
        "gpu.count": 1,
        "transformers.version": version,
    }
    if bitsandbytes := row.get("env", {}).get("bitsandbytes"):
        machine["bitsandbytes.version"] = bitsandbytes
    return Facts({fact: Known(value, "published") for fact, value in machine.items()})


def _peak_bytes(row: dict[str, Any]) -> float | None:
    if peak := row.get("peak_mem_gib"):
        return float(peak) * 2**30
    return float(peak) * 1e6 if (peak := row.get("generate_alloc_mb")) else None


def _model(row: dict[str, Any]) -> Facts | None:
    """The model's facts with its checkpoint's size; None for a shape or a quantization that is not at hand."""
    found = _anatomy(str(row.get("model", "")).rsplit("/", 1)[-1].lower())
    if found is None or row.get("quant") not in QUANT:
        return None
    _, stored, bits = QUANT[row["quant"]]
    facts = anatomy.facts(found)
    more: dict[str, Fact] = {"model.checkpoint_quantization": Known(stored or "none", "published")}
    if stored:
        linear, total = facts.count("model.parameters_linear") or 0, facts.count("model.parameters") or 0
        more["model.checkpoint_bytes"] = Known(round(2 * (total - linear) + linear * bits / 8), "published")
    return facts | Facts(more)


def _anatomy(name: str) -> anatomy.Anatomy | None:
    if dimensions := next((found for start, found in QWEN15.items() if name.startswith(start)), None):
        return _qwen15(*dimensions)
    shape = next((shape for start, shape in SHAPES.items() if name.startswith(start)), None)
    return None if shape is None else shapes.load(shape).anatomy


def _qwen15(hidden: int, layers: int, heads: int, inner: int, vocabulary: int, tied: bool) -> anatomy.Anatomy:
    """A dense Qwen1.5: attention without shared heads, biases on queries, keys and values."""
    embedding = vocabulary * hidden
    linear = layers * (4 * hidden * hidden + 3 * hidden * inner)
    groups = {
        "embedding": embedding,
        "head": 0 if tied else embedding,
        "linear": linear,
        "experts": 0,
        "other": layers * 5 * hidden + hidden,
        "rest": 0,
        "quantizable": linear,
    }
    return anatomy.Anatomy(
        architecture="Qwen2ForCausalLM",
        text={
            "model_type": "qwen2",
            "hidden_size": hidden,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "vocab_size": vocabulary,
            "max_position_embeddings": 32768,
            "tie_word_embeddings": tied,
        },
        cache_layers=("full_attention",) * layers,
        groups=groups | {"total": sum(groups.values()) - linear},
        supports={"sdpa": True, "flash_attention": True},
        dtype="bfloat16",
        source="published configuration",
    )
