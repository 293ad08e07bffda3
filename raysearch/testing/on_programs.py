"""What the kits share whose plug-ins work on a program's files; see `raysearch.testing.conformance`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from raysearch.target import Target
from raysearch.testing.surroundings import Snapshot, difference, snapshot
from raysearch.testing.workspace import PROGRAM, FolderWorkspace, tiny_target


class OnPrograms:
    """Common to all kits whose plug-ins work on a program's files."""

    def target(self, root: Path) -> Target:
        """Write a target for the checks below ``root``. By default `raysearch.testing.workspace.tiny_target`."""
        return tiny_target(root)

    def program(self) -> Mapping[str, str]:
        """A good program for the target: text by relative path."""
        return PROGRAM

    def _workspace(self, root: Path, files: Mapping[str, str] | None = None) -> FolderWorkspace:
        root.mkdir(parents=True, exist_ok=True)
        target = self.target(root / "target")
        return FolderWorkspace.make(root, self.program() if files is None else files, target, evaluation_seed=7)


class OnUnchangedPrograms(OnPrograms):
    """Common to judges and benchmarks, which must leave the program as it is."""

    def bad_programs(self) -> Mapping[str, Mapping[str, str]]:
        """Programs that must not pass, by what is wrong with them. By default nonsense in place of every file."""
        return {
            "nothing at all": {},
            "nonsense": dict.fromkeys(self.program(), "]]] this is no program [[[\n"),
            "empty files": dict.fromkeys(self.program(), ""),
        }

    def _untouched(self, workspace: FolderWorkspace, before: Snapshot) -> None:
        touched = difference(before, evaluated(workspace))
        assert not touched, f"it changed {touched}: the program and the target are read-only, use workspace.scratch"


def around(workspace: FolderWorkspace) -> Snapshot:
    """All beside the program, its scratch folder and what is kept of the job."""
    root, own = workspace.path.parent, {workspace.path, workspace.scratch, workspace.artifacts}
    return {name: what for name, what in snapshot(root).items() if not own & {root / name, *(root / name).parents}}


def evaluated(workspace: FolderWorkspace) -> Snapshot:
    """The program, and all beside it but its scratch folder."""
    return {**around(workspace), **snapshot(workspace.path)}
