"""Quantized weights as the dry run lays them out against those of a loaded model on a CPU."""

from pathlib import Path
from typing import Any

import pytest

from advisor.estimate.dryrun import inside_dry_run

pytestmark = [
    pytest.mark.models,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]
CASES = (
    ("llama", "bnb_int8", "bfloat16"),
    ("llama", "bnb_nf4", "bfloat16"),
    ("llama", "bnb_nf4_double", "float32"),
    ("gpt2", "bnb_int8", "float16"),
    ("gpt2", "bnb_nf4_double", "bfloat16"),
    ("qwen3-moe", "bnb_fp4", "bfloat16"),
    ("gemma3", "bnb_nf4", "float16"),
)
PEAK_TOLERANCE = 0.03


@pytest.mark.parametrize(("name", "scheme", "dtype"), CASES)
def test_every_byte_of_weights_and_scales(small: Any, tmp_path: Path, name: str, scheme: str, dtype: str) -> None:
    pytest.importorskip("bitsandbytes")
    wanted = small.case(rows=2, prompt=256, dtype=dtype, quantization=scheme)
    (said,) = small.dry(name, wanted)
    model = small.quantized(name, wanted, tmp_path)
    real = small.allocator_peak(model, wanted)  # 4-bit weights are packed anew by a first pass on some CPUs
    assert said["weights"] == inside_dry_run.building.weights(model)
    peak = max(said[one]["peak_bytes"] for one in ("prompt", "first_step", "last_step") if said[one])
    assert peak == pytest.approx(real, rel=PEAK_TOLERANCE)


@pytest.mark.parametrize("scheme", ["bnb_int8", "bnb_nf4_double"])
def test_a_checkpoint_that_is_quantized_already(small: Any, tmp_path: Path, scheme: str) -> None:
    """As it is loaded; the config.json that was saved with it says how."""
    pytest.importorskip("bitsandbytes")
    import json

    import transformers

    small.quantized("llama", small.case(quantization=scheme), tmp_path / "plain").save_pretrained(tmp_path / "small")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small", device_map={"": "cpu"}).eval()
    loaded = inside_dry_run.building.weights(model)
    config = json.loads((tmp_path / "small" / "config.json").read_text(encoding="utf-8"))
    wanted = small.case(quantization="checkpoint", device="cuda")  # where nothing is packed anew
    (said,) = inside_dry_run.answers({"config": config, "cases": [wanted]})
    assert {group: types for group, types in said["weights"].items() if group != "scales"} == {
        group: types for group, types in loaded.items() if group != "scales"
    }
    assert sum(said["weights"]["scales"].values()) == sum(loaded["scales"].values())


def test_a_checkpoint_of_another_kind(small: Any) -> None:
    config = {**small.CONFIGS["llama"], "quantization_config": {"quant_method": "gptq", "bits": 4}}
    (said,) = inside_dry_run.answers({"config": config, "cases": [small.case(quantization="checkpoint")]})
    assert "does not know checkpoint" in said["error"]


def test_a_step_after_weights_have_shrunk(small: Any) -> None:
    """Where a first pass packs weights anew, they shrink by more than a step needs; its peak is known all the same."""
    pytest.importorskip("bitsandbytes")
    (said,) = small.dry("llama", small.case(prompt=4, new=4, quantization="bnb_nf4"))
    for step in ("first_step", "last_step"):
        assert said[step]["at"] != ""
        assert said[step]["peak_bytes"] > said[step]["cache_bytes"]


def test_experts_in_one_tensor_and_the_output_stay_as_they_are(small: Any) -> None:
    pytest.importorskip("bitsandbytes")
    (said,) = small.dry("qwen3-moe", small.case(quantization="bnb_int8"))
    assert set(said["weights"]["linear"]) == {"int8"}
    for group in ("experts", "head", "embedding"):
        assert set(said["weights"][group]) == {"bfloat16"}


def test_a_gpu_keeps_what_is_loaded(small: Any) -> None:
    """Where weights are not packed anew, an fp32 scale stands for 64 weights. No GPU was there to compare with."""
    pytest.importorskip("bitsandbytes")
    (said,) = small.dry("llama", small.case(quantization="bnb_nf4", device="cuda"))
    linear = said["weights"]["linear"]["uint8"]
    lookup = 4 * 7 * 16 * 4  # sixteen values for each of seven matrices of four layers
    assert said["weights"]["scales"] == {"float32": 2 * linear // 64 * 4 + lookup}


def test_weights_are_written_out_for_many_rows(small: Any) -> None:
    pytest.importorskip("bitsandbytes")
    many, few = small.dry(
        "llama",
        small.case(prompt=64, quantization="bnb_nf4", device="cuda"),
        small.case(prompt=4, quantization="bnb_nf4", device="cuda"),
    )
    assert many["prompt"]["operators"] > few["prompt"]["operators"]
    assert many["prompt"]["peak_bytes"] - few["prompt"]["peak_bytes"] > 256 * 704 * 2


def test_another_version_than_was_asked_about(small: Any) -> None:
    pytest.importorskip("bitsandbytes")
    (said,) = small.dry("llama", small.case(quantization="bnb_nf4", packages=["bitsandbytes 0.0.1"]))
    assert "0.0.1 is no longer installed" in said["error"]


def test_a_scheme_that_nobody_wrote_down(small: Any) -> None:
    (said,) = small.dry("llama", small.case(quantization="no_such"))
    assert "does not know no_such" in said["error"]
