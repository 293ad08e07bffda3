"""``python -m raysearch.testing.models --script FILE[:NAME]``: serve a script until told to stop.

FILE is Python; NAME in it (``script`` if not given) is a function from Request to Turn, a turn, or a list of turns.
The address is printed as one line as soon as it is served. With ``--record FILE`` every exchange is appended there as
one line of JSON, when it ends. SIGTERM and SIGINT end it with status 0, or 1 if the script failed at any request.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from raysearch.errors import RaysearchError, UserError, nearest
from raysearch.testing.models.script import Scripted, ScriptError, Turn
from raysearch.testing.models.server import Exchange, ModelServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m raysearch.testing.models", description="Serve a scripted model.")
    parser.add_argument("--script", required=True, metavar="FILE[:NAME]", help="a Python file, and the script in it")
    parser.add_argument("--port", type=int, default=0, help="0 (the default): any that is free")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append every exchange as a line of JSON")
    parser.add_argument("--model", action="append", metavar="NAME", help="a model to list (repeat for more)")
    options = parser.parse_args(arguments)
    stop = threading.Event()

    def stopped(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopped)
    try:
        _serve(load(options.script), options.port, options.record, options.model or ("scripted-model",), stop)
    except ScriptError as error:
        print(f"the script failed: {error}", file=sys.stderr)
        return 1
    except (RaysearchError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def load(where: str) -> Scripted:
    """The script that FILE[:NAME] names. `UserError` says what is wrong with it."""
    file, mark, name = where.rpartition(":")
    if not mark or not file or "/" in name:
        file, name = where, "script"
    path = Path(file)
    if not path.is_file():
        raise UserError(f"--script {where}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"raysearch_script_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--script {where}: {path} is no Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"--script {where}: {path} cannot be loaded: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        known = [known for known in vars(module) if not known.startswith("_")]
        raise UserError(f"--script {where}: {path} has no {name!r}.{nearest(name, known)}")
    found = getattr(module, name)
    turns = isinstance(found, list | tuple) and all(isinstance(turn, Turn) for turn in found)
    if not (callable(found) or isinstance(found, Turn) or turns):
        raise UserError(
            f"--script {where}: {name} must be a function, a Turn or a list of turns, is {type(found).__name__}"
        )
    served: Scripted = found
    return served


def _serve(script: Scripted, port: int, record: Path | None, models: Sequence[str], stop: threading.Event) -> None:
    with ExitStack() as stack:
        kept: Callable[[Exchange], None] | None = None
        if record is not None:
            lines = stack.enter_context(record.open("a", buffering=1, encoding="utf-8"))

            def kept(exchange: Exchange) -> None:
                lines.write(json.dumps(asdict(exchange), default=_plain) + "\n")

        server = stack.enter_context(ModelServer(script, port=port, models=models, on_exchange=kept))
        print(server.url, flush=True)
        stop.wait()


def _plain(value: Any) -> str:
    return repr(value)


if __name__ == "__main__":
    sys.exit(main())
