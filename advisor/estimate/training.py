"""Memory of one training step on one device: weights, gradients, optimizer states, activations, logits.

    total = weights + gradients + optimizer states + activations of all layers + logits + overhead

Gradients are counted beside the activations: they are there together once gradients are accumulated over several
batches. In a step of one batch they appear as activations go, and the peak is that of the larger of the two: so it was
within 1 % on a CPU, in nine runs of three shapes in float32 and bfloat16, within 3 % with adapters. The band's low end
says so. No speed is predicted.

What `dtype` means here is what it means on loading: the type of the weights, of their gradients and of AdamW's two
states. `mixed_precision` is `bf16=True` or `fp16=True` of TrainingArguments: products run in 16 bits, weights stay as
they were loaded. So AdamW takes 16 bytes for each parameter in float32, 18 with mixed precision (a 16-bit copy of each
weight is kept for the backward pass), 8 in pure bfloat16. Adapters of PEFT are float32 whatever the model's type
(`autocast_adapter_dtype`); under them the model's own weights are frozen and have neither gradients nor states.

Sources: "Reducing Activation Recomputation in Large Transformer Models" (arXiv 2205.05198) for what a layer keeps; its
coefficients belong to another layer, so those here are of the layers that the library runs now: read off the tensors
that torch.autograd.graph.saved_tensors_hooks saw in small models on a CPU (transformers 5.22, torch 2.13, PEFT 0.21).
QLoRA (arXiv 2305.14314) for adapters over 4-bit weights; bitsandbytes' optimizer.py for 8-bit states.
"""

from dataclasses import dataclass

from advisor.estimate.attention import as_it_runs
from advisor.estimate.room import device, room
from advisor.estimate.weights import BYTES, dtype, weights_bytes
from advisor.facts import Facts
from advisor.plan import Memory
from advisor.setup import Setup
from advisor.workload import Workload

FLOAT32, HALF = 4, 2
BAND = (0.90, 1.12)
"""Factors on the total beside what accumulation explains, as for a forward pass on a GPU; no run of training on a GPU
stands behind them."""
LOGITS_BYTES = 12
"""Bytes for each token and word of the vocabulary when the loss is computed: log-softmax, its gradient and the gradient
of the logits, all in float32. Growth of the allocator's peak with the vocabulary, in every precision: 12.0."""
ADAPTER_RANK = 16
"""Rank of the adapters that are counted; PEFT's own default is 8, published recipes take 8 to 64."""
STATES = 2
"""AdamW keeps a mean of the gradients and one of their squares."""
EIGHT_BIT_STATE_BYTES = 2 * (1 + FLOAT32 / 256)
"""Both states in 8 bits, with a float32 scale for each block of 256 (bitsandbytes/optim/optimizer.py). The Trainer
keeps those of embeddings in float32 (register_module_override in trainer.py)."""
STATISTICS_BYTES = 40
"""Sums of norms and of the softmax: bytes for each token and layer, of no weight."""


@dataclass(frozen=True)
class Kept:
    """Bytes that one layer keeps of one token: for each value of the residual stream, of the keys (or the values), and
    of the MLP."""

    hidden: int
    keys: int
    mlp: int

    def __add__(self, other: "Kept") -> "Kept":
        return Kept(self.hidden + other.hidden, self.keys + other.keys, self.mlp + other.mlp)


LLAMA, LLAMA_FLOAT32 = Kept(20, 4, 8), Kept(32, 8, 16)
"""What a layer of Llama keeps in 16 bits: for each of two norms its input in float32, and the normalized values before
and after the weight (16 x hidden); queries and attention's output (4), keys and values; gate, its activation, up and
their product (8 x MLP). Mistral, Qwen2, Granite and SmolLM3 to the byte."""
BEYOND_LLAMA = {
    "qwen3": (Kept(6, 6, 0), Kept(8, 8, 0)),
    "phi3": (Kept(4, 2, 0), Kept(8, 4, 0)),
    "gemma": (Kept(4, 0, 0), Kept(0, 0, 0)),
    "gemma3_text": (Kept(28, 8, 0), Kept(24, 8, 0)),
    "gemma3": (Kept(28, 8, 0), Kept(24, 8, 0)),
    "olmo2": (Kept(12, 8, 0), Kept(8, 8, 0)),
    "glm4": (Kept(14, 0, 0), Kept(20, 0, 0)),
}
"""What types with more norms, or with joined projections, keep beside that: in 16 bits and in float32."""
WITHOUT_GATE = {
    "opt": Kept(12, 4, 2),
    "starcoder2": Kept(12, 4, 4),
    "gpt_neox": Kept(16, 4, 4),
    "gpt2": Kept(12, 4, 10),
    "phi": Kept(10, 4, 10),
}
"""Types with a plain layer norm and an MLP of two matrices, in 16 bits; twice that in float32."""
CASTS = Kept(10, 0, 0)
"""Mixed precision over float32 weights: the residual stream stays in float32, each product keeps a 16-bit copy."""
ADAPTED = {"mixed": Kept(4, 0, 0), "plain": Kept(16, 0, 2), "float32": Kept(-8, 0, 0)}
"""Adapters keep a copy of every product's input, frozen weights nothing: against the same layer without adapters, with
mixed precision, without it (the copies are float32), and in float32 throughout."""


def memory(model: Facts, machine: Facts, workload: Workload, setup: Setup) -> Memory:
    """Predicted bytes on the one device that trains; nothing is cached, so the cache's terms are 0."""
    itemsize = BYTES.get(dtype(model, machine, setup) or "")
    weights = weights_bytes(model, machine, setup, device(machine, setup))
    trained = _trained(model, setup)
    gradients = states = activations = None
    if itemsize is not None:
        gradients = None if trained is None else trained * _trained_itemsize(setup, itemsize)
        states = None if trained is None else _states(model, machine, setup, trained, itemsize)
        activations = _activations(model, machine, workload, setup, itemsize)
    there = room(machine, setup)
    total = _sum(_with_copies(weights, trained, setup, itemsize), gradients, states, activations, there.overhead_bytes)
    return Memory(
        weights_bytes=weights,
        kv_cache_bytes=0,
        kv_cache_peak_bytes=0,
        activation_peak_bytes=activations,
        overhead_bytes=there.overhead_bytes,
        total_bytes=total,
        available_bytes=there.available_bytes,
        fits=_fits(total, there.available_bytes, there.slack_bytes),
        gradients_bytes=gradients,
        optimizer_bytes=states,
    )


def band(needed: Memory) -> tuple[float, float] | None:
    """The factors on the total between which the peak of a step should lie; None without a total."""
    if not needed.total_bytes or needed.gradients_bytes is None or needed.activation_peak_bytes is None:
        return None
    together = min(needed.gradients_bytes, needed.activation_peak_bytes)
    return BAND[0] * (1 - together / needed.total_bytes), BAND[1]


def _sum(*parts: int | None) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _fits(total: int | None, available: int | None, slack: int) -> bool | None:
    return total + slack <= available if total is not None and available is not None else None


def _adapted(setup: Setup) -> bool:
    return setup.adapters == "lora"


def _mixed(setup: Setup) -> bool:
    return setup.mixed_precision not in (None, "none")


def _trained_itemsize(setup: Setup, itemsize: int) -> int:
    """Bytes of a weight that is trained."""
    return FLOAT32 if _adapted(setup) else itemsize


def _with_copies(weights: int | None, trained: int | None, setup: Setup, itemsize: int | None) -> int | None:
    """Weights, with the 16-bit copies of float32 ones that autocast keeps for the backward pass."""
    if weights is None or trained is None or itemsize is None:
        return None
    return weights + (HALF * trained if _mixed(setup) and _trained_itemsize(setup, itemsize) == FLOAT32 else 0)


def _trained(model: Facts, setup: Setup) -> int | None:
    """Parameters that are trained. Quantized weights themselves cannot be."""
    if _adapted(setup):
        return adapter_parameters(model)
    quantized = setup.quantization not in (None, "none") or model.text("model.checkpoint_quantization") != "none"
    return None if quantized else model.count("model.parameters")


def adapter_parameters(model: Facts) -> int | None:
    """Parameters of adapters on every projection of attention and MLP; None where a width is not known.

    Llama-3.1-8B: 41,943,040, as PEFT counts. Experts in one tensor are no linear layers and get none.
    """
    widths = _widths(model)
    layers, experts = model.count("model.layers"), model.count("model.experts")
    if widths is None or layers is None or experts is None:
        return None
    hidden, queries, keys, values, outputs, mlp = widths
    attention = (hidden + queries) + (hidden + keys) + (hidden + values) + (outputs + hidden)
    matrices = 0 if experts else 2 if model.text("model.type") in WITHOUT_GATE else 3
    return layers * ADAPTER_RANK * (attention + matrices * (hidden + mlp))


def _widths(model: Facts) -> tuple[int, int, int, int, int, int] | None:
    """Widths of the residual stream, queries, keys, values, attention's output, and the MLP."""
    names = ("hidden_size", "heads", "kv_heads", "head_dim", "value_head_dim", "intermediate_size")
    known = [size for name in names if (size := model.count(f"model.{name}")) is not None]
    if len(known) < len(names):
        return None
    hidden, heads, kept, key, value, mlp = known
    return hidden, heads * key, kept * key, kept * value, heads * value, mlp


def _states(model: Facts, machine: Facts, setup: Setup, trained: int, itemsize: int) -> int | None:
    """Bytes of the optimizer's states on the device."""
    match setup.optimizer:
        case None | "adamw":
            return STATES * trained * _trained_itemsize(setup, itemsize)
        case "paged_adamw_8bit" if device(machine, setup) == "cuda":
            return 0  # in host memory; pages come over as the update reaches them
        case "adamw_8bit" | "paged_adamw_8bit":
            table = 0 if _adapted(setup) else model.count("model.parameters_embedding")
            if table is None:
                return None
            return round((trained - table) * EIGHT_BIT_STATE_BYTES) + STATES * FLOAT32 * table
        case "adafactor":  # a row and a column of squares for each matrix
            hidden = model.count("model.hidden_size")
            return 2 * FLOAT32 * (trained // hidden) if hidden else None
    return None


def _activations(model: Facts, machine: Facts, workload: Workload, setup: Setup, itemsize: int) -> int | None:
    """Bytes that the forward pass keeps for the backward pass, and the logits.

    Four shapes of Llama, Mistral, Qwen2 and Qwen3 kept within 1 % of this, with and without checkpointing, in float32,
    bfloat16 and mixed; with adapters, within 7 %. Other types of BEYOND_LLAMA and WITHOUT_GATE: within 11 %.
    """
    layer, layers = _layer(model, machine, workload, setup, itemsize), model.count("model.layers")
    hidden, vocabulary = model.count("model.hidden_size"), model.count("model.vocab_size")
    if layer is None or not layers or not hidden or not vocabulary:
        return None
    tokens = sequences(workload, setup) * workload.prompt_tokens
    end = hidden * _last_norm(setup, itemsize) + vocabulary * LOGITS_BYTES
    if not setup.gradient_checkpointing:
        return tokens * (layers * layer + end)
    # The input of each layer stays; one layer at a time is computed again, when the logits are gone.
    return tokens * (layers * hidden * itemsize + max(end, layer))


def sequences(workload: Workload, setup: Setup) -> int:
    """Sequences of one pass: those of a step, or the part whose gradients are added up over several passes."""
    return min(setup.batch_size or workload.batch, workload.batch)


def _last_norm(setup: Setup, itemsize: int) -> int:
    """Bytes for each value of the residual stream: the norm's input in float32, the values before and after its weight.

    A frozen norm keeps its input alone.
    """
    return FLOAT32 + (0 if _adapted(setup) else itemsize + _computed(setup, itemsize))


def _layer(model: Facts, machine: Facts, workload: Workload, setup: Setup, itemsize: int) -> int | None:
    """Bytes that one layer keeps of one token; None for types whose layers are not counted here."""
    widths = _widths(model)
    uncounted = model.count("model.experts") or model.count("model.linear_layers")
    if widths is None or uncounted or model.count("model.kv_latent_values") is not None:
        return None
    hidden, _, keys, _, outputs, mlp = widths
    kept = _kept(model.text("model.type") or "", setup, itemsize)
    runs = as_it_runs(model, machine, workload, setup)
    expanded = runs.attn_implementation == "eager" or (workload.mixed_lengths and not setup.padding_free)
    size = kept.hidden * hidden + kept.keys * (outputs if expanded else keys) + kept.mlp * mlp + STATISTICS_BYTES
    # Heads together may be wider than the residual stream: queries and output go by the heads.
    size += (outputs - hidden) * 2 * _computed(setup, itemsize)
    return size + _scores(model, workload, runs, setup, itemsize)


def _computed(setup: Setup, itemsize: int) -> int:
    """Bytes of one value in the products."""
    return HALF if _mixed(setup) else itemsize


def _scores(model: Facts, workload: Workload, runs: Setup, setup: Setup, itemsize: int) -> int:
    """What eager attention keeps of all pairs of tokens: the softmax in float32, and its 16-bit copy."""
    if runs.attn_implementation != "eager":
        return 0
    copies = FLOAT32 + (HALF if _computed(setup, itemsize) == HALF else 0)
    return (model.count("model.heads") or 0) * workload.prompt_tokens * copies


def _kept(kind: str, setup: Setup, itemsize: int) -> Kept:
    """The coefficients of a layer in the precision of the setup."""
    in_float32 = itemsize == FLOAT32 and not _mixed(setup)
    half = WITHOUT_GATE.get(kind)
    if half is None:
        extra = BEYOND_LLAMA.get(kind, (Kept(0, 0, 0), Kept(0, 0, 0)))
        base = LLAMA_FLOAT32 + extra[1] if in_float32 else LLAMA + extra[0]
    else:
        base = half + half if in_float32 else half
    if _adapted(setup):
        return base + ADAPTED["float32" if in_float32 else "mixed" if _mixed(setup) else "plain"]
    return base + CASTS if _mixed(setup) and itemsize == FLOAT32 else base
