"""The command line. Heavy libraries are loaded inside the commands that need them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from raysearch.cli.commands import root
from raysearch.cli.exits import status_of
from raysearch.errors import UserError

__all__ = ["main"]

COMPLETE = "_RAYSEARCH_COMPLETE"
"""Variable by which a shell asks what can be typed next."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status; `raysearch.cli.exits` lists them."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):  # whatever its encoding, and whatever a file is called
            sys.stdout.reconfigure(errors="backslashreplace")
        _check_folder()
        words = None if arguments is None else list(arguments)
        status = root.main(args=words, prog_name="raysearch", standalone_mode=False)
    except BaseException as error:
        meant_for_shells = COMPLETE in os.environ and isinstance(error, KeyError | ValueError)
        told = UserError(f"{COMPLETE} is set, which only a shell's completion does: unset it")
        status = status_of(told if meant_for_shells else error)
    sys.exit(status if isinstance(status, int) else 0)


def _check_folder() -> None:
    """Raise UserError if the working directory is gone: everything is relative to it."""
    try:
        Path.cwd()
    except OSError as error:
        raise UserError(f"the working folder cannot be used ({error.strerror}): cd to another one") from None
