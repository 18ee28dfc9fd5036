"""Runs in a child process of bench/memory_cpu.py: what small models with random weights store and need on this CPU.

Request: {"configs": {name: {...}}, "cases": [a case of the dry run, ...], "seconds": stop before the next type after
this, "others": [{"config", "case"}, ...], "dry_run": path of the dry run's program}. Answer: {"measured": {name:
[{"cache_bytes", "peak_bytes"} or {"error"}, ...] or {"error"}}, "said": {name: [what the dry run answers, ...]},
"others": [{"said", "measured"}, ...]}. `peak_bytes` is the most that torch's allocator had given out beside the weights
during generate, by the profiler's memory events.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def made(config: dict[str, Any], case: dict[str, Any]) -> Any:
    import torch
    import transformers

    whole = transformers.AutoConfig.for_model(**config)
    kind = transformers.AutoModelForCausalLM
    dtype = getattr(torch, case["dtype"])
    more = {"experts_implementation": case["experts"]} if case.get("experts") else {}
    model = kind.from_config(whole, dtype=dtype, attn_implementation=case["attn_implementation"], **more).eval()
    if case.get("quantization"):
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            wanted = transformers.BitsAndBytesConfig(**quantizing(case))
            model = kind.from_pretrained(folder, dtype=dtype, quantization_config=wanted, device_map={"": "cpu"}).eval()
    model.generation_config.eos_token_id = None
    return model


def quantizing(case: dict[str, Any]) -> dict[str, Any]:
    """The arguments of BitsAndBytesConfig that stand for a scheme of the knob."""
    if case["quantization"] == "bnb_int8":
        return {"load_in_8bit": True}
    given = {"load_in_4bit": True, "bnb_4bit_compute_dtype": case["dtype"]}
    if case["quantization"].endswith("double"):
        given["bnb_4bit_use_double_quant"] = True
    return {**given, "bnb_4bit_quant_type": case["quantization"].split("_")[1]}


def generated(model: Any, case: dict[str, Any], tokens: int) -> Any:
    """The cache after a generation of `tokens` tokens."""
    import torch

    ids = torch.randint(3, 900, (case["rows"], case["prompt_tokens"]))
    more: dict[str, Any] = {"do_sample": False, "return_dict_in_generate": True, "max_new_tokens": tokens}
    if case["cache"] == "none":
        more["use_cache"] = False
    elif case["cache"] != "dynamic":
        more["cache_implementation"] = case["cache"]
        more["disable_compile"] = True
    if case["cache"] == "quantized":
        options = {"backend": case["cache_backend"], "nbits": case["cache_bits"]}
        more["cache_config"] = {name: value for name, value in options.items() if value is not None}
    if case.get("chunk_tokens"):
        more["prefill_chunk_size"] = case["chunk_tokens"]
    return model.generate(ids, attention_mask=torch.ones_like(ids), **more).past_key_values


def stored(value: Any, found: dict[int, int], seen: set[int]) -> dict[int, int]:
    """Bytes of each storage of floating-point tensors, or of packed values, that a cache holds."""
    import torch

    if id(value) in seen:
        return found
    seen.add(id(value))
    if hasattr(value, "__tensor_flatten__"):  # of a package that quantizes: several tensors that act as one
        for name in value.__tensor_flatten__()[0]:
            stored(getattr(value, name), found, seen)
        return found
    if isinstance(value, torch.Tensor):
        if (value.is_floating_point() or value.dtype == torch.uint8) and value.numel():
            found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return found
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = list(value.values())
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    elif "cache" in type(value).__module__:
        parts = list(vars(value).values())
    for part in parts:
        stored(part, found, seen)
    return found


def measured(model: Any, case: dict[str, Any]) -> dict[str, int]:
    from torch.profiler import ProfilerActivity, profile

    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        cache = generated(model, case, case["new_tokens"])
    now = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return {"cache_bytes": sum(stored(cache, {}, set()).values()), "peak_bytes": peak}


def of_type(config: dict[str, Any], cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All cases of one type; a model is made once for each dtype and attention."""
    found: list[dict[str, Any]] = []
    made_for, model = None, None
    for case in cases:
        key = (case["dtype"], case["attn_implementation"])
        try:
            if key != made_for:
                model, made_for = made(config, case), key
                generated(model, {**case, "prompt_tokens": 8}, 2)  # what is made once
            found.append(measured(model, case))
        # A model's code may fail in any way; it is listed with its reason.
        except Exception as error:
            found.append({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"})
    return found


def of_others(others: list[dict[str, Any]], dry_run: Any) -> list[dict[str, Any]]:
    """What the dry run says and what is measured, each with a model of its own; its weights by the same walk."""
    found = []
    for one in others:
        said = dry_run.answers({"config": one["config"], "cases": [one["case"]]})[0]
        try:
            model = made(one["config"], one["case"])
            generated(model, one["case"], 2)  # 4-bit weights are packed anew by a first pass on some CPUs
            weights = dry_run.following.weighed(dry_run.building.own_storages(model))
            real = {**measured(model, one["case"]), "weights_bytes": weights}
        # A package may be missing, a model's code may fail; it is listed with its reason.
        except Exception as error:
            real = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        found.append({"said": said, "measured": real})
    return found


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    spec = importlib.util.spec_from_file_location("dry_run", request["dry_run"])
    assert spec is not None and spec.loader is not None
    dry_run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dry_run)
    started, said = time.monotonic(), {}
    found: dict[str, Any] = {}
    for name, config in request["configs"].items():
        if time.monotonic() - started > request["seconds"]:
            found[name] = {"error": "not run: the time of the bench was over"}
            continue
        said[name] = dry_run.answers({"config": config, "cases": request["cases"]})
        found[name] = of_type(config, request["cases"])
        print(json.dumps({"done": name}), flush=True)
    others = of_others(request["others"], dry_run)
    Path(sys.argv[2]).write_text(json.dumps({"measured": found, "said": said, "others": others}), encoding="utf-8")


if __name__ == "__main__":
    main()
