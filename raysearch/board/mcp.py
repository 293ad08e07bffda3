"""``raysearch-issue-mcp``: the issue board as a server of the Model Context Protocol, for agents.

It speaks over its standard input and output, or over streamable HTTP. It never writes the board: what an agent files
goes into the outbox, and the run's driver decides. `serving` is the same in a thread of this process.
"""

from __future__ import annotations

import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from raysearch.board.desk import Desk, Mistaken, Unfiled, as_text
from raysearch.board.outbox import read_snapshot
from raysearch.board.permissions import READ_ONLY, Permissions, permissions_of
from raysearch.board.types import NAME_MAX, Action, Author, Kind
from raysearch.errors import nearest

NAME = "issues"
"""What agents call the server."""
START_S = 30.0


def server(desk: Desk) -> Any:
    """The server (an ``mcp.server.lowlevel.Server``) at which the desk's author is served."""
    import mcp_types as protocol
    from mcp.server.lowlevel import Server

    def tool(name: str, told: str, schema: dict[str, Any]) -> protocol.Tool:
        return protocol.Tool(name=name, description=told, input_schema=schema)

    async def tools(context: object, page: object) -> protocol.ListToolsResult:  # noqa: ARG001 - the protocol's
        return protocol.ListToolsResult(tools=[tool(each.name, each.told, each.schema) for each in desk.tools])

    async def call(context: object, asked: protocol.CallToolRequestParams) -> protocol.CallToolResult:  # noqa: ARG001
        try:
            row = desk.call(asked.name, asked.arguments or {})
        except (Mistaken, Unfiled) as error:
            return protocol.CallToolResult(content=[protocol.TextContent(type="text", text=str(error))], is_error=True)
        text = protocol.TextContent(type="text", text=as_text(row))
        return protocol.CallToolResult(content=[text], structured_content=row)

    return Server(
        NAME,
        version=version("raysearch"),
        instructions="The issues of the program that you work on. What you file reaches the others with your answer.",
        on_list_tools=tools,
        on_call_tool=call,
    )


def over_stdio(desk: Desk) -> None:
    """Serve until the standard input ends."""
    import anyio
    from mcp.server.stdio import stdio_server

    async def serve() -> None:
        serving = server(desk)
        async with stdio_server() as (read, write):
            await serving.run(read, write, serving.create_initialization_options())

    anyio.run(serve)


@contextmanager
def serving(desk: Desk, *, host: str = "127.0.0.1", port: int = 0, secret: bool = True) -> Iterator[str]:
    """Serve over streamable HTTP in a thread; yields the address.

    With ``secret`` a part of the address cannot be guessed: whoever on the machine knows the port alone is not served.
    Raises Unfiled if the port cannot be had.
    """
    import uvicorn

    path = f"/{secrets.token_urlsafe(16)}/mcp" if secret else "/mcp"
    app = server(desk).streamable_http_app(
        streamable_http_path=path, json_response=True, stateless_http=True, host=host
    )
    try:
        door = socket.create_server((host, port))
    except OSError as error:
        raise Unfiled(f"nothing can listen on {host}:{port}: {error.strerror}") from error
    with door:
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2, ws="none")
        serves = uvicorn.Server(config)
        thread = threading.Thread(target=serves.run, args=([door],), name="raysearch-issues", daemon=True)
        thread.start()
        try:
            until_s = time.monotonic() + START_S
            while not serves.started:
                if not thread.is_alive() or time.monotonic() > until_s:
                    raise Unfiled("the board's server did not start")
                time.sleep(0.005)
            yield f"http://{host}:{door.getsockname()[1]}{path}"
        finally:
            serves.should_exit = True
            thread.join()


def _names(kind: type[Kind] | type[Action], text: str) -> frozenset[Any]:
    found = []
    for word in filter(None, (word.strip() for word in text.split(","))):
        if word not in {each.value for each in kind}:
            raise click.UsageError(f"{word!r} is no {kind.__name__.lower()}.{nearest(word, [k.value for k in kind])}")
        found.append(kind(word))
    return frozenset(found)


def _permissions(
    role: str, read_only: bool, creates_max: int | None, kinds: str | None, actions: str | None
) -> Permissions:
    if read_only:
        return READ_ONLY
    may = permissions_of(role)
    if kinds is not None:
        may = replace(may, kinds=_names(Kind, kinds))
    if actions is not None:
        may = replace(may, actions=_names(Action, actions))
    if creates_max is not None:
        may = replace(may, creates_max=creates_max)
    return may


@click.command("raysearch-issue-mcp", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("snapshot", type=click.Path(path_type=Path))
@click.option(
    "--outbox",
    "outboxes",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Where what is filed goes. Repeatable: the first that is there; the first one, if none is.",
)
@click.option("--role", required=True, help="Who files: judge, performance_evaluator, ...")
@click.option("--name", default="", help="Which one of that role.")
@click.option("--creates-max", type=click.IntRange(0, 1000), help="Issues that may be created.")
@click.option("--kinds", help="Kinds of issues that may be created, separated by commas.")
@click.option("--actions", help="Actions that may be taken, separated by commas.")
@click.option("--read-only", is_flag=True, help="Look, and file nothing.")
@click.option("--http", metavar="HOST:PORT", help="Serve over streamable HTTP, at /mcp; the address is printed first.")
def main(
    snapshot: Path,
    outboxes: Sequence[Path],
    role: str,
    name: str,
    creates_max: int | None,
    kinds: str | None,
    actions: str | None,
    read_only: bool,
    http: str | None,
) -> None:
    """The issue board in the file SNAPSHOT, for one agent, over the Model Context Protocol (stdio, unless --http)."""
    if len(role) > NAME_MAX or len(name) > NAME_MAX or not role.strip():
        raise click.UsageError(f"a role and a name have 1 to {NAME_MAX} characters")
    may = _permissions(role, read_only, creates_max, kinds, actions)
    outbox = next((place for place in outboxes if place.is_file()), outboxes[0])
    desk = Desk(snapshot, outbox, Author(role, name), may)
    try:
        read_snapshot(snapshot)
        if http is None:
            over_stdio(desk)
            return
        host, _, port = http.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise click.UsageError(f"--http needs HOST:PORT, not {http!r}; port 0 is any free one")
        with serving(desk, host=host, port=int(port), secret=False) as address:
            click.echo(address)
            threading.Event().wait()
    except Unfiled as error:
        click.echo(f"raysearch-issue-mcp: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
