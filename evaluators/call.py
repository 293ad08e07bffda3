"""How a target's checker and benchmark are called, for scripts that use our libraries (docs/results-schema.md)."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VOID_STATUS = 75
"""Exit status (``EX_TEMPFAIL`` of sysexits.h) by which an evaluator says: this did not count, ask again."""
PR_SET_DUMPABLE = 4


@dataclass(frozen=True, slots=True)
class Call:
    """What an evaluator's script is called with; absolute paths."""

    candidate: Path
    reference: Path
    seed: int
    """From 0 to 2⁶³ − 1."""
    result: Path


def read_call(argv: Sequence[str] | None, does: str) -> Call:
    """The arguments ``argv``, or this process's own; ``does`` says in ``--help`` what the script is for.

    From this process's own the seed is then gone (`hide_seed`): what is imported later cannot read it there.
    Arguments that do not fit end the process with status 2 and one line that says why.
    """
    parser = argparse.ArgumentParser(description=does, allow_abbrev=False)
    parser.add_argument("--candidate", type=Path, required=True, help="folder with the program to look at")
    parser.add_argument("--reference", type=Path, required=True, help="folder with the reference")
    parser.add_argument("--seed", type=int, required=True, help="chooses the inputs; 0 or more")
    parser.add_argument("--result", type=Path, required=True, help="where the result goes (JSON)")
    given = parser.parse_args(argv)
    if argv is None:
        hide_seed()
    return Call(given.candidate.absolute(), given.reference.absolute(), given.seed, given.result.absolute())


def hide_memory() -> None:
    """Keep processes of the same user from reading this one's memory, and the inputs to come in it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def hide_seed() -> None:
    """Put noughts in the seed's place in ``sys.argv``, and in what the machine shows as this process's command line."""
    for words in (sys.argv, sys.orig_argv):
        for place, word in enumerate(words):
            if place and words[place - 1] == "--seed":
                words[place] = "0"
            elif word.startswith("--seed="):
                words[place] = "--seed=0"
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError, IndexError):
            _overwrite_seed()


def _overwrite_seed() -> None:
    """In the memory from which ``/proc/PID/cmdline`` is read: from ``arg_start`` to ``arg_end`` of proc_pid_stat(5)."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    if not 0 < start < end:
        return
    words = ctypes.string_at(start, end - start)
    for match in re.finditer(rb"(?<=\0--seed[\0=])[^\0]+", words):
        ctypes.memset(start + match.start(), ord("0"), match.end() - match.start())
