"""Targets drawn from a seed: a sound one, with its files or one of its documents changed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fuzz import TOML_VERBATIM, document, misplaced, spoiled, toml
from toys import make_target

TARGET: Mapping[str, Any] = {
    "name": "toy",
    "tunables": [
        {"name": "x", "file": "src/p.py", "kind": "float", "low": 0.0, "high": 20.0},
        {"name": "y", "file": "src/p.py", "kind": "categorical", "choices": ["a", "b", 3]},
    ],
    "checker": {"command": ["python", "checker.py"], "timeout_s": "30s"},
    "benchmark": {"command": "python benchmark.py", "timeout_s": 30},
    "candidate": {"editable": ["x.txt", "src/**"], "program_mb_max": 1.0},
    "limits": {"memory_mb": 512, "cpu_s": 10, "processes": 64, "file_mb": 10, "output_kb": 64, "network": False},
    "warm": {"imports": ["json"]},
    "environment": {"FLAVOUR": "plain", "LEVEL": "3"},
    "resources": {"judge": {"cpus": 0.5}, "benchmark": {"cpus": 1, "gpus": 0, "apple": 0}},
    "check": {"reference": True},
}
OBJECTIVES: Mapping[str, Any] = {
    "objective": [
        {"name": "near", "direction": "max", "unit": "1", "primary": True},
        {"name": "small", "direction": "min", "unit": "1", "noise": 0.01},
    ],
    "pareto": {"relative_noise": 0.02},
}
RECIPES: Mapping[str, Any] = {
    "recipe": [
        {"name": "more", "file": "more.patch", "needs": [], "excludes": ["less"], "description": "more of it"},
        {"name": "less", "needs": ["more"]},
    ],
}
PATCH = "--- a/x.txt\n+++ b/x.txt\n@@ -1 +1 @@\n-5\n+6\n"
DOCUMENTS: Mapping[str, Mapping[str, Any]] = {
    "target.toml": TARGET,
    "objectives.toml": OBJECTIVES,
    "recipes/recipes.toml": RECIPES,
}


NAMES = (
    *(b"caf\xe9", b"two\nlines", b"n" * 255, b".git", b".GIT", b"git~1", b".gitmodules", b".git ", b"-rf", b"CON"),
    *(b"\x1b[31m", "\u202e".encode(), b"a\\b", b"x.txt ", b"__pycache__", b".g\xe2\x80\x8cit", b"*", b"'", b".git:x"),
)


def sound(folder: Path) -> Path:
    """The target before anything is done to it."""
    make_target(folder)
    (folder / "recipes").mkdir()
    (folder / "seed" / "src").mkdir()
    (folder / "seed" / "src" / "p.py").write_text('x = 5.0\ny = "a"\n')
    for name, data in DOCUMENTS.items():
        (folder / name).write_text(toml(data))
    for name in ("more", "less"):
        (folder / "recipes" / f"{name}.patch").write_text(PATCH)
    return folder


def _named_oddly(rng: random.Random, folder: Path) -> str:
    """A file more whose name nobody thought of."""
    where = rng.choice(["seed", "reference", "accuracy_checker", "benchmark", "recipes"])
    name = os.fsdecode(rng.choice(NAMES))
    if not (folder / where).is_dir():
        return "nothing"
    if rng.random() < 0.3:
        (folder / where / name / name).mkdir(parents=True)
    else:
        (folder / where / name).write_bytes(b"x\n")
    return f"{where}/{name!a}"


def _linked(rng: random.Random, folder: Path) -> str:
    """A link more."""
    where = rng.choice(["seed", "reference", "accuracy_checker", "benchmark"])
    to = rng.choice(["x.txt", "/etc/passwd", "..", ".", "../reference", "nowhere", "link", "link/x", "", "a" * 4000])
    try:
        (folder / where / "link").symlink_to(to)
    except OSError:
        return "nothing"
    return f"{where}/link to {to[:20]!r}"


def spoilt(rng: random.Random, folder: Path) -> str:
    """Make a sound target in the new ``folder``, then spoil it; what was done."""
    sound(folder)
    ways: list[Callable[[], str]] = [lambda: _in_document(rng, folder)] * 6
    ways += [lambda: _in_files(rng, folder)] * 3
    ways += [lambda: _named_oddly(rng, folder), lambda: _linked(rng, folder)]
    return "; ".join(rng.choice(ways)() for _ in range(rng.choice([1, 1, 2])))


def _in_document(rng: random.Random, folder: Path) -> str:
    name = rng.choice([*DOCUMENTS, "target.toml"])
    told, content = document(rng, DOCUMENTS[name], toml, TOML_VERBATIM)
    if (folder / name).is_file():
        (folder / name).write_bytes(content)
    return f"{name}: {told}"


def _in_files(rng: random.Random, folder: Path) -> str:
    paths = [path for path in sorted(folder.rglob("*")) if not path.name.endswith(".away")]
    path = rng.choice(paths)
    if path.is_file() and rng.random() < 0.3:
        told, content = spoiled(rng, path.read_text(errors="replace"))
        path.write_bytes(content)
        return f"{path.name}: {told}"
    return misplaced(rng, path)
