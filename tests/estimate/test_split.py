"""Which layers go where, held against what the installed library itself decides for models on the meta device."""

from typing import Any

import pytest

from advisor.estimate.split import Share, split
from advisor.facts import Facts, Known
from advisor.probe import anatomy, shapes
from advisor.setup import Setup

GIB = 2**30
SHAPES = (
    "gemma-2-2b",
    "llama-3.2-1b",
    "llama-3.1-8b",
    "mixtral-8x7b",
    "opt-6.7b",
    "phi-2",
    "qwen2.5-7b",
    "qwen3-30b-a3b",
)
TIGHT = {
    "two even": (0.6, 0.6, 2.0),
    "uneven": (0.25, 0.9, 0.2),
    "to RAM": (0.35, 0.3, 2.0),
    "to disk": (0.3, 0.2, 0.3),
}
"""Limits as shares of the model's weights: two devices and RAM."""


def model(shape: str) -> Facts:
    plain = Facts({"model.checkpoint_quantization": Known("none", "test")})
    return anatomy.facts(shapes.load(shape).anatomy) | plain


def limits(shape: str, shares: tuple[float, ...]) -> tuple[str, ...]:
    weights = 2 * (model(shape).count("model.parameters") or 0)
    sizes = [int(share * weights / 2**20) for share in shares]
    return tuple(f"{name}={size}MiB" for name, size in zip(("0", "1", "cpu"), sizes, strict=True))


def ours(shape: str, max_memory: tuple[str, ...] | None, device_map: str = "auto") -> tuple[Share, ...] | None:
    setup = Setup(device="cuda", device_map=device_map, dtype="bfloat16", max_memory=max_memory)
    return split(model(shape), Facts({"gpu.count": Known(2, "test")}), setup)


def by_layer(shares: tuple[Share, ...] | None) -> dict[int | str, str]:
    """The device of each layer, of the embedding and of the head."""
    found: dict[int | str, str] = {}
    for share in shares or ():
        if share.first_layer is not None and share.last_layer is not None:
            found |= dict.fromkeys(range(share.first_layer, share.last_layer + 1), share.device)
        found |= {name: share.device for name in ("embedding", "head") if getattr(share, name)}
    return found


def theirs(shape: str, max_memory: tuple[str, ...], device_map: str) -> dict[int | str, str]:
    """The same from the library: the map's entry that a module's name starts with."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.integrations.accelerate import _get_device_map

    given = {int(k) if k.isdigit() else k: v for k, v in (entry.split("=") for entry in max_memory)}
    settings = dict(shapes.load(shape).config)
    with torch.device("meta"):
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        built = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    where: dict[str, Any] = _get_device_map(built, device_map, given, None)

    def of(module: Any) -> str:
        name = next(name for name, one in built.named_modules() if one is module)
        return next(str(d) for key, d in where.items() if key == "" or f"{name}.".startswith(f"{key}."))

    layers = next(one for one in built.modules() if isinstance(one, torch.nn.ModuleList))
    found: dict[int | str, str] = {index: of(layer) for index, layer in enumerate(layers)}
    found |= {"embedding": of(built.get_input_embeddings()), "head": of(built.get_output_embeddings())}
    return found


@pytest.mark.models
@pytest.mark.parametrize("shape", SHAPES)
def test_layers_go_where_the_library_puts_them(shape: str) -> None:
    for device_map in ("auto", "sequential"):
        for name, shares in TIGHT.items():
            given = limits(shape, shares)
            assert by_layer(ours(shape, given, device_map)) == theirs(shape, given, device_map), (name, device_map)


def test_each_device_says_its_bytes_and_all_weights_are_somewhere() -> None:
    found = ours("llama-3.1-8b", ("0=10GiB", "1=10GiB", "cpu=32GiB"))
    assert found is not None
    assert [share.device for share in found] == ["0", "1", "cpu"]
    assert sum(share.weights_bytes for share in found) == pytest.approx(2 * 8.03e9, rel=0.001)
    assert found[0].embedding and found[0].first_layer == 0
    assert found[1].head and found[1].last_layer == 31
    assert found[2].weights_bytes == 0 and found[2].first_layer is None


def test_without_limits_each_device_offers_what_is_free_once_it_is_started() -> None:
    machine = Facts(
        {
            "gpu.count": Known(2, "test"),
            "gpu.0.memory_free_bytes": Known(12 * GIB, "test"),
            "gpu.1.memory_free_bytes": Known(12 * GIB, "test"),
            "host.ram_available_bytes": Known(64 * GIB, "test"),
        }
    )
    found = split(model("llama-3.1-8b"), machine, Setup(device="cuda", device_map="auto", dtype="bfloat16"))
    assert found is not None
    assert all(share.weights_bytes < 11.5 * GIB for share in found)
    assert found[2].weights_bytes == 0


@pytest.mark.parametrize("shape", ["deepseek-v3", "qwen3-next-80b-a3b"])
def test_layers_of_different_sizes_are_not_placed(shape: str) -> None:
    assert ours(shape, ("0=10GiB", "1=10GiB", "cpu=900GiB")) is None


def test_nothing_is_split_where_nothing_is_spread() -> None:
    plain = Setup(device="cuda", device_map="none", dtype="bfloat16")
    assert split(model("llama-3.1-8b"), Facts({}), plain) is None
    on_cpu = Setup(device="cpu", device_map="auto", dtype="bfloat16")
    assert split(model("llama-3.1-8b"), Facts({}), on_cpu) is None


def test_unknown_free_memory_gives_no_split() -> None:
    assert ours("llama-3.1-8b", None) is None
