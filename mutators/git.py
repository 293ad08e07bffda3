"""Git's own tools for patches and merges, told of no configuration and no repository that may lie around."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from raysearch.errors import MutatorFault

TIMEOUT_S = 60.0


def git(folder: Path, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run ``git WORDS`` in ``folder``, with ``given`` as its input.

    Raises MutatorFault where git is not installed, or takes longer than a minute.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    env["GIT_CEILING_DIRECTORIES"] = str(folder.resolve().parent)
    try:
        return subprocess.run(
            ["git", *words], cwd=folder, input=given, env=env, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise MutatorFault("git is not installed, and patches and merges are its work") from None
    except subprocess.TimeoutExpired:
        raise MutatorFault(f"git {words[0]} took longer than {TIMEOUT_S:g} s") from None
