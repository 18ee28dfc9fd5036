"""What the program was doing when it failed, from the calls around the message; the innermost that tells counts."""

from collections.abc import Sequence

from advisor.reading.squeezed import phrase

# Phase, and the calls, paths and log words that tell it. Sources: torch, transformers, accelerate, deepspeed, vLLM.
_PHASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("optimizer", ("optimizer.step(", "_multi_tensor_adam", "_single_tensor_adam", "exp_avg", "_foreach_",
                   "in step ...adam",
                   "run_optimizer_step", "_maybe_opt_step", "optim/adam", "bitsandbytes/optim", "_step_supports_amp")),
    ("backward", ("loss.backward(", "run_backward(", "autograd.backward(", "accelerator.backward(", "Function.backward",
                  "in backward", "scaler.scale(loss", ".backward()")),
    ("save_checkpoint", ("save_checkpoint", "save_pretrained(", "_save_checkpoint", "state_dict_type", "in state_dict",
                         "torch.save(", "_state_dict_utils", "save_model(", "_save(")),
    ("eval_accumulation", ("evaluation_loop", "prediction_loop", "nested_concat", "trainer.evaluate(",
                           "trainer.predict(",
                           "prediction_step", "compute_metrics", "self.evaluate(")),
    ("quantize", ("module_looper", "gptqmodel", "auto_gptq", "awq/quantize", "hessian", "model.quantize(",
                  "fasterquant",
                  "quantize_model(", "llmcompressor", "oneshot(")),
    ("compile", ("capture_model", "cuda_graph", "cudagraph", "CUDAGraph", "_inductor", "torch.compile(",
                 "graph_capture",
                 "Capturing CUDA graph")),
    ("logits", ("lm_head(", "logits.float(", "logits /", "cross_entropy(", "log_softmax(", "compute_logits",
                "selective_log_softmax", "logsumexp")),
    ("load", ("from_pretrained(", "load_state_dict", "load_checkpoint", "torch.load(", "_load_pretrained_model",
              "load_model(",
              "in load_model", "in create_weights", "_initialize_model(", "in initialize_model",
              "set_module_tensor_to_device", "Loading checkpoint shards", "load_weights", "safe_open", "in __init__",
              "create_and_replace_params", "set_default_tensor_type", "nn.Linear(", "materialize", "init_weights",
              "__deepcopy__", "from_preset(", "load_params(", "in load_params", "load_file(",
             "caching_allocator_warmup", "Loading model")),
    ("to_device", ("model.to(", "pipe.to(", "in convert", ".to(cuda",
                   ".cuda()", "in _apply", "_move_model_to_device", "t.to(device", "module._apply(",
                   "param_applied = fn(", ".to(device)", "dispatch_model(", "device_put(", "patch_model_to(",
                   "load_models_gpu(", "self.model_load(", "partially_load(")),
    ("decode", ("beam_sample", "beam_search", "in _sample", "self._sample(", "self.sample(", "in greedy_search",
                "past_key_values", "_decode(", "setup_caches", "allocate_kv_cache", "k_cache", "cache.update(",
                "key_states = torch.cat", "decode_one_token", "Output generated in")),
    ("serve_startup", ("determine_num_available_blocks", "profile_run", "initialize_cache", "launch_server",
                       "self.warmup(", "model.warmup(",
                       "_initialize_kv_caches", "init_device", "EngineCore failed to start", "initialize_kv_cache",
                       "llama_new_context_with_model", "llama_init_from_model", "determine_available_memory")),
    ("train_forward", ("training_step", "trainer.train(", "train_one_epoch", "_inner_training_loop", "compute_loss",
                       "in train", "train(", "loss = ", "criterion(", "train.py", "optimizer", "train_loader",
                       "finetune", "'loss':", "epoch")),
    ("prefill", ("model.generate(", "generate(", "_prefill(", "in forward", "forward_call(", "pipeline(", "inference",
                 "execute_model", "self.forward(", "predict(")),
)  # fmt: skip
_PROMPT = ("in _prefill", "self._prefill(")
_GENERAL = ("train_forward", "prefill", "decode")
"""Phases that stand far out on the stack: they count only where no inner call says more."""


def phase(squeezed: str, start: int, end: int) -> str | None:
    """The phase whose call stands innermost in squeezed[start:end]; general ones only where nothing else is told."""
    special = _innermost(squeezed, start, end, [row for row in _PHASES if row[0] not in _GENERAL])
    if special is not None:
        return special
    for name in ("decode", "train_forward", "prefill"):
        if _innermost(squeezed, start, end, [row for row in _PHASES if row[0] == name]) is not None:
            return "prefill" if name == "decode" and _in_prompt(squeezed, start, end) else name
    return None


def _in_prompt(squeezed: str, start: int, end: int) -> bool:
    """Whether generation's own call for the prompt stands further in than any call of decoding."""
    rows = [row for row in _PHASES if row[0] == "decode"]
    return _innermost(squeezed, start, end, [*rows, ("prefill", _PROMPT)]) == "prefill"


def _innermost(squeezed: str, start: int, end: int, rows: Sequence[tuple[str, tuple[str, ...]]]) -> str | None:
    best: tuple[int, str] | None = None
    for name, words in rows:
        for word in words:
            place = phrase(word).last(squeezed, start, end)
            if place and (best is None or place[0] > best[0]):
                best = place[0], name
    return best[1] if best else None
