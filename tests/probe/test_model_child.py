"""The child that asks the installed transformers, run for real on small models."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from advisor import child
from advisor.facts import Facts, Known
from advisor.probe import inside_model, model

pytestmark = pytest.mark.models

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 64,
}
DEEPSEEK = {
    "q_lora_rank": 16,
    "kv_lora_rank": 12,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 6,
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}
QWEN_NEXT = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "full_attention_interval": 2,
    "head_dim": 8,
}
VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL},
    "tied": {"model_type": "qwen3", **SMALL, "head_dim": 8, "tie_word_embeddings": True},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 64},
    "mixtral": {"model_type": "mixtral", **SMALL, "num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt-oss": {"model_type": "gpt_oss", **SMALL, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    "deepseek": {"model_type": "deepseek_v3", **SMALL, **DEEPSEEK},
    "qwen3-next": {"model_type": "qwen3_next", **SMALL, **QWEN_NEXT},
    "falcon": {"model_type": "falcon", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "gemma3": {
        "model_type": "gemma3",
        "text_config": {"model_type": "gemma3_text", **SMALL, "head_dim": 8},
        "vision_config": {"model_type": "siglip_vision_model", **VISION, "image_size": 28, "patch_size": 14},
        "mm_tokens_per_image": 4,
    },
}
COUNTS = (
    "parameters",
    *(f"parameters_{group}" for group in ("embedding", "head", "linear", "experts", "other", "rest")),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each configuration's model with random weights, saved as the library saves it."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    root = tmp_path_factory.mktemp("models")
    for name, given in CONFIGS.items():
        config = transformers.AutoConfig.for_model(**given)
        assert type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(root / name)
    return root


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's program runs here, which saves its imports."""

    def run(python: str, program: Path, request: dict[str, Any], *_: Any) -> child.Outcome:
        answer: dict[str, Any] = {"versions": inside_model.versions()}
        return child.Answered(
            answer | ({"model": inside_model.describe(request)} if "config" in request else {}), "", 0
        )

    monkeypatch.setattr(child, "run", run)


def found(path: Path) -> Facts:
    return model.find(str(path), sys.executable)[1]


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", CONFIGS)
def test_headers_and_code_count_the_same(saved: Path, name: str) -> None:
    """The folder is counted by its headers, its config.json alone by the model's own code."""
    by_header, by_code = found(saved / name), found(saved / name / "config.json")
    assert isinstance(by_header.get("model.parameters"), Known)
    assert by_header.get("model.parameters") != by_code.get("model.parameters")  # another source
    for count in COUNTS:
        assert by_header.value(f"model.{count}") == by_code.value(f"model.{count}"), count
    assert by_header.value("model.tied_embeddings") == by_code.value("model.tied_embeddings")


def test_what_the_class_says(saved: Path) -> None:
    facts = found(saved / "llama")
    assert facts.is_true("model.supports_sdpa")
    assert facts.is_true("model.supports_static_cache")
    assert facts.is_true("model.library_knows")
    assert facts.text("model.architecture") == "LlamaForCausalLM"


def test_a_backend_that_the_class_lacks(saved: Path, in_process: None) -> None:
    assert found(saved / "gpt-oss").value("model.supports_sdpa") is False


def test_the_language_part_of_a_multimodal_model(saved: Path, in_process: None) -> None:
    facts = found(saved / "gemma3")
    assert facts.value("model.type") == "gemma3_text"
    assert facts.value("model.layers") == 2
    assert (facts.count("model.parameters_rest") or 0) > 0
    assert facts.value("model.attention_kind") in ("sliding", "hybrid")


def test_experts_in_one_tensor_are_not_reached_by_quantization(saved: Path, in_process: None) -> None:
    facts = found(saved / "mixtral")
    linear, experts = facts.count("model.parameters_linear"), facts.count("model.parameters_experts")
    assert linear is not None
    assert experts is not None
    assert facts.value("model.parameters_quantizable") == linear - experts


def test_where_generate_compiles_is_the_models_own_answer(
    saved: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(saved / "llama").value("model.auto_compile") == ("cuda",)
    from transformers import LlamaForCausalLM
    from transformers.quantizers import auto, quantizer_torchao

    class Compilable(quantizer_torchao.TorchAoHfQuantizer):
        pass

    monkeypatch.setitem(auto.AUTO_QUANTIZER_MAPPING, "bitsandbytes_4bit", Compilable)
    assert asked_llama()["auto_compile"] == ["cuda", "quantized"]
    monkeypatch.setattr(LlamaForCausalLM, "_valid_auto_compile_criteria", lambda self, *_: self.device.type == "cpu")
    assert asked_llama()["auto_compile"] == ["cpu"]
    monkeypatch.setattr(LlamaForCausalLM, "_valid_auto_compile_criteria", None)
    assert asked_llama()["auto_compile"] is None


def asked_llama() -> dict[str, Any]:
    return inside_model.describe(
        {"config": CONFIGS["llama"], "source": None, "revision": None, "trust_remote_code": False}
    )


def test_a_plan_for_tensor_parallelism(saved: Path, in_process: None) -> None:
    assert found(saved / "llama").value("model.supports_tp") is True
    assert found(saved / "gpt2").value("model.supports_tp") is False


def test_layers_that_predict_several_tokens(saved: Path, in_process: None) -> None:
    assert found(saved / "deepseek").value("model.mtp_layers") == 1
    assert found(saved / "llama").value("model.mtp_layers") == 0


def test_a_configuration_that_the_class_refuses(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**CONFIGS["llama"], "num_attention_heads": 5, "head_dim": "wide"}))
    facts = found(path)
    assert facts.value("model.supports_sdpa") is None


def test_a_type_that_nobody_knows(tmp_path: Path, in_process: None) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "from_the_future", "hidden_size": 8}))
    facts = found(path)
    assert facts.value("model.library_knows") is False
    assert facts.value("model.parameters") is None


def test_an_interpreter_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIGS["llama"]))
    facts = model.find(str(path), str(tmp_path / "python"))[1]
    assert facts.value("model.supports_sdpa") is None
    assert facts.value("model.attention_kind") == "GQA"


def test_code_of_the_repository_runs_only_when_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose own code leaves a mark when it runs."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    mark = tmp_path / "mark"
    (tmp_path / "ours.py").write_text(
        "from pathlib import Path\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        f"Path({str(mark)!r}).touch()\n"
        "class OurConfig(LlamaConfig):\n    model_type = 'ours'\n"
        "class OurModel(LlamaForCausalLM):\n    config_class = OurConfig\n    _supports_flex_attn = False\n"
    )
    auto_map = {"AutoConfig": "ours.OurConfig", "AutoModelForCausalLM": "ours.OurModel"}
    config = {**CONFIGS["llama"], "model_type": "ours", "auto_map": auto_map}
    (tmp_path / "config.json").write_text(json.dumps(config))
    facts = found(tmp_path)
    assert facts.value("model.needs_remote_code") is True
    assert facts.value("model.library_knows") is False
    assert not mark.exists()
    trusted = model.find(str(tmp_path), sys.executable, trust_remote_code=True)[1]
    assert mark.exists()
    assert trusted.value("model.supports_flex_attention") is False
    assert trusted.value("model.parameters_embedding") == 64 * 32
