"""What a running process holds: figures of its own memory, its models and its largest tensors, as plain values."""

from advisor.live.memory import DeviceNow, HostNow, devices, host
from advisor.live.owners import ModelNow, Owners, owners
from advisor.live.tensors import TensorNow, Tensors, tensors

__all__ = [
    "DeviceNow", "HostNow", "ModelNow", "Owners", "TensorNow", "Tensors", "devices", "host", "owners", "tensors",
]  # fmt: skip
