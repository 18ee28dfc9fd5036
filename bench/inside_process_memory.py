"""Runs in a child process: the most memory that a process takes which makes a model and lets it answer.

Two paths on the command line: the request and the answer, both JSON. Request: {"config": {...}, "dtype", "attn",
"rows", "prompt_tokens", "new_tokens"}. Answer: {"start_bytes": resident after the imports and a tiny model,
"loaded_bytes": with the weights, "first_peak_bytes": VmHWM after the first call of generate, "peak_bytes": after the
second, "heap_free_bytes": what malloc then holds of the heap and nobody uses, null where the C library does not say}.
"""

import ctypes
import json
import sys
from pathlib import Path
from typing import Any


def resident(name: str) -> int:
    """A figure of /proc/self/status in bytes: VmRSS now, VmHWM at its highest."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {name}")


HEAP_FIELDS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class HeapFigures(ctypes.Structure):
    """What glibc's mallinfo2 (2.33 and later) tells."""

    _fields_ = [(name, ctypes.c_size_t) for name in HEAP_FIELDS]


def heap_free() -> int | None:
    """Bytes of the heap that are free and not given back to the system."""
    tell = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if tell is None:
        return None
    tell.restype = HeapFigures
    return int(tell().fordblks)


def answered(config: dict[str, Any], dtype: str, attention: str, rows: int, prompt: int, new: int) -> dict[str, Any]:
    """Two calls of generate, and what the process took on the way."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    given = dict(config)
    made = AutoConfig.for_model(given.pop("model_type"), **given)
    torch.set_default_dtype(getattr(torch, dtype))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(made, dtype=getattr(torch, dtype), attn_implementation=attention)
    model.to_empty(device="cpu").eval()
    model.tie_weights()
    with torch.inference_mode():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.fill_(0.01)
        loaded = resident("VmRSS")
        ids = torch.ones((rows, prompt), dtype=torch.long)
        peaks = []
        for _ in range(2):
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new,
                           do_sample=False, pad_token_id=0)  # fmt: skip
            peaks.append(resident("VmHWM"))
    first, last = peaks
    return {"loaded_bytes": loaded, "first_peak_bytes": first, "peak_bytes": last, "heap_free_bytes": heap_free()}


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tiny = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 64}  # fmt: skip
    answered(tiny, "float32", "sdpa", 1, 4, 2)
    start = resident("VmRSS")
    wanted = (request[name] for name in ("config", "dtype", "attn", "rows", "prompt_tokens", "new_tokens"))
    answer = {"start_bytes": start, **answered(*wanted)}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
