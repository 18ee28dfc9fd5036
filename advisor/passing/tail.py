"""The beginning and the end of what a program printed, in bounded memory."""

from collections import deque

HEAD_BYTES = 32 * 1024
"""What stands first names the program, its settings and versions."""
TAIL_BYTES = 256 * 1024
"""What stands last names the failure. A traceback of a deep model has about 30 KiB; 256 KiB leave room for the
progress bars and the other ranks around it."""


class Tail:
    """Takes pieces as they come and forgets the middle."""

    def __init__(self, head: int = HEAD_BYTES, tail: int = TAIL_BYTES) -> None:
        self._head_left, self._limit = head, tail
        self._head: list[bytes] = []
        self._pieces: deque[bytes] = deque()
        self._kept = 0
        self.forgotten = 0

    def add(self, piece: bytes) -> None:
        """Keep `piece`; time and memory do not depend on how much came before."""
        if self._head_left:
            first, piece = piece[: self._head_left], piece[self._head_left :]
            self._head.append(first)
            self._head_left -= len(first)
        if piece:
            self._pieces.append(piece)
            self._kept += len(piece)
        while self._pieces and self._kept - len(self._pieces[0]) >= self._limit:
            dropped = self._pieces.popleft()
            self._kept -= len(dropped)
            self.forgotten += len(dropped)

    def text(self) -> str:
        """What is kept, as text; a line of three dots stands where something was forgotten."""
        head, tail = b"".join(self._head), b"".join(self._pieces)
        cut = max(0, len(tail) - self._limit)
        middle = b"\n...\n" if self.forgotten or cut else b""
        return (head + middle + tail[cut:]).decode("utf-8", errors="replace")
