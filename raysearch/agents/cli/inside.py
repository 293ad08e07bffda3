"""What of this machine a program sees in its sandbox beside the workspace."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from raysearch.agents.cli.programs import Program, paths_in
from raysearch.agents.interface import McpServer
from raysearch.sandbox.owners import make_private


@contextmanager
def shown() -> Iterator[Path]:
    """A folder for what a program must read, gone afterwards."""
    folder = make_private()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def open_folder(folder: Path) -> None:
    """Let another user read it, whatever the umask."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def needed(program: Program, servers: Sequence[McpServer], folder: Path, more: Sequence[Path]) -> tuple[Path, ...]:
    """What must be visible inside: the program, what it reads, and what it starts."""
    started = [path for server in servers if server.command for path in paths_in(server.command)]
    return tuple(dict.fromkeys((*program.needs, folder, *more, *started)))
