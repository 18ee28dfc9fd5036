"""Bytes of quantized weights against the packages themselves, on a CPU."""

from pathlib import Path
from typing import Any

import pytest

from advisor.estimate.weights import weights_bytes
from advisor.facts import Facts, Known
from advisor.probe import anatomy, inside_model
from advisor.probe.anatomy import Anatomy
from advisor.setup import Setup

pytestmark = pytest.mark.models

SMALL = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL},
    "mixtral": {"model_type": "mixtral", **SMALL, "num_local_experts": 4, "num_experts_per_tok": 2},
    "falcon": {"model_type": "falcon", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "gpt2": {"model_type": "gpt2", "n_embd": 128, "n_layer": 2, "n_head": 4, "vocab_size": 512},
}
SCHEMES: dict[str, dict[str, Any]] = {
    "bnb_int8": {"load_in_8bit": True},
    "bnb_nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "bnb_nf4_double": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
}


def held_bytes(model: Any) -> int:
    """Bytes of all weights with their scales, each storage counted once; lookup tables of the formats left out."""
    import torch
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    storages: dict[int, int] = {}

    def count(tensor: Any) -> None:
        if is_traceable_wrapper_subclass(tensor):  # of torchao and quanto: several tensors that act as one
            for name in tensor.__tensor_flatten__()[0]:
                count(getattr(tensor, name))
        elif isinstance(tensor, torch.Tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()

    for parameter in model.parameters():
        count(parameter if is_traceable_wrapper_subclass(parameter) else parameter.data)
        count(getattr(parameter, "SCB", None))
        state = getattr(parameter, "quant_state", None)
        while state is not None:
            count(state.absmax)
            count(state.offset)
            state = state.state2
    return sum(storages.values())


def quantizing(scheme: str) -> Any:
    """The configuration as a user writes it; skips where its package is not installed."""
    import transformers

    if scheme in SCHEMES:
        pytest.importorskip("bitsandbytes")
        return transformers.BitsAndBytesConfig(**SCHEMES[scheme])
    if scheme == "torchao_int8":
        torchao = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
        return transformers.TorchAoConfig(torchao.Int8WeightOnlyConfig())
    pytest.importorskip("optimum.quanto", reason="optimum-quanto is not installed")
    return transformers.QuantoConfig(weights=scheme.removeprefix("quanto_"))


@pytest.mark.filterwarnings("ignore")  # the packages and torch warn of their own ways here
@pytest.mark.parametrize("scheme", [*SCHEMES, "torchao_int8", "quanto_int8", "quanto_int4"])
@pytest.mark.parametrize("name", CONFIGS)
def test_bytes_after_loading(tmp_path: Path, name: str, scheme: str) -> None:
    import torch
    import transformers

    asked = quantizing(scheme)
    config = CONFIGS[name]
    request = {"config": config, "source": None, "revision": None, "trust_remote_code": False}
    seen = inside_model.describe(request)
    known = Anatomy(seen["architecture"], seen["text"], None, seen["groups"], seen["supports"], None, "test")
    facts = anatomy.facts(known) | Facts({"model.checkpoint_quantization": Known("none", "test")})
    fresh = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config))
    fresh.to(torch.bfloat16).save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.bfloat16, quantization_config=asked
    )
    predicted = weights_bytes(facts, Facts(), Setup(dtype="bfloat16", quantization=scheme), "cpu")
    # Scales by row are counted by the width of the model, and nested scales end in a part of a block.
    assert predicted == pytest.approx(held_bytes(loaded), rel=0.01)
