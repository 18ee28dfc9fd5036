"""The figures of a model that its speed depends on, read from its facts at once."""

from dataclasses import dataclass

from advisor.facts import Facts


@dataclass(frozen=True)
class Shape:
    """Counts of parameters, layers and widths. `width` is that of one key and one value head together, in values."""

    layers: int
    full_layers: int
    sliding_layers: int
    window: int
    hidden: int
    heads: int
    width: float
    stored_share: float
    """Values that the cache keeps, as a share of a key and a value for each query head."""
    dense: int
    """Parameters of the layers that every token goes through."""
    routed: int
    """Parameters of all routed experts."""
    experts: int
    experts_active: int
    head: int

    def attended_tokens(self, tokens: float) -> float:
        """Tokens that one query meets, summed over the layers."""
        return self.full_layers * tokens + self.sliding_layers * min(tokens, self.window)


def shape(model: Facts) -> Shape | None:
    """The shape of `model`, or None where a figure that is needed is unknown."""
    layers, linear = model.count("model.layers"), model.count("model.parameters_linear")
    hidden, heads = model.count("model.hidden_size"), model.count("model.heads")
    head = _head(model)
    if not layers or not linear or not hidden or not heads or head is None:
        return None
    key = model.count("model.head_dim") or hidden / heads
    value = model.count("model.value_head_dim") or key
    sliding = model.count("model.sliding_layers") or 0
    window = model.count("model.sliding_window_tokens") or 0
    full = model.count("model.full_layers")
    experts, active = model.count("model.experts") or 0, model.count("model.experts_active") or 0
    routed = model.count("model.parameters_experts") if experts else 0
    if routed is None or (sliding and not window) or (experts and not active):
        return None
    return Shape(
        layers=layers,
        full_layers=layers - sliding - (model.count("model.linear_layers") or 0) if full is None else full,
        sliding_layers=sliding,
        window=window,
        hidden=hidden,
        heads=heads,
        width=key + value,
        stored_share=_stored_share(model, heads, key + value),
        dense=linear - routed,
        routed=routed,
        experts=experts,
        experts_active=active,
        head=head,
    )


def _head(model: Facts) -> int | None:
    """Parameters of the output projection; a tied one is the input embedding and is read all the same."""
    own = model.count("model.parameters_head")
    if own:
        return own
    vocabulary, hidden = model.count("model.vocab_size"), model.count("model.hidden_size")
    return vocabulary * hidden if vocabulary and hidden else None


def _stored_share(model: Facts, heads: int, width: float) -> float:
    latent = model.count("model.kv_latent_values")
    if latent:
        return latent / (heads * width)
    return (model.count("model.kv_heads") or heads) / heads
