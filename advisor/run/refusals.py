"""What a recipe refuses to write, with all reasons together: values, models and combinations that cannot be run."""

from collections.abc import Iterator

from packaging.version import Version

from advisor.conflicts import conflict, quantizes, speculates
from advisor.errors import Mistake
from advisor.plan import MODEL_KINDS
from advisor.run.generating import CONTINUOUS_SINCE, prompts_at_hand, prompts_per_call
from advisor.run.serve_engine import SERVE_SINCE
from advisor.run.serving import arrivals_of
from advisor.run.subject import Subject
from advisor.run.tensor_parallel import RANKS_SINCE, splits
from advisor.setup import Setup, knobs, unusable
from advisor.workload import wrong_arrivals

# The first transformers that knows what a knob is written as.
EXPERTS_SINCE = Version("5.0")
KERNELS_SINCE = Version("4.53")
CHUNKS_SINCE = Version("4.51")
DRAFTING_SINCE = {"assistant": Version("4.29"), "prompt_lookup": Version("4.37")}
QUANTIZERS_SINCE = {"torchao": Version("4.45"), "quanto": Version("4.40"), "fp8": Version("4.49")}
QUANTIZED_CACHE_SINCE = Version("4.42")
FP8_CACHE_SINCE = Version("5.21")
SET_ATTENTION_SINCE = Version("4.54")
# Before, a StaticCache had to be told device and type of its tensors too.
KEPT_CACHE_SINCE = Version("4.56")
# torch.nn.attention.sdpa_kernel, and cuDNN as one of its backends.
SDPA_KERNEL_SINCE = {False: Version("2.3"), True: Version("2.5")}
# Values that change nothing about training, so that a setup may carry them through a measurement of generation.
NOT_TRAINING = {
    "adapters": "none",
    "optimizer": "adamw",
    "mixed_precision": "none",
    "gradient_checkpointing": False,
    "padding_free": False,
}
TRAINING = (*NOT_TRAINING, "eval_accumulation_steps")


def refusals(subject: Subject, setup: Setup) -> list[Mistake]:
    """Every reason why there is no program for `setup`; empty where there is one.

    Knobs are held against each other once each value alone is right.
    """
    if other := _other_task(subject):
        return [other]
    values, model = list(_values(setup)), list(_model(subject))
    if values:
        return [*values, *model]
    if wrong := conflict(setup):
        return [*model, Mistake("setup", wrong)]
    return [*model, *_training(setup), *_workload(subject, setup), *_versions(subject, setup)]


def _other_task(subject: Subject) -> Mistake | None:
    """Why nothing is run for a task beside generation, with what to do instead."""
    instead = {
        "encode": "embed one batch of your own texts with each setup and compare the seconds",
        "train": "run a few steps of your own training with each setup and compare the seconds",
    }
    task = subject.workload.task
    if task == "generate":
        return None
    return Mistake("workload.task", f"only generation is measured, and this plan is for --task {task}", instead[task])


def _values(setup: Setup) -> Iterator[Mistake]:
    for name in knobs():
        value = getattr(setup, name)
        if value is not None and (wrong := unusable(name, value)):
            yield Mistake(f"setup.{name}", wrong)


def _model(subject: Subject) -> Iterator[Mistake]:
    reference = subject.reference
    if reference.kind not in MODEL_KINDS or (reference.kind == "shape" and subject.config is None):
        yield Mistake("model.kind", f"{reference.kind!r} cannot be loaded")
    if "\0" in reference.name:
        yield Mistake("model.name", "the path holds a zero byte")
    if reference.kind in ("config", "shape") and not subject.random_weights:
        yield Mistake("model", "only a configuration is at hand", "run with --weights random")


def _training(setup: Setup) -> Iterator[Mistake]:
    for name in TRAINING:
        value = getattr(setup, name)
        if value is not None and value != NOT_TRAINING.get(name):
            yield Mistake(f"setup.{name}", "is about training, and only generation is run and measured")


def _workload(subject: Subject, setup: Setup) -> Iterator[Mistake]:
    rows = min(prompts_per_call(subject.workload, setup), prompts_at_hand(subject.workload))
    if speculates(setup) and rows > 1:
        yield Mistake("setup.speculation", f"takes one prompt in a call, not {rows}", "set batching to loop")
    if (found := arrivals_of(subject, setup)) and (wrong := wrong_arrivals(found)):
        yield Mistake("requests", wrong)
    if setup.keep_cache and subject.workload.arrivals is not None:
        yield Mistake("setup.keep_cache", "one cache does not fit requests of all lengths", "set keep_cache to no")
    if splits(setup) and arrivals_of(subject, setup):
        yield Mistake("setup.tensor_parallel", "is not run for requests that arrive one by one")
    if setup.engine == "serve" and not (subject.random_weights or subject.tokenizer):
        yield Mistake("setup.engine", "transformers serve takes text, and no tokenizer lies beside the weights")


def _versions(subject: Subject, setup: Setup) -> Iterator[Mistake]:
    package = (setup.quantization or "").partition("_")[0]
    needs = {
        "batching": CONTINUOUS_SINCE if setup.batching == "continuous" else None,
        "tensor_parallel": RANKS_SINCE if splits(setup) else None,
        "engine": SERVE_SINCE if setup.engine == "serve" else None,
        "experts_implementation": EXPERTS_SINCE if setup.experts_implementation else None,
        "use_kernels": KERNELS_SINCE if setup.use_kernels else None,
        "prefill_chunk_size": CHUNKS_SINCE if setup.prefill_chunk_size else None,
        "speculation": DRAFTING_SINCE.get(setup.speculation or "none"),
        "attn_at_run_time": SET_ATTENTION_SINCE if setup.attn_at_run_time else None,
        "keep_cache": KEPT_CACHE_SINCE if setup.keep_cache else None,
        "cache_implementation": QUANTIZED_CACHE_SINCE if setup.cache_implementation == "quantized" else None,
        "cache_backend": FP8_CACHE_SINCE if setup.cache_backend == "fp8" else None,
        "quantization": QUANTIZERS_SINCE.get(package) if quantizes(setup) else None,
    }
    for name, since in needs.items():
        if since is not None and subject.older_than(since):
            yield Mistake(f"setup.{name}", f"{getattr(setup, name)} needs transformers {since} or newer")
    least = None if setup.sdpa_backend is None else SDPA_KERNEL_SINCE[setup.sdpa_backend == "cudnn"]
    if least is not None and subject.torch is not None and subject.torch < least:
        yield Mistake("setup.sdpa_backend", f"{setup.sdpa_backend} needs torch {least} or newer")
