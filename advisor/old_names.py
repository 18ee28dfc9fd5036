"""Names of transformers that older texts use and newer versions have renamed, deprecated or removed.

`deprecated_from` and `removed_in` are versions of transformers, None where no version was pinned or it still stands.
They were found by reading the sources of the releases from 4.30 to 5.23. `places` are where the name stood, as
rules name places in `locate`, any of which makes it known; the installed version has the last word (`where` asks it).
"""

from dataclasses import dataclass
from enum import Enum


class OldKind(Enum):
    """What an old name was."""

    ARGUMENT = "argument"
    FUNCTION = "function"
    VALUE = "value"
    CLASS = "class"
    COMMAND = "command"


@dataclass(frozen=True)
class OldName:
    """One old name and what to write instead."""

    name: str
    kind: OldKind
    deprecated_from: str | None
    removed_in: str | None
    instead: str
    places: tuple[str, ...]


_LOAD = "transformers.modeling_utils:PreTrainedModel.from_pretrained"
_ATTENTION = "transformers.modeling_utils:AttentionInterface"
_CACHES = "transformers.generation.configuration_utils:ALL_CACHE_IMPLEMENTATIONS"
_TRAIN = "transformers.training_args:TrainingArguments"
_MODEL = "transformers.modeling_utils:PreTrainedModel"
_BY_LAYER = 'cache_implementation="static", or nothing: the cache of each layer follows from the model'


def _argument(name: str, deprecated: str | None, removed: str | None, instead: str, of: str = _LOAD) -> OldName:
    return OldName(name, OldKind.ARGUMENT, deprecated, removed, instead, (f"{of}({name})",))


def _value(name: str, deprecated: str | None, removed: str | None, instead: str, of: str) -> OldName:
    return OldName(name, OldKind.VALUE, deprecated, removed, instead, (f"{of}[{name}]",))


def _prefixed(name: str, instead: str) -> OldName:
    """A paged backend: from 5.0 registered under its name, from 5.19 only the prefix is known and taken away."""
    places = (f"{_ATTENTION}[{name}]", f"{_ATTENTION}[paged|]")
    return OldName(name, OldKind.VALUE, "5.19", None, instead, places)


def _cache_class(name: str, deprecated: str | None, removed: str | None, instead: str) -> OldName:
    return OldName(name, OldKind.CLASS, deprecated, removed, instead, (f"transformers.cache_utils:{name}",))


LOADING = (
    _argument("use_flash_attention_2", "4.36", "4.53", 'attn_implementation="flash_attention_2"'),
    _argument("torch_dtype", "4.56", None, "dtype"),
    _argument("load_in_8bit", None, "5.0", "quantization_config=BitsAndBytesConfig(load_in_8bit=True)"),
    _argument("load_in_4bit", None, "5.0", "quantization_config=BitsAndBytesConfig(load_in_4bit=True)"),
    _argument("use_auth_token", None, "5.0", "token"),
    _argument("low_cpu_mem_usage", None, "5.0", "nothing: weights are always loaded that way"),
    _argument("offload_state_dict", None, "5.0", "nothing: weights are loaded one by one"),
    _argument("resume_download", None, "5.0", "nothing: downloads always resume"),
)
ATTENTION = (
    _value("sdpa_paged", None, "5.0", '"sdpa": continuous batching turns to paged attention by itself', _ATTENTION),
    _value("eager_paged", None, "5.0", '"eager": continuous batching turns to paged attention by itself', _ATTENTION),
    _value("paged_attention", None, "5.0", '"sdpa" or "flash_attention_2" with generate_batch', _ATTENTION),
    _prefixed("paged|sdpa", '"sdpa": continuous batching turns to paged attention by itself'),
    _prefixed("paged|flash_attention_2", '"flash_attention_2" with generate_batch'),
    OldName(
        "to_bettertransformer",
        OldKind.FUNCTION,
        None,
        "5.0",
        'attn_implementation="sdpa", the default where the class has it',
        (f"{_MODEL}.to_bettertransformer",),
    ),
    OldName(
        "reverse_bettertransformer",
        OldKind.FUNCTION,
        None,
        "5.0",
        "nothing: there is nothing to turn back",
        (f"{_MODEL}.reverse_bettertransformer",),
    ),
)
CACHES = (
    *(_value(name, "4.56", None, _BY_LAYER, _CACHES) for name in ("sliding_window", "hybrid", "hybrid_chunked")),
    _value("offloaded_hybrid", "4.56", None, 'cache_implementation="offloaded_static"', _CACHES),
    _value("offloaded_hybrid_chunked", "4.56", None, 'cache_implementation="offloaded_static"', _CACHES),
    _value("mamba", None, "4.54", "nothing: such models make their own cache", _CACHES),
    _value("dynamic_full", None, "5.15", 'cache_implementation="dynamic"', _CACHES),
    _cache_class("OffloadedCache", "4.56", "5.0", 'cache_implementation="offloaded"'),
    _cache_class("OffloadedStaticCache", "4.56", "5.0", 'cache_implementation="offloaded_static"'),
    _cache_class("HybridCache", "4.56", "5.0", _BY_LAYER),
    _cache_class("SlidingWindowCache", "4.56", "5.0", _BY_LAYER),
    _cache_class("SinkCache", "4.56", "5.0", "a model with sliding-window layers"),
    _cache_class("QuantizedCacheConfig", None, "4.56", 'cache_config={"backend": "quanto", "nbits": 4}'),
    _cache_class("QuantoQuantizedCache", None, "5.0", 'QuantizedCache("quanto", ...)'),
    _cache_class("HQQQuantizedCache", None, "5.0", 'QuantizedCache("hqq", ...)'),
    OldName(
        "num_logits_to_keep",
        OldKind.ARGUMENT,
        "4.49",
        None,
        "logits_to_keep",
        ("transformers.models.llama.modeling_llama:LlamaForCausalLM.forward(num_logits_to_keep)",),
    ),
)
TRAINING = (
    _argument("evaluation_strategy", None, None, "eval_strategy", _TRAIN),
    _argument("no_cuda", None, "5.0", "use_cpu", _TRAIN),
    _argument("use_mps_device", None, "5.0", "nothing: the device is found by itself", _TRAIN),
    _argument("fp16_backend", None, "5.0", "fp16 or bf16", _TRAIN),
    _argument("half_precision_backend", None, "5.0", "fp16 or bf16", _TRAIN),
    _argument("torchdynamo", None, "5.0", "torch_compile_backend", _TRAIN),
    _argument("per_gpu_train_batch_size", None, "5.0", "per_device_train_batch_size", _TRAIN),
    _argument("group_by_length", None, None, 'train_sampling_strategy="group_by_length"', _TRAIN),
)
OTHER = (
    OldName(
        "transformers-cli",
        OldKind.COMMAND,
        None,
        "5.0",
        "transformers",
        ("transformers.commands.transformers_cli:main",),
    ),
)
OLD_NAMES: dict[str, OldName] = {old.name: old for old in (*LOADING, *ATTENTION, *CACHES, *TRAINING, *OTHER)}
