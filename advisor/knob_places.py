"""Where each knob of the setup acts in the library: symbols as rules name them in `locate`.

A symbol is `module:Name`, with `(argument)` behind it for an argument that it takes. The modules are those of current
transformers; `perf-advisor where` says for each whether the installed version has it.
"""

_LOAD = "transformers:PreTrainedModel.from_pretrained"
_GENERATE = "transformers:GenerationConfig"
_CALL = "transformers.generation.utils:GenerationMixin"
_CONTINUOUS = "transformers.generation.configuration_utils:ContinuousBatchingConfig"
_TOKENIZER = "transformers:PreTrainedTokenizerBase"
_TRAIN = "transformers:TrainingArguments"

KNOB_PLACES: dict[str, tuple[str, ...]] = {
    "device": ("transformers:PreTrainedModel.to",),
    "device_map": (f"{_LOAD}(device_map)",),
    "max_memory": (f"{_LOAD}(max_memory)",),
    "dtype": (f"{_LOAD}(dtype)",),
    "attn_implementation": (f"{_LOAD}(attn_implementation)", "transformers:PreTrainedModel.set_attn_implementation"),
    "attn_at_run_time": ("transformers:PreTrainedModel.set_attn_implementation",),
    "sdpa_backend": ("torch.nn.attention:sdpa_kernel(backends)",),
    "use_cache": (f"{_GENERATE}(use_cache)",),
    "cache_implementation": (f"{_GENERATE}(cache_implementation)",),
    "cache_backend": (f"{_GENERATE}(cache_config)", "transformers.cache_utils:QuantizedCache(backend)"),
    "cache_bits": (f"{_GENERATE}(cache_config)", "transformers.cache_utils:QuantizedLayer(nbits)"),
    "keep_cache": ("transformers:StaticCache(max_cache_len)",),
    "prefill_chunk_size": (f"{_GENERATE}(prefill_chunk_size)",),
    "speculation": ("transformers.generation.candidate_generator:PromptLookupCandidateGenerator",),
    "assistant_model": (f"{_CALL}.generate(assistant_model)",),
    "prompt_lookup_num_tokens": (f"{_GENERATE}(prompt_lookup_num_tokens)",),
    "compile": (f"{_CALL}._valid_auto_compile_criteria", "torch:compile"),
    "compile_mode": ("transformers:CompileConfig(mode)", "torch:compile(mode)"),
    "compile_fullgraph": ("transformers:CompileConfig(fullgraph)", "torch:compile(fullgraph)"),
    "quantization": (f"{_LOAD}(quantization_config)", "transformers:BitsAndBytesConfig"),
    "use_kernels": (f"{_LOAD}(use_kernels)",),
    "experts_implementation": (f"{_LOAD}(experts_implementation)",),
    "matmul_precision": ("torch:set_float32_matmul_precision",),
    "batching": (f"{_CALL}.generate", f"{_CALL}.generate_batch"),
    "batch_size": (f"{_CALL}.generate(inputs)",),
    "padding_side": (f"{_TOKENIZER}(padding_side)",),
    "pad_to_multiple_of": (f"{_TOKENIZER}.__call__(pad_to_multiple_of)",),
    "max_batch_tokens": (f"{_CONTINUOUS}(max_batch_tokens)",),
    "threads": ("torch:set_num_threads",),
    "interop_threads": ("torch:set_num_interop_threads",),
    "huge_pages": ("torch:Tensor",),
    "allocator": ("torch.cuda.memory:memory_snapshot",),
    "page_size": (f"{_CONTINUOUS}(page_size)",),
    "tensor_parallel": ("transformers.distributed:DistributedConfig(tp_size)", f"{_LOAD}(tp_plan)"),
    "engine": (f"{_CALL}.generate", "transformers.cli.serve:Serve"),
    "adapters": ("transformers.integrations.peft:PeftAdapterMixin.add_adapter", "peft:LoraConfig"),
    "optimizer": (f"{_TRAIN}(optim)",),
    "mixed_precision": (f"{_TRAIN}(bf16)", f"{_TRAIN}(fp16)"),
    "gradient_checkpointing": (f"{_TRAIN}(gradient_checkpointing)",),
    "eval_accumulation_steps": (f"{_TRAIN}(eval_accumulation_steps)",),
    "padding_free": ("transformers:DataCollatorWithFlattening",),
}
