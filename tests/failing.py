"""Which checks of a conformance kit fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast


def failing(kit: object, folder: Path, checks: Iterable[str] = ()) -> set[str]:
    """Which of ``checks``, or of all, fail. Each gets an empty folder, where it takes one.

    A check may fail by what the plug-in raises; where it fails by its own word, that must say something.
    """
    failed = set()
    for name in checks or (name for name in dir(kit) if name.startswith("test_")):
        place = folder / name
        place.mkdir(parents=True)
        check = cast(Callable[..., None], getattr(kit, name))
        error = raised_by(lambda: check(place) if "tmp_path" in check.__annotations__ else check())  # noqa: B023
        if error is not None:
            failed.add(name)
            assert not isinstance(error, AssertionError) or len(str(error)) > 20, f"{name} says too little: {error}"
    return failed


def raised_by(act: Callable[[], None]) -> Exception | None:
    try:
        act()
    except Exception as error:
        return error
    return None
