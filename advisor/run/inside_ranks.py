"""Several processes measure one recipe together: the ranks of a tensor-parallel model, started by torchrun on loopback.

Loaded by worker.py from its path, in the target interpreter. Alone (no RANK in the environment) everything here does
nothing. Rank 0 answers; what decides how often they run is told to all, since each run takes all of them.
"""

import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

RANKS = re.compile(r"^RANKS = (\d{1,4})$", re.MULTILINE)


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def start(recipe: str, arguments: list[str]) -> None:
    """Become torchrun, which starts this program again for each rank, where the recipe asks for ranks."""
    found = RANKS.search(recipe)
    if found is None or "RANK" in os.environ:
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    place = ["--nproc-per-node", found[1], "--master-addr", "127.0.0.1", "--master-port", str(port)]
    words = [sys.executable, "-m", "torch.distributed.run", *place, *arguments]
    os.execv(sys.executable, words)  # noqa: S606  # the guard above sees one process and all that it starts


def own(folder: Path) -> Path:
    """A folder of this rank's own: all of them write the recipe's file."""
    if rank() == 0:
        return folder
    mine = folder / f"rank-{rank()}"
    mine.mkdir(exist_ok=True)
    return mine


def agreed(decision: Any) -> bool:
    """Rank 0's decision."""
    if not several():
        return bool(decision)
    import torch.distributed

    told = [bool(decision)]
    torch.distributed.broadcast_object_list(told, src=0)
    return told[0]


def others() -> tuple[int, ...]:
    """The process ids of the other ranks (Linux)."""
    if not several():
        return ()
    parent = os.getppid()
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    except OSError:
        return ()
    return tuple(int(number) for number in text.split() if int(number) != os.getpid())


def summed(figures: dict[str, Any]) -> dict[str, Any]:
    """Bytes of all ranks together; what lies on the devices for everybody is counted once."""
    if not several():
        return figures
    import torch.distributed

    told: list[dict[str, Any]] = [{} for _ in range(int(os.environ["WORLD_SIZE"]))]
    torch.distributed.all_gather_object(told, figures)
    cuda = [one["cuda"] for one in told if one.get("cuda")]
    names = ("peak_bytes", "anonymous_bytes", "file_bytes")
    total = {name: _sum([one.get(name) for one in told]) for name in names}
    on_gpu = {name: _sum([one.get(name) for one in cuda]) for name in ("allocated_bytes", "reserved_bytes")}
    if cuda:
        on_gpu["used_by_all_bytes"] = max(one["used_by_all_bytes"] for one in cuda)
    return {**figures, **total, "cuda": on_gpu if cuda else None}


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
