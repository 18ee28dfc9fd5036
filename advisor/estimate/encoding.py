"""Embedding texts: one forward pass of each batch, without logits, without a token generated.

    peak    = weights without an output projection + what the pass keeps alive + overhead
    seconds = (host^p + (products + attention of the whole text)^p)^(1/p) + fetched weights, for each batch

The terms are those of running.py. Reading files, tokenizing and pooling are not counted. Sixteen runs on two busy CPU
cores (MiniLM of 64 tokens, BERT-base of 128; fp32, bf16; single texts and batches) reached 0.82 to 1.45 times the
predicted rate, fifteen of them within the band that is claimed. No run on a GPU was held against it.
"""

from dataclasses import dataclass, replace

from advisor.estimate import activations, calls
from advisor.estimate.activations import Peaks
from advisor.estimate.cache import Kept, Request, kept
from advisor.estimate.running import running
from advisor.facts import Facts
from advisor.plan import Memory, Speed
from advisor.setup import Setup
from advisor.workload import Workload

FLOAT32 = 4


@dataclass(frozen=True)
class Alive:
    """What is alive at the peak of one layer, read off the tensors of one forward pass of small models on a CPU
    (transformers 5.22, torch 2.13): tensors of the residual stream's width and of the MLP's width while the MLP runs,
    and with eager attention those of the residual stream's width and the score matrices, in bytes for each score.
    """

    residual: int
    mlp: int
    eager_residual: int
    eager_scores: int
    eager_float32_scores: int = 0

    def of_mlp(self, hidden: int, wide: int, itemsize: int) -> int:
        """Bytes for each token while the MLP runs."""
        return (self.residual * hidden + self.mlp * wide) * itemsize

    def of_eager(self, hidden: int, scores: int, itemsize: int) -> int:
        """Bytes for each token while eager attention runs; `scores` is heads x tokens of the text."""
        each = self.eager_scores * itemsize + self.eager_float32_scores * FLOAT32
        return self.eager_residual * hidden * itemsize + scores * each


_BERT = Alive(residual=3, mlp=2, eager_residual=5, eager_scores=2)
ALIVE = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "distilbert"), _BERT),
    # A table of relative positions is added to every layer's scores.
    "mpnet": Alive(residual=3, mlp=2, eager_residual=7, eager_scores=3),
    # Gate and up are one projection; the softmax is computed in float32.
    "modernbert": Alive(residual=5, mlp=4, eager_residual=8, eager_scores=2, eager_float32_scores=1),
}
"""Other types are counted as decoders are (activations.py)."""


def is_encoder(model: Facts) -> bool:
    """Whether each token sees the whole text."""
    return model.value("model.decoder_only") is False


def without_head(weights: int | None, model: Facts, itemsize: int | None) -> int | None:
    """Bytes of the class that embeds: AutoModel loads no output projection."""
    if weights is None or itemsize is None or model.text("model.checkpoint_quantization") not in (None, "none"):
        return weights
    return weights - (model.count("model.parameters_head") or 0) * itemsize


def needed(
    model: Facts, machine: Facts, workload: Workload, setup: Setup, call: Request, itemsize: int
) -> tuple[Kept | None, Peaks | None]:
    """The cache and the peak of one batch. A decoder keeps keys and values of the texts unless use_cache is off."""
    texts = replace(call, new_tokens=1)
    if is_encoder(model):
        cache: Kept | None = Kept(0, 0, 0)
        peak = _peak(model, workload, setup, texts, itemsize)
    else:
        plain = replace(setup, cache_implementation="dynamic", batching="padded", prefill_chunk_size=None)
        cache = kept(model, machine, plain, texts, itemsize)
        peak = activations.without_logits(model, workload, plain, texts, itemsize)
    return cache, None if peak is None else Peaks(peak, peak)


def _peak(model: Facts, workload: Workload, setup: Setup, call: Request, itemsize: int) -> int | None:
    """Bytes that the pass of one batch keeps alive at its peak; None where a width is not known."""
    alive = ALIVE.get(model.text("model.type") or "")
    plain = replace(setup, batching="padded", prefill_chunk_size=None)
    if alive is None:
        return activations.without_logits(model, workload, plain, call, itemsize)
    names = ("hidden_size", "intermediate_size", "heads")
    sizes = [size for name in names if (size := model.count(f"model.{name}")) is not None]
    if len(sizes) < len(names):
        return None
    hidden, wide, heads = sizes
    eager = (setup.attn_implementation or ("eager" if model.value("model.supports_sdpa") is False else "")) == "eager"
    token = alive.of_mlp(hidden, wide, itemsize)
    if eager:
        token = max(token, alive.of_eager(hidden, heads * call.prompt_tokens, itemsize))
    return call.rows * call.prompt_tokens * (token + _mask(model, workload, setup, call, itemsize if eager else 1))


def _mask(model: Facts, workload: Workload, setup: Setup, call: Request, itemsize: int) -> int:
    """Bytes of masks for each token: one over all pairs for padding, one for windows; flash attention needs none."""
    if "flash" in (setup.attn_implementation or ""):
        return 0
    padded = workload.mixed_lengths and setup.batching != "loop"
    return (int(padded) + int(bool(model.count("model.sliding_layers")))) * call.prompt_tokens * itemsize


def speed(model: Facts, machine: Facts, workload: Workload, setup: Setup, memory: Memory) -> Speed:
    """Predicted speed of embedding all texts of the workload.

    `ttft_seconds` is the time of one batch, the first; nothing is decoded, so that rate is None;
    `total_tokens_per_second` counts tokens of text, not padding. A compiled forward is counted as one that is not.
    """
    found = running(model, machine, setup, memory)
    if found is None:
        return Speed(None, None, None)
    batches = calls.calls(workload, setup)
    passes = [
        (batch.count, found.encoded(batch.rows, batch.prompt_tokens, both_ways=is_encoder(model))) for batch in batches
    ]
    seconds = 0.0
    for count, terms in passes:
        if terms is None:
            return Speed(None, None, None)
        seconds += count * terms.total
    first = passes[0][1]
    assert first is not None
    return Speed(first.total, None, calls.text_tokens(workload) / seconds, first.bound)
