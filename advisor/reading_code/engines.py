"""What a script runs that is not transformers: another engine's program says nothing of a setup of transformers."""

from advisor.reading_code.findings import Reading

PACKAGES = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "lmdeploy": "LMDeploy",
    "tensorrt_llm": "TensorRT-LLM",
    "llama_cpp": "llama.cpp",
    "ctransformers": "ctransformers",
    "ctranslate2": "CTranslate2",
    "exllamav2": "ExLlamaV2",
    "mlx_lm": "MLX",
    "ollama": "Ollama",
    "openai": "the openai client",
}
"""Packages that answer requests by themselves, by the name under which they are imported."""
CLASSES = {"ORTModel": "ONNX Runtime", "OVModel": "OpenVINO", "TFAutoModel": "TensorFlow", "FlaxAutoModel": "JAX"}
"""Beginnings of classes that load a model for another runtime."""


def other_engine(reading: Reading) -> tuple[str, str] | None:
    """The other engine that the script runs, and where; None where there is none."""
    for name, line in sorted(reading.script.import_lines.items(), key=lambda pair: pair[1]):
        engine = PACKAGES.get(name) or next((e for start, e in CLASSES.items() if name.startswith(start)), None)
        if engine:
            return engine, reading.source.place(line)
    return None


def runs_transformers(reading: Reading, trains: bool) -> bool:
    """Whether the script loads or trains a model by transformers, or calls one that something tells to be its own."""
    loads = [call for call in reading.loads if not any(start in call.name for start in CLASSES)]
    return bool(loads or reading.pipelines or reading.embeds or trains)


def calls_a_model(reading: Reading) -> bool:
    """Whether anything of a model is seen at all: its loading, a call of it, or of its tokenizer."""
    return bool(reading.generates or reading.forwards or reading.piped or reading.batches or reading.tokenizes)
