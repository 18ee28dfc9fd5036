"""Every fact of the machine, the model and an estimate, declared once. Knobs are declared in setup.py, the workload's
fields in workload.py; `advisor.rulebook.vocabulary()` joins all three.

`gpu.*` is the device that torch uses first; the devices one by one are `gpu.0.*`, `gpu.1.*` ... in NVML's order.
"""

from advisor.facts import Declaration, Kind

F, C, N, V, T, L = Kind.FLAG, Kind.COUNT, Kind.NUMBER, Kind.VERSION, Kind.NAME, Kind.NAMES


def _declare(*rows: tuple[str, Kind, str]) -> tuple[Declaration, ...]:
    return tuple(Declaration(name, kind, line) for name, kind, line in rows)


GPU = _declare(
    ("gpu.count", C, "accelerators that torch may use"),
    ("gpu.name", T, "product name as the driver gives it"),
    ("gpu.vendor", T, "nvidia, amd, intel or apple"),
    ("gpu.index", C, "the driver's index of the device that torch uses first"),
    ("gpu.capability", N, "CUDA compute capability, major.minor"),
    ("gpu.memory_total_bytes", C, "memory of the device"),
    ("gpu.memory_free_bytes", C, "memory of the device that nobody holds now"),
    ("gpu.memory_others_bytes", C, "memory held by other processes"),
    ("gpu.bus_width_bits", C, "width of the memory bus"),
    ("gpu.memory_clock_mhz", C, "highest memory clock"),
    ("gpu.bandwidth_bytes_per_second", N, "memory bandwidth: bus width x clock x 2 / 8"),
    ("gpu.utilization_percent", C, "share of the last second in which a kernel ran"),
    ("gpu.mig", F, "the device is partitioned (MIG)"),
    ("gpu.driver", V, "driver version"),
    ("gpu.driver_cuda", V, "newest CUDA that the driver supports"),
    ("gpu.bf16_flops_per_second", N, "dense bf16 rate from the device catalog"),
    ("gpu.fp16_flops_per_second", N, "dense fp16 rate with fp32 accumulation from the device catalog"),
    ("gpu.fp32_flops_per_second", N, "dense fp32 rate from the device catalog"),
)

SOFTWARE = _declare(
    ("python.version", V, "Python of the target environment"),
    ("torch.version", V, "torch of the target environment"),
    ("torch.installed", F, "torch can be imported"),
    ("torch.build", T, "cpu, cuda, rocm, xpu or mps"),
    ("torch.cuda", V, "CUDA that torch was built with"),
    ("torch.sees_gpu", F, "torch finds a device it can use"),
    ("torch.bf16", F, "torch says that the accelerator runs bf16"),
    ("torch.threads", C, "threads of one operator by default"),
    ("transformers.version", V, "transformers of the target environment"),
    ("transformers.installed", F, "transformers can be found"),
    ("transformers.attention", L, "attention backends the installed transformers registers"),
    ("transformers.kernels_range", T, "range of kernels versions the installed transformers accepts"),
    ("accelerate.version", V, "accelerate of the target environment"),
    ("accelerate.installed", F, "accelerate is installed"),
    ("bitsandbytes.version", V, "bitsandbytes of the target environment"),
    ("bitsandbytes.installed", F, "bitsandbytes is installed"),
    ("kernels.version", V, "kernels of the target environment"),
    ("kernels.installed", F, "kernels is installed"),
    ("kernels.accepted", F, "the installed transformers accepts this version of kernels"),
    ("flash_attn.version", V, "flash-attn (2) of the target environment"),
    ("flash_attn.installed", F, "flash-attn (2) is installed"),
    ("flash_attn_3.installed", F, "flash attention 3 is installed"),
    ("flash_attn_3.version", V, "flash attention 3 of the target environment"),
    ("gptqmodel.installed", F, "gptqmodel is installed"),
    ("gptqmodel.version", V, "gptqmodel of the target environment"),
    ("torchao.installed", F, "torchao is installed"),
    ("torchao.version", V, "torchao of the target environment"),
    ("quanto.installed", F, "optimum-quanto is installed"),
    ("quanto.version", V, "optimum-quanto of the target environment"),
    ("triton.installed", F, "triton is installed"),
    ("triton.version", V, "triton of the target environment"),
    ("compiler.found", F, "a C++ compiler that Inductor would use is on the path"),
)

HOST = _declare(
    ("host.os", T, "linux, windows or darwin"),
    ("host.cpu", T, "CPU model"),
    ("host.cores_total", C, "logical cores of the machine"),
    ("host.cores_usable", C, "whole cores this process may use (affinity and cgroup quota)"),
    ("host.avx512_bf16", F, "the CPU multiplies bf16 (AVX512-BF16)"),
    ("host.amx_bf16", F, "the CPU multiplies bf16 matrices (AMX)"),
    ("host.arm_bf16", F, "the CPU multiplies bf16 (Arm BF16)"),
    ("host.fp16_units", F, "the CPU multiplies fp16 (AVX512-FP16 or AMX-FP16, or Arm FP16)"),
    ("host.ram_total_bytes", C, "memory of the machine, or the cgroup's limit if lower"),
    ("host.ram_available_bytes", C, "memory that can be had now, the cgroup's limit counted"),
    ("host.disk_free_bytes", C, "free disk in the folder where models are cached"),
    ("host.container", F, "runs in a container"),
    ("host.wsl", F, "runs in the Windows Subsystem for Linux"),
)

CALIBRATION = _declare(
    ("speed.device", T, "device on which the constants were measured: cpu or the GPU's name"),
    ("speed.layer_host_seconds", N, "host time to launch one decoder layer of an eager model"),
    ("speed.step_host_seconds", N, "host time of one generated token outside the layers"),
    ("speed.threads", C, "threads used while measuring"),
    ("speed.gemv_float32_bytes_per_second", N, "fp32 weight bytes a decode step of one prompt reads per second"),
    ("speed.gemv_bfloat16_bytes_per_second", N, "bf16 weight bytes a decode step of one prompt reads per second"),
    ("speed.gemv_float16_bytes_per_second", N, "fp16 weight bytes a decode step of one prompt reads per second"),
    ("speed.gemm_float32_flops_per_second", N, "fp32 rate of matrix products of 256 rows"),
    ("speed.gemm_bfloat16_flops_per_second", N, "bf16 rate of matrix products of 256 rows"),
    ("speed.gemm_float16_flops_per_second", N, "fp16 rate of matrix products of 256 rows"),
    ("speed.small_gemm_float32_flops_per_second", N, "fp32 rate of matrix products of 8 rows"),
    ("speed.small_gemm_bfloat16_flops_per_second", N, "bf16 rate of matrix products of 8 rows"),
    ("speed.small_gemm_float16_flops_per_second", N, "fp16 rate of matrix products of 8 rows"),
    ("speed.kv_float32_bytes_per_second", N, "fp32 keys and values, one pair per query head, a step gets through"),
    ("speed.kv_bfloat16_bytes_per_second", N, "bf16 keys and values, one pair per query head, a step gets through"),
    ("speed.kv_float16_bytes_per_second", N, "fp16 keys and values, one pair per query head, a step gets through"),
    ("speed.process_bytes", C, "resident memory of a process that has imported torch and transformers"),
)

MODEL = _declare(
    ("model.architecture", T, "class named in the config"),
    ("model.type", T, "model_type of the config"),
    ("model.parameters", C, "all parameters, tied ones counted once"),
    ("model.parameters_active", C, "parameters used for one token (MoE: routed experts only)"),
    ("model.parameters_embedding", C, "lookup tables: input embedding, learned positions"),
    ("model.parameters_head", C, "output projection, 0 if tied"),
    ("model.parameters_linear", C, "linear layers inside the blocks, experts included"),
    ("model.parameters_other", C, "norms, biases, routers, convolutions"),
    ("model.parameters_experts", C, "linear layers of all routed experts"),
    ("model.parameters_rest", C, "parameters beside the language model (images, sound), part of all parameters"),
    ("model.parameters_quantizable", C, "weights that quantization on load reaches in the installed transformers"),
    ("model.layers", C, "decoder layers"),
    ("model.hidden_size", C, "width of the residual stream"),
    ("model.intermediate_size", C, "width of the MLP that one token goes through"),
    ("model.heads", C, "query heads"),
    ("model.kv_heads", C, "key and value heads"),
    ("model.head_dim", C, "width of one key head"),
    ("model.value_head_dim", C, "width of one value head"),
    ("model.vocab_size", C, "tokens in the vocabulary"),
    ("model.context_tokens", C, "longest sequence the model was made for"),
    ("model.attention_kind", T, "MHA, GQA, MQA, MLA, sliding, hybrid or linear"),
    ("model.full_layers", C, "layers whose cache keeps every token"),
    ("model.sliding_layers", C, "layers whose cache keeps a window"),
    ("model.linear_layers", C, "layers with a state of constant size instead of a cache"),
    ("model.sliding_window_tokens", C, "length of the window"),
    ("model.linear_state_bytes", C, "recurrent state of all linear layers for one sequence, kept in fp32"),
    ("model.linear_width", C, "width of the values of one token in a linear layer, all heads together"),
    ("model.linear_conv_values", C, "values of their convolution states for one sequence, kept in the weights' type"),
    ("model.kv_latent_values", C, "values cached per token and layer by latent attention (MLA)"),
    ("model.experts", C, "routed experts per MoE layer, 0 for a dense model"),
    ("model.expert_width", C, "width of the MLP of one routed expert"),
    ("model.experts_active", C, "routed experts used for one token"),
    ("model.tied_embeddings", F, "output projection and input embedding are one matrix"),
    ("model.checkpoint_dtype", T, "floating-point type stored in the checkpoint"),
    ("model.config_dtype", T, "floating-point type that the config asks for"),
    ("model.checkpoint_quantization", T, "quantization of the checkpoint, none if plain"),
    ("model.checkpoint_bytes", C, "size of the weight files"),
    ("model.decoder_only", F, "generates with a decoder alone"),
    ("model.supports_sdpa", F, "the class runs with SDPA"),
    ("model.supports_flash_attention", F, "the class runs with flash attention"),
    ("model.supports_flex_attention", F, "the class runs with flex attention"),
    ("model.supports_static_cache", F, "the class can be compiled with a static cache"),
    ("model.library_knows", F, "the installed transformers has this model_type"),
    ("model.needs_remote_code", F, "the config asks for code from the repository"),
    ("model.tokenizer", F, "a tokenizer is beside the weights"),
)

DEVICE = _declare(
    ("device.memory_free_bytes", C, "free memory of the device that the setup uses"),
    ("device.fast_bf16", F, "the device of the setup multiplies bf16 faster than fp32"),
    ("device.fast_fp16", F, "the device of the setup multiplies fp16 faster than fp32"),
    ("device.threads_exceed_cores", F, "more threads are set than cores can be used"),
    ("device.accelerator_idle", F, "the setup runs on the CPU although torch can use an accelerator"),
)

ESTIMATE = _declare(
    ("estimate.fits", F, "the setup's predicted memory fits what is free"),
    ("estimate.weights_fit", F, "the setup's weights alone fit what is free"),
    ("estimate.bound", T, "what dominates a decode step: host, bandwidth or compute"),
    ("estimate.weights_share", N, "share of the free memory that the weights take"),
    ("estimate.cache_share", N, "share of the predicted memory that keys and values take"),
    ("estimate.largest_batch", C, "prompts of this workload that fit in one call"),
)

DECLARATIONS = GPU + SOFTWARE + HOST + CALIBRATION + MODEL + DEVICE + ESTIMATE
