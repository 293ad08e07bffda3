"""The process that a policy lives in: reads one request for each lane, answers all, and only then gets more.

Called as ``python -I -S -B player.py REQUESTS_FD ANSWERS_FD MEMORY_MB POLICY CAPACITY...``. A lane is one cache
with its own ``Policy`` object. A frame of requests is one signed 64-bit key a lane. A frame of answers is a
header and one 64-bit number a lane: the key that leaves, or 0. A header of 0 says that all is well; any other
is the length of a text (``RULE|detail``) that follows instead of the answers, and is the last thing sent. Two
frames of zeros come unasked: one before the policy's code is loaded, one when its caches are built.
"""

from __future__ import annotations

import os
import struct
import sys
import types
from pathlib import Path

ALLOWED_MODULES = (
    *("abc", "array", "bisect", "collections", "collections.abc", "dataclasses", "enum", "functools", "heapq"),
    *("itertools", "math", "operator", "random", "statistics", "typing"),
)
POLICY_FILE = "policy.py"


def describe(error: BaseException) -> str:
    """``RULE|detail`` for what a policy raised, with the line of its own file where it happened."""
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == POLICY_FILE:
            line = f" ({POLICY_FILE} line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == POLICY_FILE:
        line = f" ({POLICY_FILE} line {error.lineno})"
    said = f"{type(error).__name__}: {error}"[:2000] + line
    if isinstance(error, PermissionError):
        return f"out of bounds|a policy may open no file, socket, process or thread: {said}"
    if isinstance(error, ImportError):
        return f"import|{said}; a policy may import {', '.join(ALLOWED_MODULES)}"
    return f"raised|{said}"


def last_words(answers: int, text: str) -> None:
    said = text.encode(errors="replace")
    os.write(answers, struct.pack("=q", len(said)) + said)


def wrong_type(leaving: list[object]) -> str:
    for lane, answer in enumerate(leaving):
        if answer is not None and not isinstance(answer, int):
            shown = repr(answer)[:80]
            return f"answer|lane {lane}: access returned {shown}, which is neither None nor one of the keys"
    return "answer|access returned a number outside 64 bits, which cannot be one of the keys"


def play(requests: int, answers: int, source: str, capacities: list[int]) -> None:
    asked = struct.Struct(f"={len(capacities)}q")
    answered = struct.Struct(f"={len(capacities) + 1}q")
    ready = bytes(answered.size)
    os.write(answers, ready)
    module = types.ModuleType("policy")
    sys.modules["policy"] = module
    exec(compile(source, POLICY_FILE, "exec"), module.__dict__)
    accesses = [module.Policy(capacity).access for capacity in capacities]
    read, write = os.read, os.write
    write(answers, ready)
    while frame := read(requests, asked.size):
        leaving = [access(key) for access, key in zip(accesses, asked.unpack(frame), strict=True)]
        try:
            reply = answered.pack(0, *[key or 0 for key in leaving])
        except struct.error:
            last_words(answers, wrong_type(leaving))
            return
        write(answers, reply)


def main() -> None:
    requests, answers, memory_mb = (int(word) for word in sys.argv[1:4])
    sys.path.append(str(Path(__file__).parent))  # with -I and -S, nothing but the standard library is there
    import importlib
    import resource

    import jail

    for name in ALLOWED_MODULES:
        importlib.import_module(name)
    source = Path(sys.argv[4]).read_text("utf-8")
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    try:
        jail.close_door()
    except jail.Unsupported as error:
        last_words(answers, f"unsupported|{error}")
        return
    try:
        play(requests, answers, source, [int(word) for word in sys.argv[5:]])
    except BaseException as error:  # SystemExit and KeyboardInterrupt are a policy's doing too
        last_words(answers, describe(error))


if __name__ == "__main__":
    main()
