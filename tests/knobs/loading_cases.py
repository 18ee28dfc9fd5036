"""Cases of knobs that hold from loading on: places, attention, quantized weights, layers."""

import sys

KnobCase = sys.modules["knobs_knob_case"].KnobCase  # cases.py has loaded it: this folder is no package
NO_KERNEL = "needs 16-bit weights and a GPU; its package is not installed with the tests"

ONLY_CUDA = "needs CUDA"

HUB = "fetches code from the Hub, and tests use no network"

PLACEMENT = (
    KnobCase({"device": "cpu"}, ("model.device.type == 'cpu'",), same_tokens=True, gpu="is about the CPU"),
    KnobCase({"device": "cuda"}, ("model.device.type == 'cuda'",), same_tokens=True, cpu=ONLY_CUDA),
    *(
        KnobCase({"device_map": way}, (f"seen.loaded['device_map'] == '{way}'",), same_tokens=True)
        for way in ("auto", "balanced", "sequential")
    ),
    KnobCase(
        {"max_memory": ("cpu=110MB", "disk=1GB")},
        ("set(model.hf_device_map.values()) == {'cpu', 'disk'}", "any(p.is_meta for p in model.parameters())"),
        beside={"device_map": "auto"},
        model="wide",
        same_tokens=True,
        gpu="the same, with a GPU's share first, is in the case below",
    ),
    KnobCase(
        {"max_memory": ("cpu=1MB", "disk=1GB")},
        ("set(model.hf_device_map.values()) == {'disk'}", "os.listdir(model.offload_folder.name)"),
        beside={"device_map": "auto"},
        model="experts",
        gpu="the same, with a GPU's share first, is in the case below",
    ),
    KnobCase(
        {"max_memory": ("0=110MB", "cpu=1GB")},
        ("set(model.hf_device_map.values()) == {0, 'cpu'}",),
        beside={"device_map": "auto"},
        model="wide",
        same_tokens=True,
        cpu=ONLY_CUDA,
    ),
    *(
        KnobCase({"dtype": name}, (f"all(p.dtype == torch.{name} for p in model.parameters())",))
        for name in ("float32", "float16", "bfloat16")
    ),
)  # fmt: skip

FLASH_OPERATOR = "aten::_scaled_dot_product_flash_attention"

ATTENTION = (
    *(
        KnobCase({"attn_implementation": name}, (f"model.config._attn_implementation == '{name}'",), same_tokens=True)
        for name in ("eager", "sdpa")
    ),
    KnobCase(
        {"attn_at_run_time": True},
        ("model.config._attn_implementation == 'eager'", "'attn_implementation' not in seen.loaded"),
        beside={"attn_implementation": "eager", "device_map": "auto"},
        same_tokens=True,
    ),
    *(
        KnobCase(
            {"sdpa_backend": name},
            (f"'{operator}' in seen.operators",),
            same_tokens=True,
            cpu=None if name in ("flash", "math") else "torch has no such kernel for CPUs",
        )
        for name, operator in (
            ("math", "aten::_scaled_dot_product_attention_math"),
            ("mem_efficient", "aten::_scaled_dot_product_efficient_attention"),
        )
    ),
    *(
        KnobCase(
            {"sdpa_backend": name},
            (f"any(name.startswith('{operator}') for name in seen.operators)",),
            beside={"dtype": "bfloat16"},
            cpu=None if name == "flash" else "torch has no such kernel for CPUs",
        )
        for name, operator in (
            ("flash", FLASH_OPERATOR),
            ("cudnn", "aten::_scaled_dot_product_cudnn_attention"),
        )
    ),
    KnobCase(
        {"attn_implementation": "flex_attention"},
        ("model.config._attn_implementation == 'flex_attention'",),
        cpu="is compiled for half a minute there, and fails on padded prompts",
    ),
    *(
        KnobCase(
            {"attn_implementation": f"flash_attention_{number}"},
            (f"model.config._attn_implementation == 'flash_attention_{number}'",),
            beside={"dtype": "bfloat16"},
            packages=(package,),
            cpu=NO_KERNEL,
        )
        for number, package in ((2, "flash_attn"), (3, "flash_attn_interface"), (4, "flash_attn.cute"))
    ),
    KnobCase(
        {"attn_implementation": "kernels-community/flash-attn2"},
        beside={"device": None, "dtype": "bfloat16"},
        packages=("kernels",),
        fails=r"not available in the local cache and Hugging Face Hub is in offline mode|OfflineModeIsEnabled",
    ),
)


QUANTIZED = (
    KnobCase(
        {"quantization": "bnb_int8"}, ("type(linear).__name__ == 'Linear8bitLt'",), packages=("bitsandbytes",),
        beside={"dtype": "bfloat16"},
    ),
    *(
        KnobCase(
            {"quantization": f"bnb_{name}"},
            (
                "type(linear).__name__ == 'Linear4bit'",
                f"linear.weight.quant_state.quant_type == '{name[:3]}'",
                f"linear.weight.compress_statistics is {name.endswith('double')}",
                "linear.compute_dtype == torch.bfloat16",
            ),
            packages=("bitsandbytes",),
            beside={"dtype": "bfloat16"},
        )
        for name in ("nf4", "nf4_double", "fp4")
    ),
    KnobCase(
        {"quantization": "torchao_int8"}, ("type(linear.weight).__name__ == 'Int8Tensor'",), packages=("torchao",),
        beside={"dtype": "bfloat16"},
    ),
    KnobCase(
        {"quantization": "torchao_int8", "compile": "forward"},
        ("type(linear.weight).__name__ == 'Int8Tensor'", "seen.graphs > 0"),
        packages=("torchao",),
        beside={"dtype": "bfloat16"},
        model="layer",
    ),
    KnobCase(
        {"quantization": "torchao_int4"}, ("'Int4' in type(linear.weight).__name__",), packages=("torchao",),
        beside={"dtype": "bfloat16"},
        cpu="no packing of torchao 0.18 converts for a CPU; its IntxWeightOnlyConfig runs, but keeps 4 bits in 8",
    ),
    *(
        KnobCase(
            {"quantization": f"quanto_{bits}"},
            ("type(linear).__name__ == 'QLinear'", f"linear.weight_qtype.name == 'q{bits}'"),
            packages=("optimum.quanto",),
            beside={"dtype": "bfloat16"},
        )
        for bits in ("int8", "int4")
    ),
    KnobCase(
        {"quantization": "fp8"}, ("linear.weight.dtype == torch.float8_e4m3fn",), beside={"dtype": "bfloat16"},
        cpu="the library quantizes to fp8 on a GPU or XPU alone",
    ),
)  # fmt: skip

LAYERS = (
    KnobCase({"use_kernels": True}, ("model.use_kernels",), packages=("kernels",), gpu=HUB),
    *(
        KnobCase(
            {"experts_implementation": name},
            (f"model.config._experts_implementation == '{name}'",),
            model="experts",
            same_tokens=name != "grouped_mm",
        )
        for name in ("eager", "batched_mm", "grouped_mm")
    ),
    KnobCase({"matmul_precision": "high"}, ("torch.get_float32_matmul_precision() == 'high'",)),
)

NO_GPTQMODEL = "both are read by gptqmodel, whose release 7.7 asks for torch 2.14.1 and was not installed"
FOUND = (
    KnobCase(
        {},
        ("type(linear).__name__ == 'Linear4bit'", "linear.weight.quant_type == 'nf4'"),
        packages=("bitsandbytes",),
        checkpoint="bitsandbytes_nf4",
        beside={"dtype": None},
        title="bitsandbytes nf4",
    ),
    KnobCase(
        {},
        ("type(model.hf_quantizer).__name__ == 'CompressedTensorsHfQuantizer'", "hasattr(linear, 'weight_scale')"),
        packages=("compressed_tensors",),
        checkpoint="compressed_int8",
        beside={"dtype": None},
        title="compressed-tensors int8",
    ),
    *(
        KnobCase(
            {},
            checkpoint=f"{name}_by_name",
            beside={"dtype": None},
            fails=r"requires (optimum|gptqmodel)",
            without="gptqmodel",
            title=f"{name.upper()} without gptqmodel",
            gpu=NO_GPTQMODEL,
        )
        for name in ("gptq", "awq")
    ),
)

CASES = (*PLACEMENT, *ATTENTION, *QUANTIZED, *LAYERS, *FOUND)
