"""One call, one patch: the cheap agent for many calls."""

from __future__ import annotations

from collections.abc import Mapping

from raysearch.agents.api import applying, patches
from raysearch.agents.api.oneshot import OneShot, Written
from raysearch.agents.api.program import Program
from raysearch.target import may_change

_MANNER = """\
Answer with a patch: one or more blocks, each like this, with the file's path on the line above:

path/of/file
<<<<<<< SEARCH
lines as they stand in the file, to the letter, with enough around them to be found in one place only
=======
the lines that are to stand there
>>>>>>> REPLACE

An empty SEARCH makes a new file. A unified diff is as good. What is not in a block is for people to read: say there \
in a few words what you change, and why."""


class Diff(OneShot):
    """Takes SEARCH/REPLACE blocks and unified diffs, of several files, a little wrong if need be, but never a guess."""

    @property
    def manner(self) -> str:
        return _MANNER

    def written(self, text: str, files: Mapping[str, str], program: Program) -> Written:
        patch = patches.parse(text, files)
        if not patch.edits and not patch.problems:
            return Written(problems=["there is neither a SEARCH/REPLACE block nor a unified diff in it"])
        applied = applying.apply(patch, files, lambda path: may_change(path, program.editable))
        return Written(applied.changed, applied.problems, patch.prose)
