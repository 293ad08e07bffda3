"""The HTTP client under every provider's SDK: whole requests end in time, and answers stay within bounds."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2

CONNECT_S = 15.0
STALL_S = 300.0
"""A stream that is silent for so long is broken; models that think send nothing for minutes."""
BODY_MB_MAX = 64
"""Far more than the longest answer, whose stream repeats a name or two for every token."""


class Wire(httpx2.Client):
    """An httpx2 client whose read timeout is that of the whole request, from sending it to the end of the answer.

    The SDKs pass their timeout on as the time between two pieces of an answer, which a server that only says that it
    is still there would draw out for ever. Answers are taken plain, not compressed, so that what comes in is what is
    counted; redirections are not followed, since some keys would be sent along.
    """

    def __init__(self, stall_s: float = STALL_S, body_mb_max: float = BODY_MB_MAX, *, tls: bool = True) -> None:
        """Without ``tls`` no certificates are loaded, which takes a while: then https fails."""
        super().__init__(follow_redirects=False, verify=True if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self._stall_s = stall_s
        self._bytes_max = int(body_mb_max * 2**20)

    def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """As any client's. Raises ReadTimeout when the time is up, ReadError for an answer that is too large."""
        total_s = (request.extensions.get("timeout") or {}).get("read") or self._stall_s
        until = time.monotonic() + total_s
        connect_s, gap_s = min(total_s, CONNECT_S), min(total_s, self._stall_s)
        limits = {"connect": connect_s, "read": gap_s, "write": gap_s, "pool": connect_s}
        request.extensions = {**request.extensions, "timeout": limits}
        request.headers["accept-encoding"] = "identity"
        response = super().send(request, **how)
        if response.headers.get("content-encoding", "identity") != "identity":
            response.close()
            raise httpx2.ReadError("the answer is compressed, though that was not asked for", request=request)
        if not response.is_closed:
            response.stream = _Watched(response, until, self._bytes_max)
        return response


class _Watched(httpx2.SyncByteStream):
    """A body that ends when its time is up, even while it is waited for."""

    def __init__(self, response: httpx2.Response, until: float, bytes_max: int) -> None:
        self._response = response
        self._stream = response.stream
        self._bytes_max = bytes_max
        self._expired = threading.Event()
        self._timer = threading.Timer(max(0.0, until - time.monotonic()), self._expire)
        self._timer.daemon = True
        self._timer.start()

    def __iter__(self) -> Iterator[bytes]:
        left = self._bytes_max
        try:
            for chunk in self._stream:  # type: ignore[union-attr] # a synchronous client's stream
                left -= len(chunk)
                if left < 0:
                    raise httpx2.ReadError(f"an answer of more than {self._bytes_max >> 20} MB")
                yield chunk
        except Exception:
            if self._expired.is_set():
                raise httpx2.ReadTimeout("the answer did not end in its time") from None
            raise
        if self._expired.is_set():
            raise httpx2.ReadTimeout("the answer did not end in its time")

    def close(self) -> None:
        self._timer.cancel()
        self._stream.close()  # type: ignore[union-attr]

    def _expire(self) -> None:
        """Wake whoever waits for more; runs in the timer's thread."""
        self._expired.set()
        network = self._response.extensions.get("network_stream")
        connection = network.get_extra_info("socket") if network is not None else None
        if connection is not None:
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # an SSL socket's own would race with the reader
            except OSError:
                return
