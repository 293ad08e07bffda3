"""A workspace that is a plain folder, and a target small enough to read at a glance, for tests of plug-ins."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from raysearch.board.desk import Desk
from raysearch.config.targets import load_target
from raysearch.errors import SandboxFault
from raysearch.protocols import Completed, Guest
from raysearch.repository import Repository
from raysearch.target import Target
from raysearch.types import Allowance, Commit

PROGRAM: Mapping[str, str] = {"answer.py": "VALUE = 3  # tune: int 0..100\n"}
"""A good program for `tiny_target`."""

CHECKER = '''
    """Says yes to a whole VALUE from 0 to 100. Never runs the program."""
    import argparse, ast, json, pathlib
    parser = argparse.ArgumentParser()
    for name in ("candidate", "reference", "seed", "result"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    try:
        source = (pathlib.Path(given.candidate) / "answer.py").read_text()
        values = [ast.literal_eval(n.value) for n in ast.parse(source).body if isinstance(n, ast.Assign)]
        no = "" if len(values) == 1 and type(values[0]) is int and 0 <= values[0] <= 100 else f"VALUE is {values}"
    except (OSError, ValueError, SyntaxError) as error:
        no = f"answer.py cannot be read: {type(error).__name__}"
    verdict = {"schema": "raysearch.verdict/1", "passed": not no, "feedback": no}
    pathlib.Path(given.result).write_text(json.dumps(verdict))
'''

BENCHMARK = '''
    """Score: how near VALUE is to 42. Size: bytes of the program."""
    import argparse, ast, json, pathlib
    parser = argparse.ArgumentParser()
    for name in ("candidate", "reference", "seed", "result"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    try:
        source = (pathlib.Path(given.candidate) / "answer.py").read_text()
        value = ast.literal_eval(ast.parse(source).body[0].value)
        result = {"schema": "raysearch.metrics/1", "metrics": [
            {"name": "score", "samples": [-abs(value - 42)], "unit": "points", "direction": "max"},
            {"name": "size", "samples": [len(source)], "unit": "B", "direction": "min"}]}
    except Exception as error:
        result = {"schema": "raysearch.metrics/1", "refused": f"there is no VALUE: {type(error).__name__}"}
    pathlib.Path(given.result).write_text(json.dumps(result))
'''


OBJECTIVES = """
[[objective]]
name = "score"
direction = "max"
unit = "points"
primary = true

[[objective]]
name = "size"
direction = "min"
unit = "B"
"""

RULES = """
[checker]
command = ["python", "accuracy_checker/check.py"]

[benchmark]
command = ["python", "benchmark/bench.py"]

[candidate]
editable = ["*.py"]
"""


def tiny_target(root: Path) -> Target:
    """Write a target into ``root``: ``answer.py`` is to assign a VALUE near 42. Two objectives."""
    scripts = {"accuracy_checker/check.py": CHECKER, "benchmark/bench.py": BENCHMARK}
    write_files(root, {name: dedent(text).lstrip() for name, text in scripts.items()})
    write_files(root, {"objectives.toml": OBJECTIVES, "target.toml": RULES, "README.md": "A toy.\n"})
    write_files(root, {"OBJECTIVE.md": "Assign VALUE in answer.py a whole number as near to 42 as you can.\n"})
    write_files(root / "reference", {"answer.py": "VALUE = 0\n"})
    write_files(root / "seed", PROGRAM)
    return load_target(root)


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write texts by relative path, folders as needed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@dataclass(frozen=True, slots=True)
class FolderWorkspace:
    """A `raysearch.protocols.Workspace` without a sandbox: for tests of code that is trusted.

    Its run is a repository of its own, in which `add` makes further candidates. `run` starts commands with a clean
    environment and ends their process group at the time limit; nothing else is limited.
    """

    path: Path
    commit: Commit
    target: Target
    scratch: Path
    repository: Repository
    evaluation_seed: int = 0
    allowance: Allowance = Allowance()
    parents: tuple[Commit, ...] = ()
    desk: Desk | None = None

    @property
    def artifacts(self) -> Path:
        folder = self.scratch.parent / "artifacts"
        folder.mkdir(exist_ok=True)
        return folder

    @classmethod
    def make(
        cls, root: Path, files: Mapping[str, str], target: Target | None = None, evaluation_seed: int = 0
    ) -> FolderWorkspace:
        """A new one in the folder ``root``, with ``files`` as the program and `tiny_target` unless another is given."""
        target = target or tiny_target(root / "target")
        repository, path, scratch = Repository.create(root / "run"), root / "program", root / "scratch"
        write_files(path, files)
        commit = repository.commit(repository.write_tree(path), (), "the program", 0.0)
        scratch.mkdir()
        return cls(path, commit, target, scratch, repository, evaluation_seed)

    def add(self, files: Mapping[str, str], parents: Sequence[Commit] = ()) -> Commit:
        """Commit another program to the run."""
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), files)
            return self.repository.commit(self.repository.write_tree(Path(folder)), parents, "another", 0.0)

    def show(self, commit: Commit, path: str) -> str:
        """Raises FileNotFoundError."""
        return self.repository.show(commit, path)

    def diff(self, old: Commit, new: Commit) -> str:
        return self.repository.diff(old, new)

    def changed(self, old: Commit, new: Commit) -> Sequence[str]:
        trees = self.repository.tree_of(old), self.repository.tree_of(new)
        return [path.as_posix() for path in self.repository.changed(*trees)]

    def merge_base(self, one: Commit, other: Commit) -> Commit | None:
        return self.repository.merge_base(one, other)

    def restore(self, commit: Commit, path: str) -> None:
        self.repository.restore(commit, path, self.path)

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        cwd: str = "{candidate}",
        writable: bool = False,  # noqa: ARG002 # nothing here is read-only
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Raises SandboxFault if the command cannot be started."""
        words = [self._filled(word) for word in command]
        if words[:1] == ["python"]:
            words[0] = sys.executable
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": str(self.scratch)}
        environment |= {**self.target.environment, **(env or {})}
        began, ended_by = time.monotonic(), ""
        try:
            process = subprocess.Popen(
                words,
                cwd=self._filled(cwd),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxFault(f"{words[0]}: {error.strerror}") from error
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            ended_by = "time"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
        took_s = time.monotonic() - began
        said, complained = stdout.decode(errors="replace"), stderr.decode(errors="replace")
        return Completed(process.returncode, said, complained, took_s, ended_by)

    def host(self, guest: Guest, *, timeout_s: float, cancel: threading.Event | None = None) -> Completed:  # noqa: ARG002
        """Agents' own programs are not for a workspace without a sandbox. Raises SandboxFault."""
        raise SandboxFault(f"{guest.command[0]} needs a sandbox")

    def _filled(self, word: str) -> str:
        for name, path in (
            ("candidate", self.path),
            ("reference", self.target.reference),
            ("target", self.target.root),
            ("scratch", self.scratch),
        ):
            word = word.replace(f"{{{name}}}", str(path))
        return word
