"""A whole search by four lanes of agents of every kind, with scripted models; killed, and taken up again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from installed_clis import installed

from raysearch.facts import AttemptClosed, AttemptOpened, Mutated, SessionOpened
from raysearch.ledger import JOURNAL, read_journal
from raysearch.process import strays
from raysearch.run.folder import RunFolder
from raysearch.testing.audit import audit
from raysearch.testing.models import ModelServer, Request, Tokens, Turn, characters
from raysearch.types import SEED

PACKING = Path(__file__).parents[1] / "examples" / "circle-packing"
LIMIT_S = 240.0
KEY = "sk-ant-planted-0123456789abcdef"
LINE = re.compile(r"^INNER_RING = .*$", re.MULTILINE)
CONFIG = """
[run]
mutators = ["claude", "agent", "diff", "tune"]
lanes = 4
pool = "ray"
[limits]
max_candidates = {candidates}
budget_usd = 50.0
[roles.mutate]
threads = 4
cpus = 0.2
[roles.judge]
slots = 2
cpus = 0.2
[roles.benchmark]
cpus = 0.2
[mutator.claude]
use = "coding"
agent = "claude"
model = "claude-opus-5-5"
agent_options = {{ base_url = "{url}", program = "{program}" }}
[mutator.agent]
use = "coding"
agent = "agent"
model = "claude-opus-5-5"
agent_options = {{ base_url = "{url}" }}
[mutator.diff]
use = "coding"
agent = "diff"
model = "claude-opus-5-5"
agent_options = {{ base_url = "{url}" }}
"""


def distance(request: Request) -> str:
    """A constant that only this conversation has, whatever its step."""
    first = next(message.text for message in request.messages if message.role == "user")
    number = int.from_bytes(hashlib.sha256(first.encode()).digest()[:4], "big")
    return f"{0.05 + number % 100_000 / 500_000:.6f}"


def contents(request: Request) -> str:
    seed = (PACKING / "seed" / "solution.py").read_text()
    return LINE.sub(f"INNER_RING = {distance(request)}", seed)


WORKS = characters.good("solution.py", contents, tokens=Tokens(prompt=2000, output=100, cached=500))


def model(request: Request) -> Turn:
    """Writes the file where there are tools; patches the line that it was shown where there are none."""
    if request.tools:
        return WORKS(request)  # type: ignore[operator]
    shown = LINE.search("\n".join(message.text for message in request.messages))
    assert shown is not None
    patch = f"solution.py\n<<<<<<< SEARCH\n{shown[0]}\n=======\nINNER_RING = {distance(request)}\n>>>>>>> REPLACE\n"
    return Turn(f"A wider ring.\n{patch}\nSUMMARY: another ring\nMEMORY: none\n", tokens=Tokens(prompt=900, output=60))


def started(words: list[str], runs: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "raysearch", *words, "--runs-dir", str(runs), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=runs.parent,
        env={**os.environ, "ANTHROPIC_API_KEY": KEY},
    )


def test_four_lanes_of_agents_are_killed_and_go_on(tmp_path: Path) -> None:
    runs, candidates = tmp_path / "runs", 24
    runs.mkdir()
    with ModelServer(model) as server:
        config = tmp_path / "agents.toml"
        config.write_text(CONFIG.format(candidates=candidates, url=server.url, program=installed("claude")))
        driver = started(["run", str(PACKING), "--config", str(config)], runs)
        end_s = time.monotonic() + LIMIT_S
        while sum(path.read_bytes().count(b'"attempt_closed"') for path in runs.glob(f"*/{JOURNAL}")) < 8:
            assert driver.poll() is None, driver.communicate()
            assert time.monotonic() < end_s
            time.sleep(0.05)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        folder = RunFolder(next(runs.glob(f"*/{JOURNAL}")).parent)
        resumed = started(["resume"], runs)
        out, err = resumed.communicate(timeout=LIMIT_S)
    assert resumed.returncode == 0, err
    assert json.loads(out)["status"] == "ended"
    entries = list(read_journal(folder.journal))
    assert audit(entries) == []
    facts = [entry.fact for entry in entries]
    assert sum(isinstance(fact, SessionOpened) for fact in facts) == 2
    assert sum(isinstance(fact, AttemptClosed) and fact.attempt != SEED for fact in facts) == candidates
    asked = {fact.attempt: fact.proposal.mutator for fact in facts if isinstance(fact, AttemptOpened)}
    made = [(asked[fact.attempt], fact) for fact in facts if isinstance(fact, Mutated) and fact.attempt != SEED]
    assert {name for name, _ in made} == {"claude", "agent", "diff", "tune"}
    for name, fact in made:
        usage = fact.change.mutation.usage
        assert (usage.cost_usd > 0) == (name != "tune"), (name, usage)
        assert (usage.calls > 0) == (name != "tune")
    admitted = {asked[fact.attempt] for fact in facts if isinstance(fact, AttemptClosed) and fact.candidate}
    assert {"claude", "agent", "diff"} <= admitted
    assert not strays(folder.identity)
    for path in folder.path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
