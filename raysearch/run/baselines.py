"""A target's baselines as commits, so that they are judged and measured as every other program is."""

from __future__ import annotations

from collections.abc import Mapping

from raysearch.errors import TargetError, boundary
from raysearch.repository import Repository
from raysearch.target import Target
from raysearch.types import Commit

MESSAGE = "baseline {name}"
"""Of the commit; with the same files it is the same commit in every repository."""


def committed(repository: Repository, target: Target) -> Mapping[str, Commit]:
    """A commit without parents for each baseline, by name and in order; tagged ``baseline/<name>``.

    Equal files give equal commits, so it may be called again. Raises TargetError for what git cannot keep.
    """
    found = {}
    for baseline in target.baselines:
        with boundary(TargetError, f"the baseline {baseline.name!r} of {target.name} cannot be kept in git"):
            tree = repository.write_tree(baseline.folder, int(target.program_mb_max * 1e6))
            commit = repository.commit(tree, (), MESSAGE.format(name=baseline.name) + "\n", 0.0)
            repository.name(f"baseline/{baseline.name}", commit)
        found[baseline.name] = commit
    return found
