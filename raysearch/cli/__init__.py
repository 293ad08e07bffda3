"""The command line. Heavy libraries are loaded inside the commands that need them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from raysearch.cli.commands import root
from raysearch.cli.exits import status_of

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status; `raysearch.cli.exits` lists them."""
    try:
        status = root.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except BaseException as error:
        status = status_of(error)
    sys.exit(status if isinstance(status, int) else 0)
