"""The user's present setup: what they stated, and for the rest what the installed library does by default.

Also the facts that follow from a setup together with the machine (`device.*`). Pure.
"""

from collections.abc import Mapping

from packaging.version import Version

from advisor.facts import Fact, Facts, Known, Unknown, Value
from advisor.setup import Setup, knobs

BF16_CAPABILITY = 8.0
"""First NVIDIA compute capability whose tensor cores multiply bf16 (Ampere)."""
FP16_CAPABILITY = 7.0
"""First NVIDIA compute capability with fp16 tensor cores (Volta); Pascal's 6.0 alone has a double fp16 rate."""


def baseline(stated: Mapping[str, Value], machine: Facts, model: Facts) -> tuple[Setup, dict[str, str]]:
    """The setup with every default filled in, and for each knob where its value comes from."""
    defaults = _defaults(machine, model)
    values = {name: value for name, (value, _) in defaults.items() if value is not None}
    sources = {name: source for name, (value, source) in defaults.items() if value is not None}
    setup = Setup().changed({**values, **stated})
    implied = {name: pair for name, pair in _implied(setup).items() if name not in stated}
    setup = setup.changed({name: value for name, (value, _) in implied.items()})
    sources |= {name: source for name, (_, source) in implied.items()}
    return setup, {**sources, **dict.fromkeys(stated, "you")}


def _implied(setup: Setup) -> dict[str, tuple[Value, str]]:
    """Defaults of what takes part only because of another knob: how generate compiles, what quantizes a cache."""
    found: dict[str, tuple[Value, str]] = {}
    if setup.compile == "generate":
        found["compile_mode"] = ("reduce-overhead", "default of CompileConfig")
    elif setup.compile == "forward":
        found["compile_mode"] = ("default", "torch's default")
    if setup.cache_implementation == "quantized":
        found["cache_backend"] = ("quanto", "default of a quantized cache")
    if setup.engine == "serve":
        found["batching"] = ("loop", "transformers serve answers one request after another unless told otherwise")
    return found


def _defaults(machine: Facts, model: Facts) -> dict[str, tuple[Value | None, str]]:
    library = "transformers' default"
    return {
        "device": (_device(machine), "assumed: where torch can run fastest"),
        "device_map": ("none", library),
        "dtype": _dtype(machine, model),
        "attn_implementation": _attention(model),
        "use_cache": (True, library),
        "cache_implementation": ("dynamic", library),
        "compile": ("none", library),
        "quantization": ("none", library),
        "speculation": ("none", library),
        "use_kernels": (False, library),
        "matmul_precision": ("highest", "torch's default"),
        "adapters": ("none", library),
        "optimizer": ("adamw", library),
        "mixed_precision": ("none", library),
        "gradient_checkpointing": (False, library),
        "padding_free": (False, "default of the trainers"),
        "batching": ("padded", "assumed"),
        "threads": (machine.count("torch.threads") or machine.count("host.cores_usable"), "torch's default"),
    }


def _device(machine: Facts) -> str:
    """The accelerator that torch uses; where torch is absent, the one that the driver shows."""
    build = machine.text("torch.build")
    if machine.is_true("torch.sees_gpu"):
        return {"mps": "mps", "xpu": "xpu"}.get(build or "", "cuda")
    if machine.value("torch.sees_gpu") is None and (machine.count("gpu.count") or 0) > 0:
        return "mps" if machine.text("gpu.vendor") == "apple" else "cuda"
    return "cpu"


def _dtype(machine: Facts, model: Facts) -> tuple[Value | None, str]:
    """transformers 5 loads the checkpoint's own type; 4 loads float32 unless told otherwise."""
    version = machine.text("transformers.version")
    if version is not None and Version(version) < Version("5"):
        return "float32", f"default of transformers {version}"
    stored = model.text("model.checkpoint_dtype")
    if stored in knobs()["dtype"].values:
        return stored, "the checkpoint's type, default since transformers 5"
    if model.text("model.checkpoint_quantization") not in (None, "none"):
        return "bfloat16", "assumed for a quantized checkpoint"
    return "float32", "assumed: the checkpoint's type is unknown"


def _attention(model: Facts) -> tuple[Value | None, str]:
    match model.value("model.supports_sdpa"):
        case True:
            return "sdpa", "transformers' default for this model"
        case False:
            return "eager", "this model class has no SDPA"
        case _:
            return None, "unknown"


def device_facts(machine: Facts, setup: Setup) -> Facts:
    """What the device that this setup runs on can do, as facts `device.*`."""
    on_cpu = setup.device == "cpu"
    free = machine.get("host.ram_available_bytes" if on_cpu else "gpu.memory_free_bytes")
    cores = machine.count("host.cores_usable")
    crowded = setup.threads > cores if setup.threads is not None and cores is not None else None
    idle = on_cpu and machine.is_true("torch.sees_gpu")
    return Facts(
        {
            "device.memory_free_bytes": free,
            "device.fast_bf16": _cpu_bf16(machine) if on_cpu else _gpu_half(machine, BF16_CAPABILITY),
            "device.fast_fp16": machine.get("host.fp16_units") if on_cpu else _gpu_half(machine, FP16_CAPABILITY),
            "device.accelerator_idle": Known(idle, "setup and torch"),
            "device.threads_exceed_cores": Unknown("no thread count") if crowded is None else Known(crowded, "setup"),
        }
    )


def _cpu_bf16(machine: Facts) -> Fact:
    """Any of the units makes bf16 fast; unknown only where none is known to be there."""
    units = [machine.get(f"host.{unit}") for unit in ("avx512_bf16", "amx_bf16", "arm_bf16")]
    for unit in units:
        if isinstance(unit, Known) and unit.value is True:
            return unit
    return next((unit for unit in units if isinstance(unit, Unknown)), units[0])


def _gpu_half(machine: Facts, needed: float) -> Fact:
    """NVIDIA: by compute capability. Others: what torch says of bf16 stands for both 16-bit types."""
    capability = machine.number("gpu.capability")
    if capability is not None:
        return Known(capability >= needed, f"compute capability {capability}")
    told = machine.get("torch.bf16")
    return told if isinstance(told, Known) else Unknown("no compute capability and no word from torch")
