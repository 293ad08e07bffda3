"""Where the model servers of a run are: a small file in the run folder, written by the driver, read by agents."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "model-servers.json"


@dataclass(frozen=True, slots=True)
class Addresses:
    """One server. ``urls`` are the replicas that serve now, up to and without ``/v1``; ``model`` what they call it.

    Where there is none, ``coming`` says whether one may be again, and ``why`` what happened.
    """

    model: str
    urls: tuple[str, ...] = ()
    window_tokens: int = 0
    """Most tokens of input and output together; 0: the server did not say."""
    coming: bool = False
    why: str = ""


def write(file: Path, servers: Mapping[str, Addresses]) -> None:
    """Replace the file by one that is whole at every moment. Raises OSError."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_text(json.dumps({name: asdict(found) for name, found in servers.items()}, indent=1) + "\n")
    beside.replace(file)


def read(file: Path, name: str) -> Addresses:
    """The server called ``name``. Raises OSError, or ValueError if the file is none of ours or has no such server."""
    try:
        found = json.loads(file.read_text())[name]
        return Addresses(**{**found, "urls": tuple(found["urls"])})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} has no model server {name!r}") from error
