"""The machine as facts. Probes run side by side; what fails or hangs is unknown, with the reason, and never a crash."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from advisor.facts import Facts, Unknown
from advisor.probe import gpu, host, kept_software, software
from advisor.probe.privacy import without_places
from advisor.vocabulary import HOST

LIMIT_SECONDS = 10.0
GRACE_SECONDS = 2.0
"""A probe ends its own child at the limit; this much later it is left alone, whatever it waits for."""
DISK_NAMES = ("host.disk_free_bytes",)
HOST_NAMES = tuple(declaration.name for declaration in HOST if declaration.name not in DISK_NAMES)

T = TypeVar("T")


@dataclass(frozen=True)
class Probes:
    """What looks at each part of the machine. The disk is on its own, because a folder on a network can hang."""

    gpu: Callable[[], gpu.Seen]
    software: Callable[[], software.Software]
    host: Callable[[], Facts]
    disk: Callable[[], Facts]


def machine(python: str, heard: Callable[[str], None] = lambda _: None, anew: bool = True) -> Facts:
    """The facts of GPU, software (of the interpreter `python`) and host, each known or unknown with its reason.

    `heard` is told in one line how each probe ended. Takes as long as the slowest probe, at most twelve seconds. Unless
    `anew`, what was found of the software a short while ago counts as long as nothing that it depends on has changed.
    """
    look_at_software = software.look if anew else kept_software.look
    probes = Probes(
        gpu=lambda: gpu.look(LIMIT_SECONDS),
        software=lambda: look_at_software(python, LIMIT_SECONDS),
        host=host.look,
        disk=host.disk,
    )
    return gather(probes, heard, LIMIT_SECONDS + GRACE_SECONDS)


def gather(probes: Probes, heard: Callable[[str], None], limit_seconds: float) -> Facts:
    """Run the probes side by side and join what they find."""
    started = time.monotonic()
    on_gpu, on_software = _Running("GPU", probes.gpu), _Running("software", probes.software)
    on_host, on_disk = _Running("host", probes.host), _Running("disk", probes.disk)
    for running in (on_gpu, on_host, on_disk, on_software):
        reason = running.wait(started + limit_seconds - time.monotonic())
        heard(f"{running.what}: {reason or 'done'}")
    return _joined(on_gpu, on_software, on_host, on_disk)


def _joined(
    on_gpu: "_Running[gpu.Seen]",
    on_software: "_Running[software.Software]",
    on_host: "_Running[Facts]",
    on_disk: "_Running[Facts]",
) -> Facts:
    """All facts; those of the GPUs depend on what torch says and on the host's memory."""
    host_facts = on_host.found or _unknown(HOST_NAMES, on_host.reason)
    disk_facts = on_disk.found or _unknown(DISK_NAMES, on_disk.reason)
    there = on_software.found or software.Software(software.nothing(on_software.reason), None)
    told = gpu.Told(there.facts.text("torch.build"), there.devices, host_facts.count("host.ram_available_bytes"))
    devices = gpu.facts(on_gpu.found, told) if on_gpu.found else gpu.nothing(on_gpu.reason)
    return there.facts | host_facts | disk_facts | gpu.with_name(devices, host_facts.text("host.cpu"))


def _unknown(names: tuple[str, ...], reason: str) -> Facts:
    return Facts(dict.fromkeys(names, Unknown(reason)))


class _Running(Generic[T]):
    """A probe at work in a thread that does not keep the program from ending."""

    def __init__(self, what: str, look: Callable[[], T]) -> None:
        self.what = what
        self.found: T | None = None
        self.reason = f"the {what} probe has not ended"
        self._thread = threading.Thread(target=self._run, args=(look,), name=f"probe {what}", daemon=True)
        self._thread.start()

    def _run(self, look: Callable[[], T]) -> None:
        try:
            self.found = look()
        except Exception as error:
            self.reason = f"the {self.what} probe failed: {type(error).__name__}: {without_places(str(error))}"

    def wait(self, seconds: float) -> str | None:
        """Wait for the end; why there is no result, or None."""
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            self.reason = f"the {self.what} probe gave no answer within {max(0.0, seconds):.0f} s"
        return None if self.found is not None else self.reason
