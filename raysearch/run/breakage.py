"""Programs that no checker may pass, made from one that it should."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from raysearch.target import may_change

GARBAGE = b"]]] this is no program [[[ (((\n"
FILES_MAX = 6
"""So many files are broken one by one."""
_C_QUITS = b"#include <unistd.h>\n__attribute__((constructor)) static void at_once(void) { _exit(0); }\n"
_QUITS = {
    ".py": b"import os\n\nos._exit(0)\n",
    ".sh": b"exit 0\n",
    ".js": b"process.exit(0);\n",
    ".mjs": b"process.exit(0);\n",
    ".rb": b"exit! 0\n",
    ".c": _C_QUITS,
    ".cc": _C_QUITS,
    ".cpp": _C_QUITS,
    ".cxx": _C_QUITS,
}
"""What a program of the language must begin with to end at once, with status 0."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A program to be refused: ``changes`` has the new content of files, or None for those that are gone.

    ``sound`` says whether one that passes is the checker's fault beyond doubt.
    """

    name: str
    changes: dict[str, bytes | None]
    sound: bool
    mend: str


def editable_files(program: Path, patterns: Sequence[str]) -> list[str]:
    """Paths of the program's files that a candidate may change, the largest first."""
    files = [path for path in program.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path.relative_to(program).as_posix(): path.stat().st_size for path in files}
    inside = [name for name in names if may_change(name, patterns)]
    return sorted(inside, key=lambda name: (-names[name], name))


def broken(program: Path, files: Sequence[str]) -> Iterator[Broken]:
    """Ways to break ``files`` of ``program``."""
    yield Broken(
        "empty program",
        dict.fromkeys(files),
        True,
        "look in the checker whether the files are there, and say no if they are not",
    )
    if not files:
        return
    yield Broken(
        "garbage",
        dict.fromkeys(files, GARBAGE),
        True,
        "the checker must run the program and compare what comes back with what is right",
    )
    quits = {name: _quitting(program / name) for name in files if PurePosixPath(name).suffix in _QUITS}
    if quits:
        yield Broken(
            "ends at once, status 0",
            dict(quits),
            True,
            "an exit status proves nothing: the program shares it; compare answers, or count what was tested",
        )
    cut = _cut((program / files[0]).read_bytes())
    yield Broken(
        f"half of {files[0]}",
        {files[0]: cut},
        False,
        "if the second half of the file matters, nothing checks it",
    )
    if len(files) > 1:
        for name in files[:FILES_MAX]:
            yield Broken(
                f"garbage in {name}",
                {name: GARBAGE},
                False,
                "nothing checks this file: check it, or leave it out of `editable`",
            )


def _quitting(path: Path) -> bytes:
    """Compiled languages keep the rest, so that it still builds."""
    first = _QUITS[path.suffix]
    return first + path.read_bytes() if first is _C_QUITS else first


def _cut(content: bytes) -> bytes:
    """The first half, without what follows its last whole word, so that it does not end neatly."""
    return content.strip()[: len(content.strip()) // 2]


def apply(broken_: Broken, program: Path) -> None:
    """Break a copy of the program in place."""
    for name, content in broken_.changes.items():
        if content is None:
            (program / name).unlink()
        else:
            (program / name).write_bytes(content)
