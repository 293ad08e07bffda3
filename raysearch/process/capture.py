"""A command's output, bounded: the beginning and the end of what it printed."""

from __future__ import annotations


class Capture:
    """Keeps the first and the last half of ``limit_bytes``; counts what falls between."""

    def __init__(self, limit_bytes: int) -> None:
        self._half = max(1, limit_bytes // 2)
        self._head = bytearray()
        self._tail = bytearray()
        self.total_bytes = 0

    def add(self, piece: bytes) -> None:
        self.total_bytes += len(piece)
        room = self._half - len(self._head)
        if room > 0:
            self._head += piece[:room]
            piece = piece[room:]
        self._tail += piece
        if len(self._tail) > 2 * self._half:  # seldom, so that many small pieces stay cheap
            del self._tail[: -self._half]

    @property
    def dropped_bytes(self) -> int:
        return max(0, self.total_bytes - len(self._head) - self._half)

    def text(self) -> str:
        """What was kept, as UTF-8; a line in the middle says how much was dropped."""
        dropped = self.dropped_bytes
        if not dropped:
            return (self._head + self._tail).decode("utf-8", "replace")
        head = self._head.decode("utf-8", "replace")
        tail = self._tail[-self._half :].decode("utf-8", "replace")
        return f"{head}\n[... {dropped} bytes dropped ...]\n{tail}"
