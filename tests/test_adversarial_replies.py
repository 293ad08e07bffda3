"""Each of more than 300 adversarial replies ends as a reply, mended or plain, or as a recorded fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from adversarial_replies import GOOD, REFUSED, REPLIES
from toys import make_target

from raysearch.codec import decode, encode
from raysearch.config.targets import load_target, snapshot_target
from raysearch.engine import as_fact
from raysearch.facts import Entry, JobFailed, Judged, Mutated
from raysearch.jobs import Job
from raysearch.plugins import PluginSpec
from raysearch.protocols import Answer
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.run.search import create
from raysearch.testing.models import ModelServer, Request, Tokens, Turn
from raysearch.types import AttemptId, Stage
from raysearch.worker import Worker, WorkerSpec

TOKENS = Tokens(prompt=100, output=10)
NAMES = list(REPLIES)
SLOW = pytest.mark.slow


class Playing:
    """A worker of a real run folder, whose models say what they are told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder.create(folder / "runs", "toy")
        self.said: list[str] = []
        self.asked = 0
        self.server = ModelServer(self.model)
        self.folder_of_target = make_target(folder / "toy")
        (self.folder_of_target / "seed" / "x.txt").write_text("5 # read the answer\n")
        self.target = snapshot_target(load_target(self.folder_of_target), self.folder.target)
        create(self.folder, self.target)

    def model(self, request: Request) -> Turn:
        self.asked += 1
        return Turn(self.said[min(len(request.messages) // 2, len(self.said) - 1)], tokens=TOKENS)

    def __enter__(self) -> Playing:
        url = self.server.__enter__().url
        told = {"model": "claude-haiku-4-5", "agent_options": {"base_url": url, "retries_max": 0}}
        plugins = {
            (Stage.MUTATE, name): PluginSpec("mutators", name, "coding", {"agent": name, **told})
            for name in ("diff", "rewrite", "agent")
        }
        plugins[Stage.JUDGE, "reviewer"] = PluginSpec("judges", "reviewer", "reviewer", {"agent": "diff", **told})
        spec = WorkerSpec("toy", 7, self.folder.workspace, self.target, plugins, "none", self.folder.attempts)
        self.worker = Worker(spec)
        # Without a seed all of the program is its own, and can be quoted against it.
        self.judging = Worker(replace(spec, target=replace(self.target, seed=None)))
        self.repository = Repository(self.folder.workspace)
        return self

    def __exit__(self, *reason: Any) -> None:
        self.worker.close()
        self.judging.close()
        self.server.__exit__(*reason)

    def heard(self, number: int, stage: Stage, plugin: str, *said: str) -> Mutated | Judged | JobFailed:
        """What the journal holds, read back from it, when the model says ``said``, one after the other."""
        self.said, self.asked = list(said), 0
        base = self.repository.commit_of("origin")
        job = Job(AttemptId(number), stage, plugin, base, (base,), opened_at_s=1e9)
        answer: Answer = (self.judging if stage is Stage.JUDGE else self.worker).perform(job)
        line = encode(Entry(number, 1.0, 1.0, as_fact(answer)))
        assert not set(line) & {0, 7, 27}
        fact = decode(line).fact
        assert isinstance(fact, Mutated | Judged | JobFailed)
        if isinstance(fact, JobFailed):
            assert fact.fault == "AgentFault", fact
            assert stage is Stage.JUDGE or not fact.retry, fact
            assert fact.message
            assert fact.usage.calls == self.asked >= 1
        return fact


@pytest.fixture
def playing(tmp_path: Path) -> Iterator[Playing]:
    with Playing(tmp_path) as made:
        yield made


def test_there_are_more_than_300_and_no_two_are_the_same() -> None:
    assert len(set(REPLIES.values())) > 300


@SLOW
def test_as_a_judges_word(playing: Playing) -> None:
    """None of what began as a no becomes a yes, by a trick or by accident; the rest is a verdict or a fault."""
    for number, name in enumerate(NAMES):
        fact = playing.heard(number, Stage.JUDGE, "reviewer", REPLIES[name])
        assert isinstance(fact, Judged | JobFailed)
        assert playing.asked <= 2, name
        if name in REFUSED and isinstance(fact, Judged):
            assert not fact.verdict.passed, name


def test_as_a_judges_word_that_is_mended(playing: Playing) -> None:
    """What cannot be read is asked for once more, and then counts, unless it was far too long."""
    for number, name in enumerate(NAMES):
        fact = playing.heard(number, Stage.JUDGE, "reviewer", REPLIES[name], GOOD["no"])
        if isinstance(fact, JobFailed):
            assert "more than any that was asked for" in fact.message, (name, fact)
            continue
        if playing.asked == 2:
            assert isinstance(fact, Judged)
            assert not fact.verdict.passed, name


@pytest.mark.parametrize("agent", ["diff", *(pytest.param(name, marks=SLOW) for name in ("rewrite", "agent"))])
def test_as_a_programs_change(playing: Playing, agent: str) -> None:
    """A program of one file is left as it was, or becomes what the reply plainly says; nothing else is touched."""
    before = playing.repository.tree_of(playing.repository.commit_of("origin"))
    for number, name in enumerate(NAMES):
        fact = playing.heard(number, Stage.MUTATE, agent, REPLIES[name])
        if isinstance(fact, Mutated):
            assert not fact.change.refusal, name
            now = playing.repository.tree_of(fact.change.commit)
            changed = [str(path) for path in playing.repository.changed(before, now)]
            assert changed in ([], ["x.txt"]), (name, changed)
            if agent == "agent":
                assert not changed, name  # it was never offered as a call
