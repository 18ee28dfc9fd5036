"""safetensors headers: what a well-formed file says, and that no bytes whatever do more than be refused."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor.errors import ModelError
from advisor.probe import checkpoint, tensor_groups
from advisor.probe.checkpoint import Tensor

ONE = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}


def written(path: Path, header: Any, data: int = 24, length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(data))
    return path


def test_a_header_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", {"__metadata__": {"format": "pt"}, **ONE})
    assert checkpoint.read_header(path) == {"a": Tensor("F32", (2, 3))}


@pytest.mark.parametrize("length", [2**60, 2**64 - 1, 10_000, 23])
def test_a_length_that_cannot_be(tmp_path: Path, length: int) -> None:
    path = written(tmp_path / "x.safetensors", ONE, data=0, length=length)
    with pytest.raises(ModelError, match="damaged safetensors file"):
        checkpoint.read_header(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 20]},
        {"dtype": "F32", "shape": [2, -3], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [2, True], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": "2,3", "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 0]},
        {"dtype": "F32", "shape": [2, 3]},
        {"dtype": 3, "shape": [2, 3], "data_offsets": [0, 24]},
        [],
        None,
    ],
)
def test_a_malformed_entry_is_named(tmp_path: Path, entry: Any) -> None:
    path = written(tmp_path / "x.safetensors", {"weird": entry})
    with pytest.raises(ModelError, match="'weird' is malformed"):
        checkpoint.read_header(path)


def test_a_file_that_was_cut_short(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", ONE, data=20)
    with pytest.raises(ModelError, match="'a' ends 4 bytes behind the end of the file"):
        checkpoint.read_header(path)


def test_a_new_type_is_taken_by_its_shape(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", {"a": {"dtype": "F4", "shape": [6], "data_offsets": [0, 3]}})
    assert checkpoint.read_header(path) == {"a": Tensor("F4", (6,))}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    try:
        checkpoint.read_header(path)
    except ModelError as error:
        assert str(path) in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.text(max_size=5) | st.sampled_from(["F32", "BF16"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "a"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_any_json_is_read_or_refused(tmp_path: Path, header: Any) -> None:
    path = written(tmp_path / "x.safetensors", header)
    try:
        tensors = checkpoint.read_header(path)
    except ModelError:
        return
    tensor_groups.groups(tensors, 2, tied=False, bits=None)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_any_index_is_read_or_refused(index: Any) -> None:
    try:
        names = checkpoint.shards(index, "index")
    except ModelError:
        return
    assert all("/" not in name and name.endswith(".safetensors") for name in names)


def test_the_type_is_that_of_most_values() -> None:
    tensors = {"norm": Tensor("F32", (8,)), "w": Tensor("BF16", (8, 8)), "ids": Tensor("I64", (10_000,))}
    assert checkpoint.dtype(tensors) == "bfloat16"
    assert checkpoint.dtype({"w": Tensor("F8_E4M3", (8, 8))}) == "float8_e4m3fn"
    assert checkpoint.dtype({"w": Tensor("F8_E4M3", (8, 8)), "norm": Tensor("F16", (8,))}) == "float16"
    assert checkpoint.dtype({"w": Tensor("I32", (8, 8))}) is None


@pytest.mark.parametrize(
    ("name", "shape", "group"),
    [
        ("model.embed_tokens.weight", (10, 8), "embedding"),
        ("transformer.wpe.weight", (10, 8), "embedding"),
        ("model.decoder.embed_positions.weight", (10, 8), "embedding"),
        ("lm_head.weight", (10, 8), "head"),
        ("embed_out.weight", (10, 8), "head"),
        ("transformer.h.0.attn.c_attn.weight", (8, 24), "linear"),
        ("model.layers.0.mlp.gate_proj.weight", (8, 8), "linear"),
        ("model.layers.0.mlp.gate.weight", (4, 8), "other"),
        ("model.layers.0.block_sparse_moe.gate.weight", (4, 8), "other"),
        ("model.layers.0.block_sparse_moe.experts.3.w1.weight", (8, 8), "experts"),
        ("model.layers.0.mlp.experts.gate_up_proj", (4, 8, 16), "experts"),
        ("model.layers.0.mlp.experts.gate_up_proj_bias", (4, 16), "other"),
        ("model.layers.0.mlp.shared_experts.up_proj.weight", (8, 8), "linear"),
        ("model.layers.0.linear_attn.conv1d.weight", (8, 1, 4), "other"),
        ("model.layers.0.input_layernorm.weight", (8,), "other"),
        ("vision_tower.encoder.layers.0.fc1.weight", (8, 8), "rest"),
        ("model.visual.blocks.0.mlp.fc1.weight", (8, 8), "rest"),
    ],
)
def test_groups_by_name(name: str, shape: tuple[int, ...], group: str) -> None:
    assert tensor_groups.group_of(name, Tensor("BF16", shape)) == group


def test_buffers_of_old_checkpoints_are_no_parameters() -> None:
    tensors = {"h.0.attn.bias": Tensor("F32", (1, 1, 64, 64)), "h.0.attn.c_proj.bias": Tensor("F32", (8,))}
    assert tensor_groups.groups(tensors, 1, tied=True, bits=None)["total"] == 8
