"""Checkpoints that knob cases need, written in the child process: each function takes the folder to write."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def small_model(folder: str) -> None:
    """A model of one layer with the vocabulary of the cases, which drafts tokens for a larger one."""
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        model_type="llama", hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, vocab_size=512,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def bitsandbytes_nf4(folder: str) -> None:
    """Weights that bitsandbytes packed, saved as they lie in memory."""
    from transformers import BitsAndBytesConfig

    plain = f"{folder}-plain"
    _dense().save_pretrained(plain)
    packed = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    AutoModelForCausalLM.from_pretrained(plain, quantization_config=packed).save_pretrained(folder)


def _dense() -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type="llama", hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=512, dtype="bfloat16",
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


def compressed_int8(folder: str) -> None:
    """Weights of 8 bits in the format of compressed-tensors, with one scale a row."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationConfig,
        QuantizationScheme,
        apply_quantization_config,
    )

    weights = QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="channel")
    groups = {"group_0": QuantizationScheme(targets=["Linear"], weights=weights)}
    config = QuantizationConfig(config_groups=groups, ignore=["lm_head"], format="int-quantized")
    model = _dense()
    apply_quantization_config(model, config)
    for module in model.modules():
        if hasattr(module, "weight_scale"):
            scale = module.weight.abs().amax(dim=1, keepdim=True) / 127
            module.weight_scale.data = scale.to(module.weight_scale.dtype)
    ModelCompressor(quantization_config=config).compress_model(model)
    model.save_pretrained(folder)
    told = {**config.model_dump(mode="json"), "quant_method": "compressed-tensors"}
    _described(folder, {**told, "quantization_status": "compressed"})


def gptq_by_name(folder: str) -> None:
    """Plain weights whose configuration says GPTQ: what asks for the package comes before what reads weights."""
    _dense().save_pretrained(folder)
    _described(folder, {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True})


def awq_by_name(folder: str) -> None:
    """The same for AWQ."""
    _dense().save_pretrained(folder)
    _described(folder, {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True})


def _described(folder: str, quantization: dict[str, Any]) -> None:
    place = Path(folder) / "config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "quantization_config": quantization}))
