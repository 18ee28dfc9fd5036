"""Every fact of the machine, the model and an estimate, declared once. Knobs are declared in setup.py, the workload's
fields in workload.py; `advisor.rulebook.vocabulary()` joins all three.

`gpu.*` is the device that torch uses first; the devices one by one are `gpu.0.*`, `gpu.1.*` ... as torch numbers them.
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

_NAMED_SO = (
    *("accelerate", "bitsandbytes", "kernels", "gptqmodel", "torchao", "triton"),
    *("hqq", "gguf", "optimum", "peft", "trl"),
)
_NAMED_OTHERWISE = (
    *(("flash_attn", "flash-attn (2)"), ("flash_attn_3", "flash attention 3"), ("flash_attn_4", "flash attention 4")),
    *(("quanto", "optimum-quanto"), ("compressed_tensors", "compressed-tensors")),
    *(("deepspeed", "DeepSpeed"), ("vllm", "vLLM"), ("sglang", "SGLang")),
)
PACKAGES = {**{name: name for name in _NAMED_SO}, **dict(_NAMED_OTHERWISE)}
"""Packages beside torch and transformers, as facts name them, and as a line names them."""

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
    ("transformers.cache_implementations", L, "ways of keeping keys and values that the installed transformers takes"),
    ("transformers.cache_implementations_deprecated", L, "those that it still takes and calls deprecated"),
    ("transformers.quantizers", L, "quantization methods that the installed transformers carries out"),
    ("transformers.loading_arguments", L, "arguments of from_pretrained in the installed transformers"),
    ("transformers.generation_settings", L, "settings of GenerationConfig in the installed transformers"),
    ("transformers.continuous_settings", L, "settings of continuous batching in the installed transformers"),
    ("transformers.compile_settings", L, "settings of CompileConfig in the installed transformers"),
    ("transformers.training_settings", L, "settings of TrainingArguments in the installed transformers"),
    ("transformers.serve", F, "the command `transformers serve` has OpenAI endpoints"),
    ("kernels.accepted", F, "the installed transformers accepts this version of kernels"),
    ("environment.inductor_cache", F, "a folder for compiled code is set (TORCHINDUCTOR_CACHE_DIR)"),
    ("compiler.found", F, "a C++ compiler that Inductor would use is on the path"),
) + _declare(
    *((f"{name}.installed", F, f"{label} is installed") for name, label in PACKAGES.items()),
    *((f"{name}.version", V, f"{label} of the target environment") for name, label in PACKAGES.items()),
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

_RATES = (
    ("gemv_{}_bytes_per_second", "{} weight bytes a decode step of one prompt reads per second"),
    ("gemm_{}_flops_per_second", "{} rate of matrix products of 256 rows"),
    ("small_gemm_{}_flops_per_second", "{} rate of matrix products of 8 rows"),
    ("kv_{}_bytes_per_second", "{} keys and values, one pair per query head, a step gets through"),
)
_RATES_BY_SIZE = (
    ("narrow_gemv_{}_bytes_per_second", "{} weight bytes a step of one prompt reads per second, hidden size 384"),
    ("narrow_small_gemm_{}_flops_per_second", "{} rate of matrix products of 8 rows, hidden size 384"),
    ("wide_gemv_{}_bytes_per_second", "{} weight bytes a step of one prompt reads per second, hidden size 2048"),
    ("wide_small_gemm_{}_flops_per_second", "{} rate of matrix products of 8 rows, hidden size 2048"),
    ("narrow_head_gemv_{}_bytes_per_second", "{} bytes of an output projection of width 512 read per second"),
    ("narrow_head_small_gemm_{}_flops_per_second", "{} rate of an output projection of width 512, 8 rows"),
    ("head_gemv_{}_bytes_per_second", "{} bytes of an output projection of width 1024 read per second"),
    ("head_small_gemm_{}_flops_per_second", "{} rate of an output projection of width 1024, 8 rows"),
)


def _rates(rows: tuple[tuple[str, str], ...], types: tuple[tuple[str, str], ...]) -> tuple[tuple[str, Kind, str], ...]:
    return tuple((f"speed.{name.format(kind)}", N, line.format(short)) for name, line in rows for kind, short in types)


CALIBRATION = _declare(
    ("speed.device", T, "device on which the constants were measured: cpu or the GPU's name"),
    ("speed.layer_host_seconds", N, "host time to launch one decoder layer of an eager model"),
    ("speed.step_host_seconds", N, "host time of one generated token outside the layers"),
    ("speed.threads", C, "threads used while measuring"),
    *_rates(_RATES, (("float32", "fp32"), ("bfloat16", "bf16"), ("float16", "fp16"))),
    *_rates(_RATES_BY_SIZE, (("float32", "fp32"), ("bfloat16", "bf16"))),
    ("speed.process_bytes", C, "resident memory of a process that has imported torch and transformers"),
)

BY_SIZE = frozenset(name for name, _, _ in _rates(_RATES_BY_SIZE, (("float32", ""), ("bfloat16", ""))))
"""Constants that are measured on a CPU alone."""
OLDER_CALIBRATION = _declare(
    *_rates(
        (("layer_{}_seconds", "time of one {} decoder layer on the CPU beside reading weights and cache"),),
        (("float32", "fp32"), ("bfloat16", "bf16"), ("float16", "fp16")),
    )
)
"""What machines hold that older versions recorded."""
LEARNT = _declare(
    ("speed.learnt", L, "measured over predicted speed of own runs, by kind of setup"),
    ("speed.learnt_runs", C, "own runs that were learnt from"),
)

MODEL = _declare(
    ("model.name", T, "the name under which the model is loaded: a Hub id or a path"),
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
    ("model.full_layers", C, "layers that attend to every token, which a cache then keeps"),
    ("model.sliding_layers", C, "layers that attend to a window, which a cache then keeps"),
    ("model.linear_layers", C, "layers with a state of constant size instead of a cache"),
    ("model.sliding_window_tokens", C, "length of the window"),
    ("model.linear_state_bytes", C, "recurrent state of all linear layers for one sequence, kept in fp32"),
    ("model.linear_width", C, "width of the values of one token in a linear layer, all heads together"),
    ("model.linear_conv_values", C, "values of their convolution states for one sequence, kept in the weights' type"),
    ("model.kv_latent_values", C, "values cached per token and layer by latent attention (MLA)"),
    ("model.experts", C, "routed experts per MoE layer, 0 for a dense model"),
    ("model.expert_width", C, "width of the MLP of one routed expert"),
    ("model.experts_looped", F, "the experts of a layer are computed one after another in a Python loop"),
    ("model.experts_active", C, "routed experts used for one token"),
    ("model.tied_embeddings", F, "output projection and input embedding are one matrix"),
    ("model.checkpoint_dtype", T, "floating-point type stored in the checkpoint"),
    ("model.config_dtype", T, "floating-point type that the config asks for"),
    ("model.checkpoint_quantization", T, "quantization of the checkpoint, none if plain"),
    ("model.checkpoint_bytes", C, "size of the weight files"),
    ("model.decoder_only", F, "generates with a decoder alone"),
    ("model.encoder_only", F, "reads texts and generates none"),
    ("model.supports_sdpa", F, "the class runs with SDPA"),
    ("model.supports_flash_attention", F, "the class runs with flash attention"),
    ("model.supports_flex_attention", F, "the class runs with flex attention"),
    ("model.supports_tp", F, "the class can be spread over devices by a tensor-parallel plan"),
    ("model.auto_compile", L, "where generate compiles the model by itself: cuda, cpu, quantized, offloaded"),
    ("model.mtp_layers", C, "layers that predict several tokens at once (MTP)"),
    ("model.supports_static_cache", F, "the class can be compiled with a static cache"),
    ("model.library_knows", F, "the installed transformers has this model_type"),
    ("model.needs_remote_code", F, "the config asks for code from the repository"),
    ("model.quantization_known", F, "the installed transformers carries the checkpoint's quantization out"),
    ("model.heads_divide", F, "query heads and key and value heads divide evenly by the number of devices"),
    ("model.tensor_parallel_size", C, "most devices here by which query heads and key and value heads divide evenly"),
    ("model.overflows_fp16", F, "the model's activations are known to leave the range of fp16"),
    ("model.tokenizer", F, "a tokenizer is beside the weights"),
)

DEVICE = _declare(
    ("device.memory_free_bytes", C, "free memory of the device that the setup uses"),
    ("device.fast_bf16", F, "the device of the setup multiplies bf16 faster than fp32"),
    ("device.fast_fp16", F, "the device of the setup multiplies fp16 faster than fp32"),
    ("device.fast_tf32", F, "the device of the setup has TF32 units"),
    ("device.fast_fp8", F, "the device of the setup multiplies fp8"),
    ("device.inductor", F, "torch.compile writes kernels for the device of the setup"),
    ("device.memory_all_free_bytes", C, "free memory of all devices of that kind together"),
    ("device.unequal_free_memory", F, "one device has less than 80 % of the free memory of another"),
    ("continuous.limited", F, "the setup says how many tokens a step of continuous batching takes"),
    ("attention.flash", F, "the attention backend is FlashAttention, by package or by a kernel from the Hub"),
    ("attention.flash_version", C, "its version: 2, 3 or 4"),
    ("device.threads_exceed_cores", F, "more threads are set than cores can be used"),
    ("device.accelerator_idle", F, "the setup runs on the CPU although torch can use an accelerator"),
)

ESTIMATE = _declare(
    ("workload.total_tokens", C, "length of one sequence when generation ends"),
    ("estimate.fits", F, "the setup's predicted memory fits what is free"),
    ("estimate.weights_fit", F, "the setup's weights alone fit what is free"),
    ("estimate.bound", T, "what dominates a decode step: host, bandwidth or compute"),
    ("estimate.weights_share", N, "share of the free memory that the weights take"),
    ("estimate.cache_share", N, "share of the predicted memory that keys and values take"),
    (
        "estimate.largest_batch",
        C,
        "prompts in one call when all of this workload are spread evenly over as few calls as fit",
    ),
    ("estimate.largest_shared_batch", C, "the same of the prompts of all requests in flight"),
    ("estimate.sorted_batch", C, "texts of one batch once all are sorted by length: an eighth of them, if that fits"),
    ("estimate.batch_leaves_room", F, "fewer calls than now would do for the prompts at hand"),
    ("estimate.largest_context", C, "tokens of the longest sequence that fits with this batch"),
    ("estimate.one_prompt_fits", F, "the setup would fit with one prompt in a call"),
    ("estimate.one_device_fits", F, "the setup would fit on one device, without a device_map"),
    ("estimate.plain_cache_fits", F, "the setup with a growing cache in the weights' type on the device would fit"),
    ("estimate.total_bytes", C, "predicted memory of the setup"),
    ("estimate.weights_bytes", C, "predicted memory of its weights"),
    ("estimate.weights_to_fit_bytes", C, "the most that weights may take to fit, with one prompt in a call"),
    ("estimate.bits_to_fit", N, "the same in bits for each weight on average"),
    ("estimate.offloaded_bytes", C, "weights that find no room on the devices"),
    ("estimate.offloaded_share", N, "the same as a share of the weights"),
    ("estimate.disk_bytes", C, "weights that find no room on the devices nor in host memory"),
    ("estimate.machines", C, "machines like this one whose devices together hold the setup"),
    ("estimate.even_max_memory", L, "weights for each device in proportion to its free memory (a max_memory)"),
    ("estimate.activation_share", N, "share of the predicted memory that activations take at their peak"),
    ("estimate.prefill_share", N, "share of a request's time until its first token"),
    ("estimate.decode_tokens_per_second", N, "predicted new tokens per second while decoding"),
    ("estimate.in_flight_limit", C, "requests that continuous batching can hold at a time, where they are not all"),
    ("estimate.batch_tokens", C, "tokens of one step of continuous batching that memory allows"),
    ("estimate.compile_break_even_calls", C, "requests after which compilation has paid back, at the latest"),
    ("estimate.speculation_break_even", N, "share of drafted tokens that must be accepted for speculation to pay"),
    (
        "estimate.micro_batch",
        C,
        "sequences of a training step that fit in one pass and divide the step evenly; 0: none",
    ),
    ("estimate.micro_batch_tokens", C, "tokens of these sequences"),
    ("estimate.small_steps_fit", F, "training as it is set up fits with checkpoints and one sequence at a time"),
    ("estimate.full_training_fits", F, "all weights can be trained here: checkpoints, 8-bit states, single sequences"),
    ("estimate.float32_micro_batch", C, "sequences of one pass that fit with float32 weights and checkpoints; 0: none"),
    ("estimate.float32_passes", C, "passes of so many sequences that make up one step of training"),
    ("estimate.float32_training_fits", F, "the setup would fit with float32 weights and products in 16 bits"),
    (
        "estimate.sharded_float32_bytes",
        C,
        "float32 weights, gradients and states of full training, shared among all GPUs",
    ),
    ("estimate.sharded_training_fits", F, "such a share fits on one GPU, with one sequence and checkpoints beside it"),
    ("estimate.fp16_adapters_fit", F, "the setup would fit with adapters over float16 weights"),
    ("estimate.eight_bit_states_fit", F, "all weights can be trained so with 8-bit states on the device"),
    ("estimate.adapters_fit", F, "adapters over the weights as they are fit, with checkpoints and single sequences"),
)

DECLARATIONS = GPU + SOFTWARE + HOST + CALIBRATION + OLDER_CALIBRATION + LEARNT + MODEL + DEVICE + ESTIMATE
