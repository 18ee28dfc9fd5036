"""Runs in a child process of bench/tuning.py: writes model folders, weights one random pattern over and over.

Request: {"folder": where, "models": {name: config}}. Answer: {"parameters": {name: count}}. Folders that are there
already are left as they are.
"""

import json
import sys
from pathlib import Path
from typing import Any

PATTERN = 2**20


def write(config: dict[str, Any], place: Path) -> int:
    """Save a bfloat16 checkpoint of this configuration; its number of parameters."""
    import torch
    import transformers
    from transformers.initialization import no_init_weights

    with no_init_weights():
        whole = transformers.AutoConfig.for_model(**config)
        model = transformers.AutoModelForCausalLM.from_config(whole, dtype=torch.bfloat16).eval()
    model.tie_weights()
    torch.manual_seed(0)
    pattern = torch.empty(PATTERN).normal_(0, 0.02).to(torch.bfloat16)
    for name, parameter in model.named_parameters():
        values = parameter.data.view(-1)
        if parameter.dim() == 1:
            values.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        for start in range(0, values.numel(), PATTERN):
            part = values[start : start + PATTERN]
            part.copy_(pattern[: part.numel()])
    model.save_pretrained(place)
    return sum(parameter.numel() for parameter in model.parameters())


def main(request_path: str, answer_path: str) -> None:
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    found = {}
    for name, config in request["models"].items():
        place = Path(request["folder"]) / name
        if not (place / "config.json").exists():
            found[name] = write(config, place)
    Path(answer_path).write_text(json.dumps({"parameters": found}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
