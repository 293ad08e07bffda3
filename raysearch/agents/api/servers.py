"""Tools of MCP servers, for agents over an API: each server runs in the call's sandbox, or is reached by its address.

A server with a command is a guest of the workspace, as an agent's own program is: it sees the program, the target's
public parts and a HOME of its own, and has no network. It speaks through a Unix socket that lies in that HOME.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from raysearch.agents.api.messages import Tool, clean, cleaned, printable
from raysearch.agents.api.program import Refused
from raysearch.agents.cli.programs import paths_in
from raysearch.agents.interface import AgentFault, McpServer
from raysearch.errors import Fault
from raysearch.protocols import Completed, Guest, Workspace
from raysearch.sandbox.owners import private_folder

if TYPE_CHECKING:
    from anyio.abc import SocketListener, SocketStream
    from anyio.from_thread import BlockingPortal
    from mcp import Client
    from mcp.client._transport import TransportStreams

START_S = 60.0
"""In which a server must be there and name its tools."""
PATIENCE_S = 2.0
"""For one that has hung up to end."""
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
TOOLS_MAX = 128
"""Of one server; models take no more."""
DESCRIPTION_CHARS = 4_000
NAME_CHARS = 64
ERROR_CHARS = 500
SOCKET = "server.sock"
_ODD = re.compile(r"[^A-Za-z0-9_-]")
_CONNECT = """
import os, socket, sys
way = socket.socket(socket.AF_UNIX)
way.connect(sys.argv[1])
os.dup2(way.fileno(), 0)
os.dup2(way.fileno(), 1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(slots=True)
class Served:
    """One server that runs, its tools by the names that the model knows them by."""

    server: McpServer
    client: Client
    named: dict[str, str] = field(default_factory=dict)


class ToolServers:
    """The servers of one call. A context manager: they are started at its beginning, and gone at its end.

    ``left_s`` says how much of the call's time is left; no tool may take longer than ``tool_timeout_s``. Entering
    raises AgentFault (``unavailable``) where a server does not start.
    """

    def __init__(
        self,
        workspace: Workspace,
        servers: Sequence[McpServer],
        *,
        writable: bool,
        left_s: Callable[[], float],
        tool_timeout_s: float,
        readable: Sequence[Path] = (),
    ) -> None:
        self.offered: tuple[Tool, ...] = ()
        self._workspace, self._servers, self._writable = workspace, tuple(servers), writable
        self._left_s, self._tool_timeout_s, self._readable = left_s, tool_timeout_s, tuple(readable)
        self._served: list[Served] = []
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> Self:
        if not self._servers:
            return self
        from anyio.from_thread import start_blocking_portal

        with self._stack:
            self._portal = self._stack.enter_context(start_blocking_portal())
            offered: list[Tool] = []
            for server in self._servers:
                served, tools = self._started(server)
                self._served.append(served)
                offered += tools
            self.offered = tuple(offered)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What a tool of that name answers. Raises Refused where it fails, which the model is told."""
        served = next((each for each in self._served if name in each.named), None)
        if served is None or self._portal is None:
            raise Refused(f"there is no tool {name!r}")
        timeout_s = max(1.0, min(self._tool_timeout_s, self._left_s()))
        try:
            result = self._portal.call(_called, served.client, served.named[name], dict(arguments), timeout_s)
        except TimeoutError:
            raise Refused(f"the tool did not answer within {timeout_s:.0f} s") from None
        except Exception as error:  # whatever a server, or the SDK about it, comes up with
            raise Refused(f"the server {served.server.name!r} failed: {_told(error)}") from None
        said = "\n".join(_texts(result)) or "(it answered nothing)"
        if result.is_error:
            raise Refused(printable(clean(said)))
        return printable(said)

    def _started(self, server: McpServer) -> tuple[Served, list[Tool]]:
        """The server, and its tools. Raises AgentFault."""
        assert self._portal is not None
        hosted = None
        try:
            if server.url:
                from mcp import Client

                client = Client(server.url)
            else:
                hosted = _Hosted(self._workspace, server, self._portal, self._writable, self._left_s(), self._readable)
                client = hosted.client(self._stack)
            entered = self._stack.enter_context(self._portal.wrap_async_context_manager(_opened(client)))
            found = self._portal.call(_tools, entered)
        except Exception as error:  # a server's own, or the SDK's about it
            why = hosted.why() if hosted else ""
            raise AgentFault(
                f"the MCP server {server.name!r} does not start: {_told(error)}{why}", cause="unavailable"
            ) from None
        served = Served(server, entered)
        tools = []
        for tool in found[:TOOLS_MAX]:
            name = named(server.name, tool.name)
            served.named[name] = tool.name
            described = printable(clean(tool.description or ""))[:DESCRIPTION_CHARS]
            tools.append(Tool(name, described, cleaned(dict(tool.input_schema))))
        return served, tools


class _Hosted:
    """A server as a guest of the sandbox."""

    def __init__(
        self,
        workspace: Workspace,
        server: McpServer,
        portal: BlockingPortal,
        writable: bool,
        timeout_s: float,
        readable: Sequence[Path],
    ) -> None:
        self._workspace, self._server, self._portal, self._writable = workspace, server, portal, writable
        self._timeout_s, self._readable = timeout_s, readable
        self._stop = threading.Event()
        self._ended: Completed | Fault | None = None
        self._thread = threading.Thread()

    def client(self, stack: ExitStack) -> Client:
        """A client of it; it is ended with ``stack``."""
        import anyio
        from mcp import Client

        home = stack.enter_context(private_folder())
        listener = self._portal.call(lambda: anyio.create_unix_listener(home / SOCKET, mode=0o777))
        self._thread = threading.Thread(target=self._host, args=(home, listener), name="raysearch-mcp", daemon=True)

        def end() -> None:
            self._end()
            self._portal.call(listener.aclose)

        stack.callback(end)
        self._thread.start()
        return Client(_lines(listener))

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()

    def why(self) -> str:
        """How it ended; it is ended for this, unless it does so by itself."""
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)
            self._end()
        if isinstance(self._ended, Fault):
            return f": {self._ended}"
        if self._ended is None:
            return ""
        return f": exit status {self._ended.status}: {printable(self._ended.stderr).strip()[-ERROR_CHARS:]}"

    def _host(self, home: Path, listener: SocketListener) -> None:
        guest = Guest(
            (sys.executable, "-I", "-S", "-c", _CONNECT, f"{{home}}/{SOCKET}", *self._server.command),
            home,
            env={"PYTHONDONTWRITEBYTECODE": "1", **self._server.env},
            readable=tuple(dict.fromkeys((*self._readable, *paths_in(self._server.command)))),
            writable=self._writable,
        )
        try:
            self._ended = self._workspace.host(guest, timeout_s=max(1.0, self._timeout_s), cancel=self._stop)
        except Fault as fault:
            self._ended = fault
        self._portal.call(listener.aclose)  # nobody comes any more


@asynccontextmanager
async def _opened(client: Client) -> AsyncIterator[Client]:
    import anyio

    with anyio.fail_after(START_S) as patience:
        async with client as entered:
            patience.deadline = float("inf")
            yield entered


async def _tools(client: Client) -> list[Any]:
    import anyio

    found: list[Any] = []
    with anyio.fail_after(START_S):
        page = await client.list_tools()
        found += page.tools
        while page.next_cursor and len(found) < TOOLS_MAX:
            page = await client.list_tools(cursor=page.next_cursor)
            found += page.tools
    return found


async def _called(client: Client, name: str, arguments: dict[str, Any], timeout_s: float) -> Any:
    import anyio

    with anyio.fail_after(timeout_s):
        return await client.call_tool(name, arguments)


@asynccontextmanager
async def _lines(listener: SocketListener) -> AsyncIterator[TransportStreams]:
    """Messages as lines of JSON, over the first connection that comes."""
    import anyio
    from mcp.shared.message import SessionMessage

    stream = await listener.accept()
    heard, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, said = anyio.create_memory_object_stream[SessionMessage](0)

    async def hear() -> None:
        async with heard:
            async for line in _split(stream):
                await heard.send(_message(line))

    async def say() -> None:
        async with said:
            async for each in said:
                await stream.send(each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")

    async def until_it_ends(work: Callable[[], Any]) -> None:
        try:
            await work()
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError):
            await heard.aclose()  # the session sees the end, whichever side it came from

    async with stream, incoming, outgoing, anyio.create_task_group() as tasks:
        tasks.start_soon(until_it_ends, hear)
        tasks.start_soon(until_it_ends, say)
        yield incoming, outgoing
        tasks.cancel_scope.cancel()


async def _split(stream: SocketStream) -> AsyncIterator[bytes]:
    """The lines of a stream; it ends where one is too long to be a message."""
    import anyio

    kept = bytearray()
    while True:
        try:
            kept += await stream.receive()
        except anyio.EndOfStream:
            return
        *lines, rest = bytes(kept).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        kept = bytearray(rest)
        if len(kept) > MESSAGE_BYTES_MAX:
            return


def _message(line: bytes) -> Any:
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


def named(server: str, tool: str) -> str:
    """A tool's name for the model: ``mcp__SERVER__TOOL``, of letters, digits, - and _, 64 at most."""
    name = f"mcp__{_ODD.sub('_', server)}__{_ODD.sub('_', tool)}"
    if len(name) <= NAME_CHARS and name == f"mcp__{server}__{tool}":
        return name
    mark = blake2b(f"{server}/{tool}".encode("utf-8", "replace"), digest_size=4).hexdigest()
    return f"{name[: NAME_CHARS - 9]}_{mark}"


def _texts(result: Any) -> list[str]:
    """What a tool answered, as text: a model that is asked over an API is shown no pictures."""
    texts = [getattr(block, "text", None) or f"[{block.type}, not shown]" for block in result.content]
    if not texts and result.structured_content is not None:
        texts = [json.dumps(result.structured_content, ensure_ascii=False)]
    return [clean(each) for each in texts]


def _told(error: BaseException) -> str:
    """The first of what went wrong, in one line."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {printable(clean(str(error)))[:ERROR_CHARS]}".removesuffix(": ")
