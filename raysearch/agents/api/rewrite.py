"""One call, whole files: for small programs, and models that are bad at patches."""

from __future__ import annotations

from collections.abc import Mapping

from raysearch.agents.api import rewriting
from raysearch.agents.api.oneshot import OneShot, Written
from raysearch.agents.api.program import Program
from raysearch.target import may_change

_MANNER = """\
Answer with every file that you change or add, each whole, in a fenced block with its path on the line above:

path/of/file
````
everything that is to stand in the file, nothing left out
````

Files that you do not give stay as they are. What is not in a block is for people to read: say there in a few words \
what you change, and why."""


class Rewrite(OneShot):
    """Takes whole files."""

    @property
    def manner(self) -> str:
        return _MANNER

    def written(self, text: str, files: Mapping[str, str], program: Program) -> Written:
        found = rewriting.parse(text, files)
        if not found.texts and not found.problems:
            return Written(problems=["there is no fenced block with the path of a file in it"])
        problems = found.problems + [
            f"{path} may not change" for path in found.texts if not may_change(path, program.editable)
        ]
        changed = {path: body for path, body in found.texts.items() if files.get(path) != body}
        return Written(dict(changed), problems, found.prose)
