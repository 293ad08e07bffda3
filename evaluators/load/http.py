"""Requests over HTTP: one session, as many connections as there are requests under way.

aiohttp is imported here and nowhere else; it comes with the extra ``serving``.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import TYPE_CHECKING

from evaluators.load.exchange import GeneratorTrouble, Piece, Request, ServerTrouble
from evaluators.load.wire import Dialect, Post
from raysearch.errors import TargetError

if TYPE_CHECKING:
    import aiohttp

ANSWER_BYTES_MAX = 64 << 20
KEEP_ALIVE_S = 2.0
"""Idle connections are left earlier than servers usually leave them (5 s), or a request would meet a closing one."""
OURS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM, errno.EPERM, errno.EACCES}
"""What a connection may fail of that is this machine's doing and not the server's."""


class HttpWire:
    """Speaks ``dialect`` to the server at ``url``; an asynchronous context manager.

    The number of connections is not limited, so that no request waits in the client for another's end; idle ones are
    used again. Proxies and cookies of the environment are not.
    """

    def __init__(self, url: str, dialect: Dialect) -> None:
        self._url = url.rstrip("/")
        self._dialect = dialect
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HttpWire:
        try:
            import aiohttp
        except ImportError:
            raise TargetError(
                "load over HTTP needs aiohttp, which is not installed: pip install 'raysearch[serving]'"
            ) from None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def exchange(self, request: Request) -> AsyncGenerator[Piece, None]:
        """As `Wire.exchange`."""
        import aiohttp

        if self._session is None:
            raise TargetError("open the wire first: `async with HttpWire(...) as wire`")
        post = self._dialect.encode(request)
        try:
            async with self._session.post(
                self._url + post.path, data=post.body, headers=dict(post.headers)
            ) as response:
                if response.status != 200:
                    body = (await response.content.read(300)).decode("utf-8", "replace")
                    raise ServerTrouble(f"status {response.status}: {body}")
                async for piece in _pieces(response, post, self._dialect):
                    yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise blame(error) from error


async def _pieces(response: aiohttp.ClientResponse, post: Post, dialect: Dialect) -> AsyncGenerator[Piece, None]:
    """Until the end of the body, so that the connection can be used again."""
    framing = post.framing()
    received = 0
    whole = False
    async for data in response.content.iter_any():
        received += len(data)
        if received > ANSWER_BYTES_MAX:
            raise ServerTrouble(f"an answer of more than {ANSWER_BYTES_MAX >> 20} MB")
        for message in framing.feed(data):
            piece = dialect.decode(message)
            whole = whole or piece.last
            yield piece
    for message in framing.end():
        piece = dialect.decode(message)
        whole = whole or piece.last
        yield piece
    if not whole:
        raise ServerTrouble("the stream broke off before its end")


def blame(error: Exception) -> ServerTrouble | GeneratorTrouble:
    """Whose doing a failed connection is."""
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.errno in OURS:
        return GeneratorTrouble(told)
    return ServerTrouble(told)
