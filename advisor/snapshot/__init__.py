"""Snapshots of PyTorch's allocator: who holds the memory of a device, by line of code."""

from advisor.snapshot.read import Device, Failure, Holder, Snapshot, read

__all__ = ["Device", "Failure", "Holder", "Snapshot", "read"]
