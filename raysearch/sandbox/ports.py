"""Opens ports in a sandbox's own network, hands them out to who serves them, and becomes the command.

A script of its own, started inside as ``python -I -S ports.py FD PORT... -- COMMAND...`` by
`raysearch.sandbox.hosting`; FD is a Unix socket, which the command does not get. A port keeps the network that it was
opened in, whoever accepts its connections: nothing of this stays behind inside.
"""

from __future__ import annotations

import os
import socket
import sys


def main(words: list[str]) -> None:
    """Never returns."""
    cut = words.index("--")
    command = words[cut + 1 :]
    with socket.socket(fileno=int(words[0])) as way_out:
        opened = [listening(int(port)) for port in words[1:cut]]
        socket.send_fds(way_out, [b"."], [port.fileno() for port in opened])
        for port in opened:
            port.close()
    os.environ["PWD"] = os.getcwd()  # noqa: PTH109 - bubblewrap leaves another; pathlib doubles the start
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"raysearch: cannot run {command[0]}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def listening(port: int) -> socket.socket:
    """A socket that waits for connections to ``port`` of the loopback device. Raises OSError."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(("127.0.0.1", port))
        opened.listen(128)
    except OSError:
        opened.close()
        raise
    return opened


if __name__ == "__main__":
    main(sys.argv[1:])
