"""Read a file that a candidate may have written, without being led elsewhere or made to wait."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from raysearch.errors import EvaluatorFault


def read_untrusted(folder: Path, name: str, *, limit_kb: int = 1024) -> bytes:
    """Content of the file ``name`` below ``folder``.

    Symbolic links are not followed in any part of ``name`` (they would be read with our rights, not the
    candidate's), pipes and devices are refused (they would block, or never end), and so is more than ``limit_kb``.
    Raises EvaluatorFault, and FileNotFoundError if there is no such file.
    """
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or parts[0] == "/":
        raise EvaluatorFault(f"{name!r} is not a path below the folder")
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            os.close(place)
            place = inner
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise EvaluatorFault(f"{name} cannot be read: {error.strerror}") from error
    finally:
        os.close(place)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise EvaluatorFault(f"{name} is not a regular file")
    with open(file, "rb") as stream:  # noqa: PTH123 - a number, not a path
        content = stream.read(limit_kb * 1024 + 1)
    if len(content) > limit_kb * 1024:
        raise EvaluatorFault(f"{name} is larger than {limit_kb} KB")
    return content
