"""What a plug-in must leave as it found it: files, this process, its randomness."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

Snapshot = Mapping[str, tuple[int, bytes]]
"""Path below a folder to mode and content; of a link, where it leads."""


def snapshot(folder: Path) -> Snapshot:
    """Everything below ``folder``. Byte code caches do not count."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in sorted(folder.rglob("*")):
        if "__pycache__" in path.parts:
            continue
        mode = path.lstat().st_mode
        if path.is_symlink():
            found[str(path.relative_to(folder))] = mode, os.fsencode(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(folder))] = mode, path.read_bytes()
        else:
            found[str(path.relative_to(folder))] = mode, b""
    return found


def difference(before: Snapshot, after: Snapshot) -> str:
    """What was added, removed or changed, by name; empty if nothing was."""
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    return ", ".join(changed[:5]) + (", ..." if len(changed) > 5 else "")


@contextmanager
def undisturbed(what: str) -> Iterator[None]:
    """Raise AssertionError if the code within draws from global randomness or leaves something of itself behind."""
    states, folder, environment = _random_states(), Path.cwd(), dict(os.environ)
    threads, children = set(threading.enumerate()), _children()
    yield
    for name, state in _random_states().items():
        assert repr(states.get(name, state)) == repr(state), (
            f"{what} used the global generator of {name}: draw from `rng` alone, or seed a generator of your own "
            "with rng.getrandbits(64)"
        )
    assert Path.cwd() == folder, f"{what} changed the working directory: pass `cwd` to what needs it"
    assert dict(os.environ) == environment, f"{what} changed os.environ: pass `env` to what needs it"
    left = [thread.name for thread in threading.enumerate() if thread not in threads and not thread.daemon]
    assert not left, f"{what} left threads running ({', '.join(left)}): join them"
    orphans = _children() - children
    assert not orphans, f"{what} left processes running ({sorted(orphans)}): wait for them, or use workspace.run"


def _random_states() -> dict[str, object]:
    """State of each generator that all code of this process shares."""
    states: dict[str, object] = {"random": random.getstate()}
    numpy: ModuleType | None = sys.modules.get("numpy")
    if numpy is not None:
        states["numpy.random"] = [part.tolist() if hasattr(part, "tolist") else part for part in _numpy_state(numpy)]
    return states


def _numpy_state(numpy: ModuleType) -> tuple[object, ...]:
    state: tuple[object, ...] = numpy.random.get_state()
    return state


def _children() -> set[int]:
    """Processes that this one has started and that still run; where there is no /proc, none that can be seen."""
    found: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            found.update(int(word) for word in listing.read_text().split())
        except OSError:  # a thread that has just ended
            continue
    return found
