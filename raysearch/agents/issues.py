"""The issue board as a server of `raysearch.agents.interface.Call.servers`.

`offered` is what agents get whose workspace has a desk. Below it are two ways to serve a board. Either way the agent
reads a snapshot and files into an outbox, from which `raysearch.board.outbox.read_outbox` makes the filings that go
back to the driver.

- `board_server` is started by the agent's program itself, in its sandbox. What runs there could write anything into the
  outbox: `read_outbox` holds it to its author and permissions.
- `board_served` is a server of this process, outside, which the agent reaches over a relay: it can file only what the
  server takes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from raysearch.agents.interface import Answered, Call, McpServer, Permission
from raysearch.board.desk import Desk
from raysearch.board.outbox import make_outbox
from raysearch.board.permissions import Permissions
from raysearch.board.types import Author

NAME = "issues"
SCRATCH_INSIDE = "/scratch"
"""Where a sandbox with a file system of its own shows a workspace's scratch folder."""


TOLD = """There is a board of issues of this program, which others file on too: the tools of the server "issues" show \
it{filing}. What you file reaches the others with your answer. Look there first for what is known already."""
FILING = ", and you may use those of them that are offered to you to file what they should know"


@contextmanager
def offered(desk: Desk | None, call: Call[Answered]) -> Iterator[Call[Answered]]:
    """``call`` with the board at ``desk`` beside its other servers, and a word about it, for as long as it is entered.

    Unchanged where there is no desk, where the agent is to answer from its prompt alone, or where another server has
    the name. Raises `raysearch.board.outbox.Unfiled` if no port is to be had.
    """
    taken = any(server.name == NAME for server in call.servers)
    if desk is None or taken or call.permission is Permission.NONE:
        yield call
        return
    told = TOLD.format(filing="" if desk.permissions.read_only else FILING)
    with board_served(desk.snapshot, desk.outbox, desk.author, desk.permissions) as server:
        yield replace(call, servers=(*call.servers, server), system=f"{call.system}\n\n{told}".lstrip())


def board_server(snapshot: Path, outbox: Path, author: Author, permissions: Permissions) -> McpServer:
    """A server that the agent's program starts with the interpreter that raysearch runs under.

    ``snapshot`` is any file of this machine: the sandbox shows it. ``outbox`` is a new file in the workspace's scratch
    folder, which is made here. Raises OSError if it is there already.
    """
    make_outbox(outbox)
    return McpServer(NAME, (*_program(), str(snapshot), *_places(outbox), *_options(author, permissions)))


@contextmanager
def board_served(snapshot: Path, outbox: Path, author: Author, permissions: Permissions) -> Iterator[McpServer]:
    """A server in a thread of this process, for as long as it is entered. ``outbox`` is any file of this machine.

    Raises `raysearch.board.outbox.Unfiled` if no port is to be had.
    """
    from raysearch.board.desk import Desk
    from raysearch.board.mcp import serving

    with serving(Desk(snapshot, outbox, author, permissions)) as address:
        yield McpServer(NAME, url=address)


def _program() -> tuple[str, ...]:
    """Isolated: neither the program's folder nor the environment decides what is imported."""
    return (sys.executable, "-I", "-B", "-m", "raysearch.board.mcp")


def _places(outbox: Path) -> tuple[str, ...]:
    """As one word each, so that no sandbox shows the outbox itself, read only, where it lies outside."""
    return (f"--outbox={outbox}", f"--outbox={SCRATCH_INSIDE}/{outbox.name}")


def _options(author: Author, permissions: Permissions) -> tuple[str, ...]:
    words = [f"--role={author.role}", f"--name={author.name}"]
    if permissions.read_only:
        return (*words, "--read-only")
    words += [f"--actions={','.join(sorted(permissions.actions))}", f"--kinds={','.join(sorted(permissions.kinds))}"]
    words += [] if permissions.creates_max is None else [f"--creates-max={permissions.creates_max}"]
    return tuple(words)
