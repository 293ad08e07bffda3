"""Ways out of the sandbox for an agent's program: addresses, and the ports at which they are reached inside."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

from raysearch.agents.interface import McpServer
from raysearch.errors import ConfigError
from raysearch.protocols import Relay


def relayed_server(server: McpServer, port: int) -> tuple[Relay, McpServer]:
    """The way to an MCP server that is reached by its address, and the server as it is reached inside."""
    require_address(server.url)
    address = urlsplit(server.url)
    above, _, last = address.path.rpartition("/")
    query = f"?{address.query}" if address.query else ""
    return (
        Relay(port, f"{address.scheme}://{address.netloc}{above}"),
        replace(server, url=f"http://127.0.0.1:{port}/{last}{query}"),
    )


def require_address(url: str) -> None:
    """Raise ConfigError unless ``url`` names a server."""
    try:
        address = urlsplit(url)
        good = address.scheme in {"http", "https"} and bool(address.hostname) and address.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{url!r} is no address of a server, as http://HOST:PORT/PATH is")


def free_ports(number: int) -> list[int]:
    """Ports on which nothing listens: what is free here is so in a network of its own, too."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
