"""What a pass really takes, to hold predictions against."""

import weakref
from collections.abc import Callable
from typing import Any

import pytest

PeakOf = Callable[[Any, Callable[[], object]], int]


@pytest.fixture
def peak_of() -> PeakOf:
    """Calls a function and gives the most bytes of new tensors alive at one time, beside those that the model owns."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map

    class Living(TorchDispatchMode):
        def __init__(self, model: Any) -> None:
            super().__init__()
            owned = [*model.parameters(), *model.buffers()]
            self.alive = {tensor.untyped_storage()._cdata: 0 for tensor in owned}
            self.now = self.peak = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = function(*args, **(kwargs or {}))
            tree_map(self.see, made)
            return made

        def see(self, value: Any) -> None:
            if not isinstance(value, torch.Tensor):
                return
            storage = value.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if size and key not in self.alive:
                self.alive[key] = size
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self.gone, key)

        def gone(self, key: int) -> None:
            self.now -= self.alive.pop(key, 0)

    def measured(model: Any, run: Callable[[], object]) -> int:
        with torch.inference_mode(), Living(model) as living:
            run()
        return int(living.peak)

    return measured


@pytest.fixture
def allocated_peak_of() -> PeakOf:
    """Calls a function and gives the most bytes that torch's allocator had given out meanwhile.

    Sees what operators make for themselves, such as the fp32 copy of bfloat16 scores before their softmax.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    def measured(_model: Any, run: Callable[[], object]) -> int:
        with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            run()
        now = peak = 0
        for event in record.profiler.kineto_results.events():
            if event.name() == "[memory]":
                now += event.nbytes()
                peak = max(peak, now)
        return peak

    return measured
