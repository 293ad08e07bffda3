"""The command line called in this process, as ``raysearch`` would call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raysearch.cli import main


@dataclass(frozen=True)
class Called:
    """What a call left."""

    status: int
    out: str
    err: str

    @property
    def object(self) -> dict[str, Any]:
        """The last line of standard output, parsed strictly."""

        def refuse(word: str) -> float:
            raise AssertionError(f"{word} is not JSON")

        assert self.out, self.err
        found = json.loads(self.out.splitlines()[-1], parse_constant=refuse)
        assert isinstance(found, dict)
        return found

    @property
    def told(self) -> str:
        """Standard error in one line."""
        return " ".join(self.err.split())


Call = Callable[..., Called]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)

    def calling(*arguments: str) -> Called:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        assert "Traceback" not in err
        return Called(ended.value.code, out, err)

    return calling
