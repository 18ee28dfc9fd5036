"""Encoders are described by the class that embeds: with the library, without it, and from files with a head."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.probe import anatomy, config_alone, encoder_config, inside_model, model, shapes

BERT: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}
SPECIAL = {f"{name}_token_id": 1 for name in ("bos", "eos", "cls", "sep")}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {**BERT, "architectures": ["BertModel"]},
    "masked": {**BERT, "architectures": ["BertForMaskedLM"]},
    "roberta": {**BERT, **SPECIAL, "model_type": "roberta", "type_vocab_size": 1},
    "xlm-roberta": {**BERT, **SPECIAL, "model_type": "xlm-roberta", "type_vocab_size": 1},
    "camembert": {**BERT, **SPECIAL, "model_type": "camembert"},
    "mpnet": {**BERT, **SPECIAL, "model_type": "mpnet"},
    "modernbert": {**BERT, **SPECIAL, "model_type": "modernbert", "local_attention": 16, "num_hidden_layers": 5},
}
ENCODER_SHAPES = {
    "bert-base-uncased": 109_482_240,
    "bert-large-uncased": 335_141_888,
    "all-minilm-l6-v2": 22_713_216,
    "bge-base-en-v1.5": 109_482_240,
    "modernbert-base": 149_014_272,
}


def asked(config: dict[str, Any]) -> dict[str, Any]:
    return inside_model.describe({"config": config, "source": None, "revision": None, "trust_remote_code": False})


@pytest.mark.parametrize(("name", "parameters"), ENCODER_SHAPES.items())
def test_shapes_of_encoders(name: str, parameters: int) -> None:
    reference, facts = model.find(name, sys.executable)
    assert reference.kind == "shape"
    assert facts.value("model.parameters") == parameters
    assert facts.value("model.decoder_only") is False
    assert facts.value("model.parameters_head") == 0
    assert facts.value("model.auto_compile") == ()
    assert facts.value("model.kv_latent_values") is None
    assert facts.value("model.checkpoint_dtype") == "float32"


@pytest.mark.parametrize("name", ENCODER_SHAPES)
def test_the_configuration_alone_counts_the_same(name: str) -> None:
    shape = shapes.load(name)
    alone = anatomy.facts(config_alone.anatomy(shape.config, "no torch"))
    whole = anatomy.facts(shape.anatomy)
    for fact in ("parameters", "parameters_linear", "parameters_embedding", "decoder_only", "layers", "heads"):
        assert alone.value(f"model.{fact}") == whole.value(f"model.{fact}"), fact
    for fact in ("full_layers", "sliding_layers", "sliding_window_tokens", "attention_kind", "context_tokens"):
        assert alone.value(f"model.{fact}") == whole.value(f"model.{fact}"), fact


@pytest.mark.parametrize(
    ("change", "encoder"),
    [
        ({}, True),
        ({"architectures": ["BertForMaskedLM"]}, True),
        ({"architectures": ["BertForSequenceClassification"]}, True),
        ({"architectures": ["BertLMHeadModel"]}, False),
        ({"is_decoder": True}, False),
        ({"architectures": "BertModel"}, True),
        ({"architectures": [None, 3]}, True),
        ({"model_type": "llama"}, False),
        ({"model_type": "electra"}, True),
        ({"model_type": None}, False),
    ],
)
def test_what_makes_an_encoder(change: dict[str, Any], encoder: bool) -> None:
    assert encoder_config.is_encoder({**BERT, **change}) is encoder


@pytest.mark.parametrize("missing", ["hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings"])
def test_a_size_that_is_missing_leaves_no_count(missing: str) -> None:
    config = {name: value for name, value in BERT.items() if name != missing}
    assert anatomy.facts(config_alone.anatomy(config, "no torch")).value("model.parameters") is None


def test_a_type_that_is_not_counted_is_an_encoder_all_the_same() -> None:
    facts = anatomy.facts(config_alone.anatomy({**BERT, "model_type": "deberta-v2"}, "no torch"))
    assert facts.value("model.decoder_only") is False
    assert facts.value("model.parameters") is None
    assert facts.value("model.full_layers") is None


ANYTHING = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.none() | st.text(max_size=4))


@given(
    st.sampled_from(encoder_config.ENCODERS),
    st.dictionaries(
        st.sampled_from([*BERT, "architectures", "layer_types", "local_attention", "is_decoder"]), ANYTHING
    ),
)
def test_any_configuration_gives_facts(kind: str, given_config: dict[str, Any]) -> None:
    config = {**BERT, **given_config, "model_type": kind}
    parameters = anatomy.facts(config_alone.anatomy(config, "no torch")).value("model.parameters")
    assert parameters is None or (isinstance(parameters, int) and parameters > 0)


@pytest.mark.models
@pytest.mark.parametrize("name", CONFIGS)
def test_the_library_counts_the_same(name: str) -> None:
    config = CONFIGS[name]
    made, alone = asked(config), config_alone.anatomy(config, "no torch")
    assert made["text"]["is_encoder"] is True
    assert made["groups"] == alone.groups
    assert tuple(made["cache_layers"]) == alone.cache_layers
    if "architectures" in config:
        assert made["architecture"] == config["architectures"][0]


@pytest.mark.models
def test_a_class_that_generates_is_no_encoder() -> None:
    for change in ({"architectures": ["BertLMHeadModel"]}, {"is_decoder": True}):
        made = asked({**BERT, **change})
        assert made["architecture"] == "BertLMHeadModel"
        assert "is_encoder" not in made["text"]
        assert made["groups"]["head"] == 0  # tied
    llama = {**BERT, "model_type": "llama", "architectures": ["LlamaModel"]}
    assert "is_encoder" not in asked(llama)["text"]


@pytest.mark.models
def test_a_head_in_the_files_is_not_counted(tmp_path: Path) -> None:
    import transformers

    config = transformers.AutoConfig.for_model(**BERT)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    reference, facts = model.find(str(tmp_path), sys.executable)
    assert reference.kind == "folder"
    embeds = transformers.AutoModel.from_config(config)
    assert facts.value("model.parameters") == sum(parameter.numel() for parameter in embeds.parameters())
    assert facts.value("model.architecture") == "BertForMaskedLM"
    assert facts.value("model.decoder_only") is False
    assert facts.value("model.checkpoint_dtype") == "float32"
    assert facts.value("model.supports_sdpa") is True
