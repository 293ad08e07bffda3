"""Real drivers in processes of their own, to be killed; and what must hold of the run that they leave."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from raysearch.facts import AttemptClosed, Entry, Mutated
from raysearch.ledger import JOURNAL, read_journal
from raysearch.process import strays
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.testing.audit import audit

TOYS = str(Path(__file__).with_name("toys.py"))
LIMIT_S = 90.0


@dataclass(slots=True)
class Driver:
    """``raysearch run`` on a toy target, killed and resumed."""

    target: Path
    runs: Path
    flags: Sequence[str]
    mutator: str = "Step"
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    def start(self, extra: Sequence[str] = (), preexec: Callable[[], None] | None = None) -> None:
        begin = ["run", str(self.target), "--mutator", f"{TOYS}:{self.mutator}"]
        verb = ["resume"] if self.journal is not None else begin
        flags = [*self.flags] if verb[0] == "run" else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "raysearch", *verb, *flags, *extra, "--runs-dir", str(self.runs), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.env},
            preexec_fn=preexec,  # noqa: PLW1509 # single-threaded tests
        )

    @property
    def journal(self) -> Path | None:
        return next(iter(self.runs.glob(f"*/{JOURNAL}")), None)

    @property
    def folder(self) -> Path:
        assert self.journal is not None, self.output()
        return self.journal.parent

    def lines(self) -> int:
        return 0 if self.journal is None else self.journal.read_bytes().count(b"\n")

    def entries(self) -> list[Entry]:
        return list(read_journal(self.folder / JOURNAL))

    def wait_for(self, met: Callable[[], bool]) -> bool:
        """Whether ``met`` came true before the driver ended by itself."""
        assert self.process is not None
        until_s = time.monotonic() + LIMIT_S
        while not met():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < until_s, f"nothing happened: {self.kill().communicate()[1][-3000:]}"
            time.sleep(0.005)
        return True

    def kill(self, number: int = signal.SIGKILL) -> subprocess.Popen[str]:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process

    def output(self) -> str:
        assert self.process is not None
        return self.process.communicate(timeout=LIMIT_S)[1][-3000:]

    def finish(self, limit_s: float = LIMIT_S) -> dict[str, object]:
        """The JSON object on the last line of a driver that ends by itself."""
        assert self.process is not None
        out, err = self.process.communicate(timeout=limit_s)
        assert self.process.returncode == 0, err[-3000:]
        return dict(json.loads(out.splitlines()[-1]))


def kill_at_random(
    driver: Driver,
    kills: int,
    seed: int,
    strike: Callable[[Driver], None],
    lines_max: int = 6,
    rest_s: float = 0.1,
) -> None:
    """``strike`` at random moments of a run's life; resume each time; then let it end.

    Each moment comes ``lines_max`` lines of the journal after the one before at most, and then ``rest_s`` at most: less
    of both for runs that are short.
    """
    rng = random.Random(seed)
    struck = 0
    driver.start()
    while struck < kills:
        goal = driver.lines() + rng.randint(1, lines_max)
        if not driver.wait_for(lambda goal=goal: driver.lines() >= goal):  # type: ignore[misc]
            break
        time.sleep(rng.random() * rest_s)
        strike(driver)
        struck += 1
        if driver.process is not None and driver.process.poll() is not None:
            driver.start()
    assert struck == kills, f"the run ended after {struck} of {kills}: {driver.output()}"


def sigkill(driver: Driver) -> None:
    driver.kill().wait()
    driver.output()


def check(driver: Driver, attempts: int, slack_s: float = 30.0) -> None:
    """What must hold of a run that has ended, whatever was done to it."""
    entries = driver.entries()
    assert audit(entries, slack_s=slack_s) == []
    closed = [e.fact.attempt for e in entries if isinstance(e.fact, AttemptClosed)]
    assert sorted(closed) == list(range(attempts + 1)), "every number is used, once"
    repository = Repository(driver.folder / "workspace")
    for entry in entries:
        if isinstance(entry.fact, Mutated):
            change = entry.fact.change
            assert repository.commit_of(entry.fact.attempt) == change.commit
            assert repository.tree_of(change.commit) == change.tree
    until_s = time.monotonic() + 20
    while strays(RunFolder(driver.folder).identity) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert strays(RunFolder(driver.folder).identity) == []
