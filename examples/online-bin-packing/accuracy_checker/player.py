"""The process that a heuristic lives in: scores the bins for one item of each instance, and only then gets more.

Called as ``python -I -B player.py REQUESTS_FD ANSWERS_FD MEMORY_FD LANES ROOM MEMORY_MB HEURISTIC``. A lane is one
instance. The memory, shared with the process that packs, holds doubles: for each lane its item, how many bins fit
(0: nothing to do), and up to ROOM capacities, which the scores replace. A request is one byte. An answer is 8 bytes:
0, or the length of a text (``RULE|detail``) that follows and is the last thing sent. Two answers come unasked: one
before the heuristic's code is loaded, one after.

What this process believes does not matter: the one that packs takes scores from the memory and checks them itself.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import types
from collections.abc import Callable
from pathlib import Path

ALLOWED_MODULES = ("numpy", "math", "functools", "itertools", "operator", "collections", "typing", "__future__")
HEURISTIC_FILE = "heuristic.py"


class Wrong(Exception):
    """``RULE|detail``: what came back is no scores."""


def describe(error: BaseException) -> str:
    """``RULE|detail`` for what a heuristic raised, with the line of its own file where it happened."""
    if isinstance(error, Wrong):
        return str(error)
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == HEURISTIC_FILE:
            line = f" ({HEURISTIC_FILE} line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == HEURISTIC_FILE:
        line = f" ({HEURISTIC_FILE} line {error.lineno})"
    said = f"{type(error).__name__}: {error}"[:2000] + line
    if isinstance(error, PermissionError):
        return f"out of bounds|a heuristic may open no file, socket, process or thread: {said}"
    if isinstance(error, ImportError):
        return f"import|{said}; a heuristic may import {', '.join(ALLOWED_MODULES[:-1])}"
    if isinstance(error, ValueError) and ("read-only" in str(error) or "WRITEABLE" in str(error)):
        return f"changes its input|`remaining` must stay as it is; work on a copy of it: {said}"
    return f"raised|{said}"


def serve(requests: int, answers: int, memory: mmap.mmap, lanes: int, room: int, source: bytes) -> None:
    import numpy as np

    shared = np.frombuffer(memory, np.float64).reshape(lanes, 2 + room)
    good = struct.pack("=q", 0)
    os.write(answers, good)
    module = types.ModuleType("heuristic")
    sys.modules["heuristic"] = module
    exec(compile(source, HEURISTIC_FILE, "exec"), module.__dict__)
    priority: Callable[[float, object], object] = module.priority
    os.write(answers, good)
    read, write = os.read, os.write
    while read(requests, 1):
        for lane in shared:
            count = int(lane[1])
            if count:
                view = lane[2 : 2 + count]
                # Numbers in an immutable object of its own: what writes to them fails.
                scores = np.asarray(priority(float(lane[0]), np.frombuffer(view.tobytes())))
                if scores.shape != (count,):
                    raise Wrong(f"shape|priority returned an array of shape {scores.shape}, not ({count},)")
                if scores.dtype.kind not in "fiub":
                    raise Wrong(f"numbers|priority returned an array of {scores.dtype}, not of real numbers")
                view[:] = scores
        write(answers, good)


def last_words(answers: int, text: str) -> None:
    said = text.encode(errors="replace")
    os.write(answers, struct.pack("=q", len(said)) + said)


def main() -> None:
    requests, answers, memory_fd, lanes, room, memory_mb = (int(word) for word in sys.argv[1:7])
    sys.path.append(str(Path(__file__).parent))
    import importlib
    import resource

    import jail
    import numpy as np

    for name in ALLOWED_MODULES:
        importlib.import_module(name)
    np.seterr(all="ignore")
    memory = mmap.mmap(memory_fd, lanes * (2 + room) * 8)
    source = Path(sys.argv[7]).read_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    try:
        jail.close_door()
    except jail.Unsupported as error:
        last_words(answers, f"unsupported|{error}")
        return
    try:
        serve(requests, answers, memory, lanes, room, source)
    except BaseException as error:  # SystemExit and KeyboardInterrupt are a heuristic's doing too
        last_words(answers, describe(error))


if __name__ == "__main__":
    main()
