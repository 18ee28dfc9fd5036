"""What older releases of transformers hold in memory beside what today's does, read off the sources of 4.30 to 4.48.

Before 4.45: generate computed the logits of the whole prompt, and from 4.31 on a float32 copy of them, which was let go
only when the second token had been made; the cache was
handed over as tuples, so that the old and the new keys and values of all layers were alive together while a token was
made; and each layer had its own tables of rotary cosines and sines for the longest sequence. Before 5.0,
the kernels of 4-bit GPTQ kept buffers, and AWQ checkpoints of tied models were loaded with an output projection of
their own. Held against published runs of 4.35, 4.38 and 4.46, see bench/published.py.
"""

from packaging.version import Version

from advisor.estimate.activations import Peaks
from advisor.estimate.cache import Kept, Request
from advisor.estimate.quantized import scheme_of
from advisor.estimate.room import device
from advisor.facts import Facts
from advisor.setup import Setup

FLOAT32 = 4
LAST_LOGITS_SINCE = Version("4.45")
"""From here on generate computes the logits of a prompt's last token alone (num_logits_to_keep)."""
CAST_SINCE = Version("4.31")
NEVER_CAST = ("bloom", "falcon", "gpt2", "gpt_neox", "opt", "stablelm")
"""Types whose logits stay in the weights' type; the others have `logits = logits.float()`."""
CACHE_OBJECT_SINCE = {"bloom": Version("4.44"), "falcon": Version("4.45"), "gpt_neox": Version("4.45")}
CACHE_OBJECT_SINCE_ELSE = Version("4.42")
"""From here on generate makes a DynamicCache itself, "to avoid back and forth from legacy format that keeps copying the
cache" (generation/utils.py); models joined as their classes learned to take one."""
TABLES_BEFORE = {
    "llama": Version("4.41"),
    "mistral": Version("4.42"),
    "mixtral": Version("4.48"),
    "qwen2": Version("4.45"),
    "qwen2_moe": Version("4.45"),
}
"""Types whose layers registered `cos_cached` and `sin_cached` for `max_position_embeddings`, in the weights' type."""

QUANTIZED_ANEW = Version("5.0")
"""Loading of quantized checkpoints was written anew; nobody measured what follows since."""
EXLLAMA_TOKENS = 2048
"""ExLlama's first kernels, the default for GPTQ of 4 bits, keep a 16-bit copy of the largest matrix and 16-bit room for
this many rows of the widest activation (AutoGPTQ's exllama_set_max_input_length and prepare_buffers). The second
version, which a GPTQConfig may ask for, keeps 0.7 GiB more for a 7B; its choice cannot be seen here."""


def with_older(
    passes: Peaks, model: Facts, machine: Facts, setup: Setup, call: Request, cache: Kept, itemsize: int
) -> Peaks:
    """The peaks of one call with what the installed release adds; unchanged where it adds nothing or is not known."""
    text = machine.text("transformers.version")
    if text is None:
        return passes
    version = Version(text)
    whole, cast = _logits_bytes(model, version, call, itemsize)
    copied = _copied_bytes(model, version, setup, cache.end, cache.layer)
    # The first step after the prompt, as what it needs beside the cache at the end, to which it is added.
    first = cache.prefill + _copied_bytes(model, version, setup, cache.prefill, 0) + (cast or whole) - cache.end
    kept = _table_bytes(model, version, itemsize) + _exllama_bytes(model, machine, version, setup)
    prefill = max(passes.prefill, whole + cast)
    decode = max(passes.decode + copied, first)
    # Loading comes before the cache, which is added to the prompt's peak.
    prefill = max(prefill + kept, _loaded_bytes(model, version, setup, itemsize) - cache.prefill)
    return Peaks(prefill, decode + kept)


def _logits_bytes(model: Facts, version: Version, call: Request, itemsize: int) -> tuple[int, int]:
    """The logits of all prompts, and their float32 copy."""
    vocabulary = model.count("model.vocab_size")
    if version >= LAST_LOGITS_SINCE or vocabulary is None:
        return 0, 0
    values = call.rows * call.prompt_tokens * vocabulary
    cast = version >= CAST_SINCE and itemsize != FLOAT32 and model.text("model.type") not in NEVER_CAST
    return values * itemsize, values * FLOAT32 if cast else 0


def _copied_bytes(model: Facts, version: Version, setup: Setup, stored: int, counted: int) -> int:
    """What old keys and values take beside the new ones, which are `stored` bytes.

    The copy of one layer, `counted` bytes, may be counted with the activations.
    """
    since = CACHE_OBJECT_SINCE.get(model.text("model.type") or "", CACHE_OBJECT_SINCE_ELSE)
    if version >= since or setup.cache_implementation not in (None, "dynamic") or setup.use_cache is False:
        return 0
    return max(0, stored - counted)


def _table_bytes(model: Facts, version: Version, itemsize: int) -> int:
    """Cosines and sines of every position, in every layer."""
    before = TABLES_BEFORE.get(model.text("model.type") or "")
    layers, context, width = (model.count(f"model.{name}") for name in ("layers", "context_tokens", "head_dim"))
    if before is None or version >= before or layers is None or context is None or width is None:
        return 0
    return 2 * layers * context * width * itemsize


def _exllama_bytes(model: Facts, machine: Facts, version: Version, setup: Setup) -> int:
    """The buffers of the kernels for GPTQ checkpoints of 4 bits on a GPU."""
    hidden, inner = model.count("model.hidden_size"), model.count("model.intermediate_size")
    if version >= QUANTIZED_ANEW or hidden is None or inner is None or device(machine, setup) != "cuda":
        return 0
    if scheme_of(model, setup) != "gptq":
        return 0
    widest = max(hidden, inner)
    return 2 * (hidden * inner + EXLLAMA_TOKENS * widest)


def _loaded_bytes(model: Facts, version: Version, setup: Setup, itemsize: int) -> int:
    """The second copy of a tied embedding, which is let go once the model is tied (seen in runs of AWQ alone)."""
    embedding = model.count("model.parameters_embedding")
    if version >= QUANTIZED_ANEW or scheme_of(model, setup) != "awq" or embedding is None:
        return 0
    return embedding * itemsize if model.is_true("model.tied_embeddings") else 0
