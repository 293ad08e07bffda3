"""A whole run over programs that mean harm: each contained and named in its verdict, and the run goes on."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import EXPECTED, PROGRAMS, make_hostile_target

from raysearch.facts import AttemptClosed, AttemptOpened
from raysearch.ledger import read_journal
from raysearch.process import strays
from raysearch.run.folder import RunFolder
from raysearch.types import Outcome

HERE = str(Path(__file__).with_name("hostile.py"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that played every program."""
    folder = tmp_path_factory.mktemp("hostile")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        config = [f'[run]\ntarget = "{make_hostile_target(folder / "target")}"\nouter_loop = "{HERE}:EachOnce"']
        config.append(f"mutators = {json.dumps(list(PROGRAMS))}\npool = 'inline'\n")
        config.append("[audit]\nstatic = false\n")  # it would refuse most of them unrun
        port = server.getsockname()[1]
        config += [f'[mutator.{n}]\nuse = "{HERE}:Writes"\nname = "{n}"\nport = {port}\n' for n in PROGRAMS]
        (folder / "run.toml").write_text("\n".join(config))
        done = subprocess.run(
            [sys.executable, "-m", "raysearch", "run", "--config", "run.toml", "--runs-dir", "runs", "--json"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return next((folder / "runs").iterdir())


@pytest.mark.parametrize("name", PROGRAMS)
def test_contained_and_named(run: Path, name: str) -> None:
    entries = list(read_journal(run / "journal.jsonl"))
    number = next(
        e.fact.attempt for e in entries if isinstance(e.fact, AttemptOpened) and e.fact.proposal.mutator == name
    )
    closed = next(e.fact for e in entries if isinstance(e.fact, AttemptClosed) and e.fact.attempt == number)
    if name == "honest":
        assert closed.outcome is Outcome.ADMITTED
    else:
        assert closed.outcome is Outcome.REJECTED, closed.reason
        assert re.search(EXPECTED[name], closed.reason), closed.reason


def test_nothing_is_left(run: Path) -> None:
    assert strays(RunFolder(run).identity) == []
    assert not Path("/etc/raysearch-was-here").exists()
