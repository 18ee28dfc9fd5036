"""Finding a model: by folder, configuration, shipped shape or Hub id, and what is said when it cannot be found."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor import child, kept, vocabulary
from advisor.errors import ModelError
from advisor.facts import Facts, Known, Unknown, Vocabulary, fits
from advisor.probe import anatomy, config_alone, hub, model, shapes
from advisor.probe.checkpoint import Files, Tensor

DECLARED = Vocabulary(vocabulary.DECLARATIONS)
NO_TORCH = child.Answered({"versions": {"torch": None, "transformers": None}}, "", 0.1)
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 10,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}

ANSWER: dict[str, Any] = {
    "known": True,
    "architecture": "LlamaForCausalLM",
    "text": {"model_type": "llama", "num_hidden_layers": 2},
    "cache_layers": ["full_attention"] * 2,
    "groups": dict.fromkeys(("total", "embedding", "head", "linear", "experts", "other", "rest", "quantizable"), 1),
    "supports": {"sdpa": True, "flash_attention": True, "flex_attention": True, "static_cache": True, "tp": True},
    "auto_compile": ["cuda"],
    "dtype": None,
}


def tensors() -> dict[str, tuple[str, list[int]]]:
    """What a Llama of CONFIG stores: embedding, output projection, and seven matrices and two norms a layer."""
    stored: dict[str, tuple[str, list[int]]] = {"model.embed_tokens.weight": ("BF16", [10, 8])}
    sides = {"self_attn.q_proj": [8, 8], "self_attn.k_proj": [4, 8], "self_attn.v_proj": [4, 8]}
    sides |= {"self_attn.o_proj": [8, 8], "mlp.gate_proj": [12, 8], "mlp.up_proj": [12, 8], "mlp.down_proj": [8, 12]}
    for layer in range(2):
        for name, shape in {**sides, "input_layernorm": [8], "post_attention_layernorm": [8]}.items():
            stored[f"model.layers.{layer}.{name}.weight"] = ("BF16", shape)
    return {**stored, "model.norm.weight": ("BF16", [8]), "lm_head.weight": ("BF16", [10, 8])}


def safetensors(path: Path, stored: dict[str, tuple[str, list[int]]]) -> None:
    """A file with these tensors, all zero."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in stored.items():
        size = {"BF16": 2, "F32": 4, "I32": 4, "U8": 1}[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(end))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    safetensors(tmp_path / "model.safetensors", tensors())
    return tmp_path


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target interpreter has neither torch nor transformers."""
    monkeypatch.setattr(child, "run", lambda *_, **__: NO_TORCH)


def found(name: Path | str) -> Facts:
    return model.find(str(name), sys.executable)[1]


def refused(name: Path | str) -> str:
    with pytest.raises(ModelError) as caught:
        model.find(str(name), sys.executable)
    return str(caught.value)


@pytest.mark.usefixtures("no_torch")
class TestFolderWithoutTorch:
    def test_counts_come_from_the_headers(self, folder: Path) -> None:
        facts = found(folder)
        # Two layers of 8*8 + 4*8 + 4*8 + 8*8 + 3*12*8 weights; five norms; two matrices of 10 x 8.
        assert facts.get("model.parameters_linear") == Known(2 * 480, "safetensors header")
        assert facts.value("model.parameters_other") == 5 * 8
        assert facts.value("model.parameters_embedding") == facts.value("model.parameters_head") == 80
        assert facts.value("model.parameters") == 2 * 480 + 40 + 160
        assert facts.get("model.checkpoint_dtype") == Known("bfloat16", "safetensors header")
        assert facts.value("model.checkpoint_bytes") == (folder / "model.safetensors").stat().st_size

    def test_what_only_the_library_knows_is_unknown_with_the_reason(self, folder: Path) -> None:
        facts = found(folder)
        assert facts.get("model.supports_sdpa") == Unknown("no torch in the target environment")
        assert facts.get("model.library_knows") == Unknown("no torch in the target environment")
        assert facts.value("model.attention_kind") == "MQA"

    def test_only_the_library_knows_what_generate_compiles(self, folder: Path) -> None:
        facts = found(folder)
        for name in ("model.auto_compile", "model.supports_tp"):
            assert facts.get(name) == Unknown("no torch in the target environment")
        assert facts.get("model.mtp_layers") == Unknown("the configuration does not say")
        (folder / "config.json").write_text(json.dumps({**CONFIG, "num_nextn_predict_layers": 2}), encoding="utf-8")
        assert found(folder).get("model.mtp_layers") == Known(2, "config.json")

    def test_every_fact_is_declared_and_of_its_kind(self, folder: Path) -> None:
        facts = found(folder)
        assert all(facts.value(name) is None or fits(facts.value(name), DECLARED[name]) for name in facts)

    def test_the_reference_says_whether_there_are_weights(self, folder: Path) -> None:
        assert model.find(str(folder), "x")[0].random_weights is False
        (folder / "model.safetensors").unlink()
        reference, facts = model.find(str(folder), "x")
        assert reference.random_weights is True
        assert facts.get("model.checkpoint_bytes") == Unknown("the folder holds no weights")
        assert facts.value("model.parameters") == 2 * 480 + 40 + 160

    def test_a_config_alone_has_random_weights(self, folder: Path) -> None:
        reference, facts = model.find(str(folder / "config.json"), "x")
        assert (reference.kind, reference.random_weights) == ("config", True)
        assert facts.get("model.parameters") == Known(1160, "config.json")
        assert facts.get("model.checkpoint_dtype") == Known("bfloat16", "config.json")

    def test_shards_are_added_up(self, folder: Path) -> None:
        parts = list(tensors().items())
        (folder / "model.safetensors").unlink()
        safetensors(folder / "a.safetensors", dict(parts[:9]))
        safetensors(folder / "b.safetensors", dict(parts[9:]))
        weight_map = {name: ("a" if i < 9 else "b") + ".safetensors" for i, (name, _) in enumerate(parts)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        facts = found(folder)
        assert facts.value("model.parameters") == 1160
        assert facts.value("model.checkpoint_bytes") == sum(
            (folder / f"{part}.safetensors").stat().st_size for part in "ab"
        )

    def test_every_missing_shard_is_named(self, folder: Path) -> None:
        index = {"weight_map": {"x": "one.safetensors", "y": "two.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        assert "one.safetensors" in refused(folder)
        assert "two.safetensors" in refused(folder)

    def test_a_shard_outside_the_folder_is_refused(self, folder: Path) -> None:
        index = {"weight_map": {"x": "../other/model.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        assert "no file name beside the index" in refused(folder)

    def test_pickle_files_are_sized_and_never_opened(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
        facts = found(folder)
        assert facts.value("model.checkpoint_bytes") == 25
        assert facts.get("model.checkpoint_dtype") == Known("bfloat16", "config.json")

    def test_the_tokenizer_is_looked_for(self, folder: Path) -> None:
        assert found(folder).value("model.tokenizer") is False
        (folder / "tokenizer.json").write_text("{}")
        assert found(folder).value("model.tokenizer") is True


@pytest.mark.usefixtures("no_torch")
class TestTiedEmbeddings:
    def change(self, folder: Path, tied: bool | None, head: bool) -> Facts:
        config = {name: value for name, value in CONFIG.items() if name != "tie_word_embeddings"}
        config |= {"model_type": "phi"} if tied is None else {"tie_word_embeddings": tied}
        (folder / "config.json").write_text(json.dumps(config))
        stored = tensors() if head else {name: t for name, t in tensors().items() if name != "lm_head.weight"}
        safetensors(folder / "model.safetensors", stored)
        return found(folder)

    def test_a_stored_copy_is_not_counted(self, folder: Path) -> None:
        facts = self.change(folder, tied=True, head=True)
        assert facts.value("model.tied_embeddings") is True
        assert facts.value("model.parameters_head") == 0
        assert facts.value("model.parameters") == 1080

    def test_files_without_a_head_mean_tied_when_nothing_is_said(self, folder: Path) -> None:
        facts = self.change(folder, tied=None, head=False)
        assert facts.get("model.tied_embeddings") == Known(True, "safetensors header: no output projection")

    def test_files_with_a_head_mean_untied_when_nothing_is_said(self, folder: Path) -> None:
        assert self.change(folder, tied=None, head=True).value("model.tied_embeddings") is False

    def test_a_contradiction_is_unknown(self, folder: Path) -> None:
        fact = self.change(folder, tied=False, head=False).get("model.tied_embeddings")
        assert isinstance(fact, Unknown)


@pytest.mark.usefixtures("no_torch")
class TestQuantizedCheckpoints:
    def test_gptq_is_counted_as_the_weights_it_packs(self, folder: Path) -> None:
        stored = {name: t for name, t in tensors().items() if "q_proj" not in name}
        for layer in range(2):
            place = f"model.layers.{layer}.self_attn.q_proj"
            stored[f"{place}.qweight"] = ("I32", [1, 8])  # 8 rows of 4 bits in each integer
            stored[f"{place}.qzeros"] = ("I32", [1, 1])
            stored[f"{place}.scales"] = ("BF16", [1, 8])
            stored[f"{place}.g_idx"] = ("I32", [8])
        safetensors(folder / "model.safetensors", stored)
        quantized = {**CONFIG, "quantization_config": {"quant_method": "gptq", "bits": 4}}
        (folder / "config.json").write_text(json.dumps(quantized))
        facts = found(folder)
        assert facts.get("model.checkpoint_quantization") == Known("gptq", "safetensors header")
        assert facts.value("model.parameters") == 1160

    def test_bitsandbytes_shows_in_the_tensors_even_if_the_config_is_silent(self, folder: Path) -> None:
        stored = tensors()
        name = "model.layers.0.mlp.up_proj.weight"
        stored[name] = ("U8", [48, 1])
        stored[f"{name}.absmax"] = ("F32", [2])
        stored[f"{name}.quant_map"] = ("F32", [16])
        stored[f"{name}.quant_state.bitsandbytes__nf4"] = ("U8", [80])
        safetensors(folder / "model.safetensors", stored)
        facts = found(folder)
        assert facts.value("model.checkpoint_quantization") == "bitsandbytes"
        assert facts.value("model.parameters") == 1160

    def test_layers_behind_the_last_are_not_loaded(self, folder: Path) -> None:
        stored = {**tensors(), "model.layers.2.mlp.up_proj.weight": ("BF16", [12, 8])}
        safetensors(folder / "model.safetensors", stored)
        assert found(folder).value("model.parameters") == 1160


@pytest.mark.usefixtures("no_torch")
class TestRefusals:
    def test_a_folder_without_config(self, tmp_path: Path) -> None:
        assert "has no config.json" in refused(tmp_path)

    def test_an_adapter(self, tmp_path: Path) -> None:
        (tmp_path / "adapter_config.json").write_text("{}")
        assert "base model" in refused(tmp_path)

    def test_a_folder_of_gguf_files(self, tmp_path: Path) -> None:
        (tmp_path / "x.gguf").write_bytes(b"GGUF")
        assert "GGUF" in refused(tmp_path)

    def test_the_folder_one_level_up(self, folder: Path) -> None:
        inner = folder / "checkpoint-3"
        inner.mkdir()
        (folder / "config.json").rename(inner / "config.json")
        assert f"did you mean {inner}?" in refused(folder)

    def test_single_files(self, folder: Path) -> None:
        (folder / "x.gguf").write_bytes(b"GGUF")
        assert "a GGUF file" in refused(folder / "x.gguf")
        assert f"name its folder: {folder}" in refused(folder / "model.safetensors")

    @pytest.mark.parametrize("text", ["{", "[]", "null", '"x"', "{}", '{"model_type": 3}', "\x00", "[" * 100_000])
    def test_broken_configurations(self, folder: Path, text: str) -> None:
        (folder / "config.json").write_text(text, encoding="utf-8")
        assert "config.json: " in refused(folder)

    def test_a_number_of_layers_that_would_keep_the_library_busy(self, folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps({**CONFIG, "num_hidden_layers": 10**9}))
        assert "1000000000 layers" in refused(folder)

    def test_a_configuration_that_is_no_text(self, folder: Path) -> None:
        (folder / "config.json").write_bytes(b"\xff\xfe\x00")
        assert "not JSON" in refused(folder)

    def test_a_path_that_is_not_there(self) -> None:
        assert "there is no such path" in refused("./qwen3-8")
        assert "did you mean the shipped shape qwen3-8b?" in refused("~/models/qwen3-8")

    def test_names_that_are_nothing(self) -> None:
        for name in ("", "a b", "a/b/c", "../x", "-x", "a//b", "x" * 5000, "a\0b", "~nobody-here/x"):
            refused(name)


class TestShapesByName:
    def test_no_interpreter_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(child, "run", lambda *_: pytest.fail("a shape needs no child"))
        reference, facts = model.find("llama-3.1-8b", "no such interpreter")
        assert (reference.kind, reference.name, reference.random_weights) == ("shape", "llama-3.1-8b", True)
        assert facts.value("model.parameters") == 8_030_261_248
        assert facts.value("model.attention_kind") == "GQA"
        assert facts.value("model.checkpoint_dtype") == "bfloat16"

    def test_a_folder_of_the_same_name_comes_first(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, no_torch: None
    ) -> None:
        (folder / "qwen3-8b").mkdir()
        (folder / "config.json").rename(folder / "qwen3-8b" / "config.json")
        monkeypatch.chdir(folder)
        assert model.find("qwen3-8b", "x")[0].kind == "folder"


class TestHub:
    def test_offline_the_nearest_shape_is_named(self) -> None:
        said = refused("meta-llama/Llama-3.1-8B")
        assert "not in the local cache" in said
        assert "take the shipped shape llama-3.1-8b, or a local folder" in said

    def test_headers_give_what_a_folder_gives(self, monkeypatch: pytest.MonkeyPatch, no_torch: None) -> None:
        stored = {name: Tensor(dtype, tuple(shape)) for name, (dtype, shape) in tensors().items()}
        there = hub.OnHub(CONFIG, Files(stored, 2320, "safetensors"), True, "")
        monkeypatch.setattr(hub, "fetch", lambda *_: there)
        reference, facts = model.find("me/tiny", "x", revision="main")
        assert (reference.kind, reference.revision, reference.random_weights) == ("hub", "main", False)
        assert facts.value("model.parameters") == 1160
        assert facts.value("model.checkpoint_bytes") == 2320

    def test_without_headers_the_reason_stays(self, monkeypatch: pytest.MonkeyPatch, no_torch: None) -> None:
        monkeypatch.setattr(hub, "fetch", lambda *_: hub.OnHub(CONFIG, None, None, "no safetensors there"))
        facts = found("me/tiny")
        assert facts.get("model.checkpoint_bytes") == Unknown("no safetensors there")
        assert facts.value("model.parameters") == 1160


class TestCodeOfTheModel:
    """What is asked of the target interpreter, and that it is asked once."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """The requests that reached the child, answered as a library would."""
        requests: list[dict[str, Any]] = []
        versions = {"torch": "2.13.0", "transformers": "5.22.2"}

        def run(python: str, program: Path, request: dict[str, Any], *_: Any) -> child.Outcome:
            requests.append(request)
            answer = {"versions": versions} | ({} if request["ask"] == "versions" else {"model": ANSWER})
            return child.Answered(answer, "", 0.1)

        monkeypatch.setattr(child, "run", run)
        return requests

    def kinds(self, asked: list[dict[str, Any]]) -> list[str]:
        return [request["ask"] for request in asked]

    def test_the_second_time_the_answer_is_kept(self, folder: Path, asked: list[dict[str, Any]]) -> None:
        config = {**CONFIG, "vocab_size": 11}
        (folder / "config.json").write_text(json.dumps(config))
        first, second = found(folder), found(folder)
        assert self.kinds(asked) == ["versions", "model", "versions"]
        assert first.get("model.supports_sdpa") == second.get("model.supports_sdpa")
        assert first.get("model.supports_sdpa") == Known(True, "transformers 5.22.2")

    @pytest.mark.parametrize("damage", ["", "{", "[]", '{"groups": {}}', '{"architecture": 3}'])
    def test_a_damaged_cache_is_asked_again(
        self, folder: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, damage: str
    ) -> None:
        found(folder)
        asked.clear()
        for path in kept._path("model", "x").parent.glob("model-*.json"):
            path.write_text(damage)
        assert found(folder).value("model.supports_sdpa") is True
        assert self.kinds(asked) == ["versions", "model"]

    def test_code_from_a_repository_runs_only_when_it_is_trusted(
        self, folder: Path, asked: list[dict[str, Any]]
    ) -> None:
        (folder / "config.json").write_text(json.dumps({**CONFIG, "auto_map": {"AutoConfig": "x.Y"}}))
        facts = found(folder)
        assert facts.value("model.needs_remote_code") is True
        assert asked[-1]["trust_remote_code"] is False
        assert asked[-1]["source"] is None
        model.find(str(folder), "x", trust_remote_code=True)
        assert asked[-1]["trust_remote_code"] is True
        assert asked[-1]["source"] == str(folder)

    def test_a_library_that_refuses_leaves_the_headers(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def run(python: str, program: Path, request: dict[str, Any], *_: Any) -> child.Outcome:
            if request["ask"] == "versions":
                return child.Answered({"versions": {"torch": "2", "transformers": "5"}}, "", 0.1)
            return child.Died("exit code 1: ValueError: hidden_size", "", 0.1)

        monkeypatch.setattr(child, "run", run)
        facts = found(folder)
        assert facts.value("model.parameters") == 1160
        fact = facts.get("model.supports_sdpa")
        assert isinstance(fact, Unknown)
        assert "ValueError: hidden_size" in fact.reason

    def test_a_type_that_the_library_lacks(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def run(python: str, program: Path, request: dict[str, Any], *_: Any) -> child.Outcome:
            answer: dict[str, Any] = {"versions": {"torch": "2", "transformers": "4.40.0"}}
            return child.Answered(answer | {"model": {"known": False}}, "", 0.1)

        monkeypatch.setattr(child, "run", run)
        fact = found(folder).get("model.library_knows")
        assert fact == Known(False, "transformers 4.40.0 does not know model_type llama")


def test_a_config_alone_counts_what_the_library_counts() -> None:
    """For Llama's relatives, every shipped shape against the closed count."""
    compared = 0
    for name in shapes.names():
        shape = shapes.load(name)
        alone = config_alone.anatomy(shape.config, "no torch")
        for group, size in alone.groups.items():
            assert shape.anatomy.groups[group] == size, (name, group)
        compared += bool(alone.groups)
        if alone.cache_layers is not None:
            assert sorted(alone.cache_layers) == sorted(shape.anatomy.cache_layers or ()), name
    assert compared >= 30


VALUES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3) | st.lists(st.none())
)
NAMES = st.sampled_from(
    [
        *CONFIG,
        *("n_layer", "n_embd", "head_dim", "sliding_window", "sliding_window_pattern", "full_attention_interval"),
        *("layer_types", "num_experts", "num_experts_per_tok", "moe_intermediate_size", "kv_lora_rank"),
        *("qk_rope_head_dim", "qk_nope_head_dim", "use_sliding_window", "quantization_config", "text_config", "dtype"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*config_alone.FAMILIES, "falcon", "gpt2", "deepseek_v3", "qwen3_next"]),
    st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=3), max_size=6),
)
def test_any_configuration_gives_facts_of_their_kinds(kind: str, strange: dict[str, Any]) -> None:
    alone = config_alone.anatomy({**CONFIG, **strange, "model_type": kind}, "no torch")
    facts = anatomy.facts(alone)
    assert all(facts.value(name) is None or fits(facts.value(name), DECLARED[name]) for name in facts)
