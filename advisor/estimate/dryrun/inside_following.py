"""Loaded by inside_dry_run.py in the target interpreter: passes of a model, and the storages that live in them."""

from __future__ import annotations  # The target may run an older Python than this program does.

import collections
import contextlib
import inspect
import weakref
from collections.abc import Callable, Iterator
from typing import Any

BLOCK_BYTES = 512
"""Sizes are rounded up to this (kMinBlockSize of CUDACachingAllocator)."""

answering: Any = None
caching: Any = None
"""The programs of that name, which inside_dry_run.py puts here: these programs have no package to import."""


def rounded(size: int) -> int:
    """The bytes that the allocator gives for a request of `size`."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def weighed(own: dict[int, tuple[int, Any]]) -> int:
    """The bytes that the allocator gives for these storages."""
    return sum(rounded(size) for size, _ in own.values())


class Living:
    """Bytes of the storages that live beyond the weights that there were, and what each operator brought them to.

    `own` are those weights: bytes and storage by identity. Some are replaced by a first pass, which counts as well.
    """

    def __init__(self, own: dict[int, tuple[int, Any]]) -> None:
        self.now = 0
        self.sizes: dict[int, tuple[int, Any]] = {}
        for key, (size, storage) in own.items():
            self.watch(key, size, storage)
        self.start()

    def start(self) -> None:
        """Begin a new pass: no operator has run, and what lives now is the peak."""
        self.counts: collections.Counter[str] = collections.Counter()
        self.highest: dict[str, int] = {"": self.now}

    def add(self, tensor: Any) -> None:
        if tensor.device.type == caching.RAM:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.sizes:
            self.now += self.watch(key, storage.nbytes(), storage)

    def watch(self, key: int, size: int, storage: Any) -> int:
        """Count the storage off when it dies; its size as the allocator rounds it."""
        self.sizes[key] = (rounded(size), weakref.ref(storage, lambda _: self.drop(key)))
        return rounded(size)

    def drop(self, key: int) -> None:
        size, _ = self.sizes.pop(key, (0, None))
        self.now -= size

    def ran(self, name: str, made: list[Any]) -> None:
        """Note one operator and the tensors that it gave."""
        self.counts[name] += 1
        for leaf in made:
            if hasattr(leaf, "untyped_storage"):
                for tensor in caching.inner(leaf):
                    self.add(tensor)
        if name not in self.highest or self.now > self.highest[name]:  # below 0 where weights have shrunk
            self.highest[name] = self.now

    def said(self, grown: int) -> dict[str, Any]:
        """What this pass did; `highest` is the most that lived after each kind of operator.

        `grown` is by how many bytes the weights have grown in the meantime: they count as weights from now on.
        """
        at = max(self.highest, key=lambda name: self.highest[name])
        return {
            "peak_bytes": self.highest[at] - grown,
            "at": at,
            "operators": sum(self.counts.values()),
            "attention": sorted(name for name in self.counts if "attention" in name),
            "highest": {name: size - grown for name, size in self.highest.items()},
        }


def tracker(living: Living, device: str) -> Any:
    """A mode that tells `living` of every operator that reaches the device as `device` would run it."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    parts = answering.parts(device)

    class Tracker(TorchDispatchMode):  # type: ignore[misc]  # torch is Any here
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = str(func).removeprefix("aten.")
            if name in parts:
                with self:
                    return parts[name](*args, **(kwargs or {}))
            do = answering.REFUSED[name] if answering.is_refused(name, args) else func
            out = do(*args, **(kwargs or {}))
            living.ran(name, tree_leaves(out))
            return out

    return Tracker()


class Masks:
    """Stands in for the check whether SDPA needs a mask, which reads values where fake tensors have none.

    It says what `_ignore_causal_mask_sdpa` of masking_utils says of real tensors: a prompt without padding needs no
    mask, nor does a token while every stored place is filled; a padded batch and a window that is full always do.
    """

    def __init__(self, padded: bool) -> None:
        self.padded, self.tokens = padded, 0

    @contextlib.contextmanager
    def in_place_of(self, masking: Any) -> Iterator[None]:
        """Stand in while a pass runs; None is a version that has no such check."""
        if masking is None:
            yield
            return
        before, masking._ignore_causal_mask_sdpa = masking._ignore_causal_mask_sdpa, self
        try:
            yield
        finally:
            masking._ignore_causal_mask_sdpa = before

    def __call__(
        self,
        _padding_mask: Any,
        q_length: int,
        kv_length: int,
        _q_offset: Any,
        _kv_offset: Any,
        local_attention_size: int | None = None,
    ) -> bool:
        if self.padded or (local_attention_size is not None and kv_length >= local_attention_size):
            return False
        if q_length == self.tokens:
            return True
        return q_length == 1 and kv_length <= self.tokens


def keeps_last(model: Any) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters


Own = Callable[[Any], "dict[int, tuple[int, Any]]"]
"""A model's weights: bytes and storage by identity."""


class Run:
    """One text from its first token on: the passes that generate would run, one after the other.

    Like generate, each pass copies the last logits in float32 and takes the likeliest token of them.
    """

    def __init__(self, model: Any, case: dict[str, Any], transformers: Any, own: Own) -> None:
        self.model, self.case, self.rows = model, case, case["rows"]
        self.own, before = own, own(model)
        self.weights_bytes = weighed(before)
        self.living, self.masks = Living(before), Masks(case["padded"])
        self.track = tracker(self.living, case["device"])
        masking: Any = getattr(transformers, "masking_utils", None)
        self.masking = masking if hasattr(masking, "_ignore_causal_mask_sdpa") else None
        self.more = {"logits_to_keep": 1} if case["last_logits"] and keeps_last(model) else {}
        with self.track:
            self.out: Any = None
            self.cache = caching.new(model, case, transformers)

    def prompt(self) -> dict[str, Any]:
        """The pass over the prompt: in one, or chunk by chunk."""
        tokens, chunk = self.case["prompt_tokens"], self.case["chunk_tokens"]
        if chunk is None or chunk >= tokens:
            return self.read(tokens)
        self.living.start()
        said: dict[str, Any] = {}
        for done in range(0, tokens, chunk):
            said = self.read(min(chunk, tokens - done), goes_on=True)
        self.out = None
        return said

    def read(self, tokens: int, goes_on: bool = False) -> dict[str, Any]:
        """One pass over this many new tokens of each row: its peak, its operators, and the cache after it.

        Where no cache is kept, it reads all tokens that there are. `goes_on` says that it is part of a longer pass.
        """
        import torch

        with torch.no_grad(), self.track, self.masks.in_place_of(self.masking), caching.without_streams():
            self.masks.tokens += tokens
            if not goes_on:
                self.living.start()
            keeps = self.case["cache"] != "none"
            ids = torch.ones(self.rows, tokens if keeps else self.masks.tokens, dtype=torch.long)
            # Without Masks, a mask of ones would be taken for one that hides something.
            mask = torch.ones(self.rows, self.masks.tokens, dtype=torch.long) if self.with_mask() else None
            self.out = self.model(
                input_ids=ids, attention_mask=mask, past_key_values=self.cache, use_cache=keeps, **self.more
            )
            self.cache = self.out.past_key_values if keeps else None
            scores = self.out.logits[:, -1].to(copy=True, dtype=torch.float32)
            torch.argmax(scores, dim=-1)
            if not goes_on:
                self.out = None
        return self.said()

    def said(self) -> dict[str, Any]:
        grown = weighed(self.own(self.model)) - self.weights_bytes if self.case["quantization"] is not None else 0
        whole, away = caching.stored(self.cache)
        return {**self.living.said(grown), "cache_bytes": whole, "away_bytes": away}

    def with_mask(self) -> bool:
        return self.masking is not None or bool(self.case["padded"])

    def lengthen(self, steps: int) -> bool:
        """Make the cache as if the prompt and `steps` tokens after it had been read; False where that is not known."""
        with self.track:
            done = bool(caching.lengthen(self.cache, self.case["prompt_tokens"], steps))
        if done:
            self.masks.tokens = self.case["prompt_tokens"] + steps
        return done
