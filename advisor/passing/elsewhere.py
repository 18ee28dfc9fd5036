"""Where there are no pseudo-terminals: both outputs go through pipes, one thread for each."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO, BinaryIO, cast

from advisor.passing import program
from advisor.passing.tail import Tail

PIECE_BYTES = 64 * 1024


def run(words: Sequence[str]) -> "program.Ended | program.NotStarted":
    """Run a command to its end. The console hands Ctrl-C to the program by itself; here it only must not end us."""
    started = time.monotonic()
    try:
        process = subprocess.Popen(list(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        return program.NotStarted(program.NOT_FOUND, f"{words[0]}: not found")
    except (OSError, ValueError) as error:
        return program.NotStarted(program.NOT_RUNNABLE, f"{words[0]}: {error}")
    tails = Tail(), Tail()
    pairs = ((process.stdout, sys.stdout.buffer, tails[0]), (process.stderr, sys.stderr.buffer, tails[1]))
    threads = [threading.Thread(target=_copy, args=pair, daemon=True) for pair in pairs]
    for thread in threads:
        thread.start()
    while process.poll() is None:
        try:
            process.wait()
        except KeyboardInterrupt:
            continue
    for thread in threads:
        thread.join(program.AFTERWARDS_SECONDS)
    said = "\n".join(text for tail in tails if (text := tail.text()))
    return program.Ended(process.returncode, None, said, time.monotonic() - started, None)


def _copy(source: IO[bytes], target: BinaryIO, tail: Tail) -> None:
    while piece := cast("BinaryIO", source).read1(PIECE_BYTES):  # type: ignore[attr-defined]
        tail.add(piece)
        try:
            target.write(piece)
            target.flush()
        except (OSError, ValueError):
            source.close()
            return
