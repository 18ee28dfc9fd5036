"""One case of a knob, and the tiny models and workloads that cases are run with.

A case shows one or more knobs. Its looks are Python expressions that must hold in the process in which the recipe ran
(see inside_knobs.py). `same_tokens` asks for the very tokens of the recipe in which none of its knobs is set.
"""

from dataclasses import dataclass, field
from typing import Any

CPU, GPU = "cpu", "cuda"


@dataclass(frozen=True)
class KnobCase:
    """`shows` are the knobs that it is about, `beside` what they need; `cpu` and `gpu` say why it is not run there.

    `fails` is a pattern that the error must have where the recipe must fail. `alone` asks for a process of its own,
    since the knob holds for a whole process. `checkpoint` names what inside_checkpoints.py writes for it.
    `title` is the name of a case that is about a checkpoint and no knob; `without` a package that must be absent.
    """

    shows: dict[str, Any]
    looks: tuple[str, ...] = ()
    beside: dict[str, Any] = field(default_factory=dict)
    model: str = "dense"
    load: str = "pair"
    packages: tuple[str, ...] = ()
    same_tokens: bool = False
    alone: bool = False
    cpu: str | None = None
    gpu: str | None = None
    fails: str | None = None
    checkpoint: str | None = None
    title: str | None = None
    without: str | None = None

    @property
    def name(self) -> str:
        """Knobs and values, as pytest shows them."""
        return self.title or ",".join(f"{name}={shown(value)}" for name, value in self.shows.items())

    def skipped_on(self, device: str) -> str | None:
        """Why it is not run on this device, or None."""
        return self.cpu if device == CPU else self.gpu


def shown(value: Any) -> str:
    """A value as it is typed after `--set KNOB=`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


SIZES = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512}

MODELS: dict[str, dict[str, Any]] = {
    "dense": {"model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "head_dim": 64, **SIZES},
    # One layer is enough to compile.
    "layer": {
        "model_type": "llama", "hidden_size": 128, "intermediate_size": 256, "head_dim": 32,
        **SIZES, "num_hidden_layers": 1,
    },
    # Matrices of two million values and more: smaller ones get no huge pages.
    "wide": {"model_type": "llama", "hidden_size": 1024, "intermediate_size": 4096, "head_dim": 64, **SIZES},
    "experts": {
        "model_type": "qwen3_moe", "hidden_size": 128, "intermediate_size": 256, "moe_intermediate_size": 64,
        "num_experts": 8, "num_experts_per_tok": 2, "head_dim": 32, **SIZES,
    },
}  # fmt: skip

NEW_TOKENS = 4

PROMPT_TOKENS = 48

LOADS: dict[str, dict[str, Any]] = {
    "pair": {"batch": 2, "prompt_tokens": PROMPT_TOKENS, "new_tokens": NEW_TOKENS},
    "ragged": {"batch": 4, "prompt_tokens": PROMPT_TOKENS, "new_tokens": NEW_TOKENS, "mixed_lengths": True},
}
