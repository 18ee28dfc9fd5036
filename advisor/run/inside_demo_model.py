"""Makes a small model folder in seconds, without network: random weights and a real tokenizer trained on the spot.

Runs as a child process in the target interpreter: `python inside_demo_model.py request.json answer.json`.
The request: `folder` (created; must be new or empty), `size` (a name of SIZES), optionally `shape` (fields of
LlamaConfig that replace those of the size), `dtype` (of the stored weights, default bfloat16) and `seed`.
The answer: `folder`, `parameters`, `vocabulary_tokens`, `bytes` of the weight file.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

SIZES = {
    "20m": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 9, "num_attention_heads": 6},
    "150m": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12, "num_attention_heads": 16},
}
HEADS_PER_KEY_VALUE_HEAD = {"20m": 3, "150m": 4}
VOCABULARY_TOKENS = 8192
CONTEXT_TOKENS = 4096
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
SPECIAL_IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}


def texts() -> list[str]:
    """English prose that ships with Python: the language reference, else the sources of the standard library."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        library = Path(os.__file__).parent
        return [file.read_text(encoding="utf-8", errors="replace") for file in sorted(library.glob("*.py"))]
    return [topics[name] for name in sorted(topics)]


def make_tokenizer() -> Any:
    """A byte-level BPE tokenizer; its size is VOCABULARY_TOKENS, or less where the text holds fewer pairs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_TOKENS,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=CONTEXT_TOKENS, **SPECIAL)


def make_model(request: dict[str, Any], vocabulary_tokens: int) -> Any:
    """A Llama with random weights, the same for the same seed."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    size = request.get("size", "20m")
    shape = dict(SIZES[size])
    shape["num_key_value_heads"] = shape["num_attention_heads"] // HEADS_PER_KEY_VALUE_HEAD[size]
    shape.update(request.get("shape", {}))
    config = LlamaConfig(
        vocab_size=vocabulary_tokens,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=False,
        **SPECIAL_IDS,
        **shape,
    )
    torch.manual_seed(request.get("seed", 0))
    model = LlamaForCausalLM(config).to(getattr(torch, request.get("dtype", "bfloat16"))).eval()
    model.generation_config = GenerationConfig(**SPECIAL_IDS)
    return model


def make(request: dict[str, Any]) -> dict[str, Any]:
    """Build the folder beside its final place and move it there whole."""
    folder = Path(request["folder"])
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit("the folder for the demo model is not empty")
    unfinished = folder.with_name(f"{folder.name}.part{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        answer = fill(unfinished, request)
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return {"folder": str(folder), **answer}


def fill(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Write model and tokenizer; what was written, in figures."""
    tokenizer = make_tokenizer()
    model = make_model(request, len(tokenizer))
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocabulary_tokens": len(tokenizer),
        "bytes": sum(file.stat().st_size for file in folder.glob("*.safetensors")),
    }


def main(request_path: str, answer_path: str) -> None:
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    answer = make(request)
    unfinished = Path(answer_path + ".part")
    unfinished.write_text(json.dumps(answer), encoding="utf-8")
    unfinished.replace(answer_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
