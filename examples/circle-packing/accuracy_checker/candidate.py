"""Runs a candidate's `pack()` in a child process and reads what it returned, believing nothing."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

COUNT = 26
ANSWER_BYTES_MAX = 1_000_000
CHILD = Path(__file__).resolve().parent / "run_pack.py"


@dataclass(frozen=True)
class Packing:
    """What `pack()` returned: doubles in the right shapes, otherwise unchecked."""

    centers: tuple[tuple[float, float], ...]
    radii: tuple[float, ...]


class BadCandidate(Exception):
    """The candidate gave no packing. ``rule`` names the case that it fails: ``runs``, ``shape`` or ``finite``."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def run_pack(folder: Path, limit_s: float) -> Packing:
    """What `pack()` in ``folder``/solution.py returns within ``limit_s`` seconds. Raises BadCandidate."""
    if not (folder / "solution.py").is_file():
        raise BadCandidate("runs", "there is no solution.py")
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        status = _run_child(folder.resolve(), answer, limit_s)
        if status is None:
            raise BadCandidate("runs", f"pack() did not return within {limit_s:g} s")
        if status != 0 or not answer.is_file():
            ending = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
            raise BadCandidate("runs", f"the process {ending} before pack() returned")
        with answer.open("rb") as file:
            text = file.read(ANSWER_BYTES_MAX + 1)
    return read_answer(text)


def _run_child(folder: Path, answer: Path, limit_s: float) -> int | None:
    """Exit status of the child, None if it ran out of time. Its process group is gone afterwards."""
    command = [sys.executable, "-P", "-B", str(CHILD), str(folder), str(answer)]
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(command, cwd=folder, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        return child.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def read_answer(text: bytes) -> Packing:
    """The packing that the child wrote down. Raises BadCandidate."""
    if len(text) > ANSWER_BYTES_MAX:
        raise BadCandidate("shape", "pack() returned far more than 26 circles")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise BadCandidate("runs", "the process ended before pack() returned") from None
    if not isinstance(answer, dict):
        raise BadCandidate("runs", "the process ended before pack() returned")
    if "error" in answer:
        raise BadCandidate("runs", str(answer["error"])[:2000])
    centers, radii = answer.get("centers"), answer.get("radii")
    if shape(centers) != (COUNT, 2) or shape(radii) != (COUNT,):
        raise BadCandidate(
            "shape", f"centers must be ({COUNT}, 2) and radii ({COUNT},), not {shape(centers)} and {shape(radii)}"
        )
    packing = Packing(tuple((float(x), float(y)) for x, y in centers), tuple(float(r) for r in radii))
    for i, (point, radius) in enumerate(zip(packing.centers, packing.radii, strict=True)):
        if not all(map(math.isfinite, (*point, radius))):
            raise BadCandidate("finite", f"circle {i} is not finite: center {point}, radius {radius}")
    return packing


def shape(value: object, depth_max: int = 3) -> tuple[int, ...] | None:
    """Shape of nested lists of doubles; None where they are ragged, deeper, or hold anything else."""
    if isinstance(value, float):
        return ()
    if not isinstance(value, list) or depth_max == 0:
        return None
    if not value:
        return (0,)
    inner = {shape(item, depth_max - 1) for item in value}
    first = inner.pop()
    return None if inner or first is None else (len(value), *first)
