"""An audit that has read many programs says of the next what one says that has read none."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.audit.ground import Ground
from evaluators.audit.static import Reader, static_signs

PIECES = [
    b"import json\nx = 1\n",
    b"import sys\nsys._getframe(1)\n",
    b"import run\n",
    b"import os\nopen('/proc/self/cmdline')\n",
    b"def f(:\n",
    b"TABLE = [" + b"1, " * 1010 + b"]\n",
    b'#include <stdio.h>\nint main() { return system("ls"); }\n',
    b"# " + b"x " * 8300,
    b"\x7fELF\0\0",
    b"",
]
PATHS = ["a.py", "run.py", "json.py", "lib/__init__.py", "kernel.c", "notes.md", "data.csv", "sitecustomize.py"]
PROGRAMS = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(PIECES), max_size=5)
GROUND = Ground(files=frozenset({"run.py"}), modules=frozenset({"run"}))


@given(PROGRAMS, st.lists(PROGRAMS, min_size=2, max_size=4), st.sampled_from([(), ("frames",)]))
@settings(max_examples=15, deadline=None)
def test_what_was_read_before_changes_nothing(
    base: dict[str, bytes], programs: list[dict[str, bytes]], allow: tuple[str, ...]
) -> None:
    reader = Reader(base, GROUND, allow)
    for program in [*programs, *reversed(programs)]:
        assert reader.signs(program) == static_signs(program, base, GROUND, allow)


def test_some_of_these_programs_have_signs() -> None:
    found = {sign.rule for path in PATHS for piece in PIECES for sign in static_signs({path: piece}, {}, GROUND)}
    assert {"frames", "evaluator-modules", "data-blobs", "hidden-code", "shadowing", "startup-files"} <= found
