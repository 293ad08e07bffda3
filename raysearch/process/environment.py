"""The environment of child processes: named variables only, nothing inherited by accident."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

STANDARD_PATH = "/usr/local/bin:/usr/bin:/bin"


def clean_environment(extra: Mapping[str, str] | None = None, *, home: str | Path = "/tmp") -> dict[str, str]:
    """The few variables that a child needs, then ``extra``, which wins.

    PATH (the folder of raysearch's own interpreter first), LANG, TZ, LC_ALL=C.UTF-8, HOME. Keys, tokens and Ray's
    variables stay behind: a child must be able neither to spend nor to submit jobs. No GPU is visible unless
    ``extra`` names one in CUDA_VISIBLE_DEVICES.
    """
    own = str(Path(sys.executable).parent)
    path = os.environ.get("PATH") or STANDARD_PATH
    return {
        "PATH": path if path.split(":", 1)[0] == own else f"{own}:{path}",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "LC_ALL": "C.UTF-8",
        "TZ": os.environ.get("TZ", "UTC"),
        "HOME": str(home),
        "CUDA_VISIBLE_DEVICES": "",
        **(extra or {}),
    }
