"""Run folders made by hand: a real git repository and a journal that names its commits."""

from __future__ import annotations

from pathlib import Path

from journals import Journal

from raysearch.facts import AttemptClosed, AttemptOpened, Judged, Measured, Mutated, RunStarted, SessionOpened
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.types import (
    SEED,
    AttemptId,
    Brief,
    Candidate,
    Case,
    Change,
    Commit,
    Limits,
    Measurement,
    Mutation,
    Outcome,
    Proposal,
    Usage,
    Verdict,
)

SOURCE = "def pack():\n    return {value}\n"


class MadeRun:
    """Attempt 0 is the seed; each other one is a child of the latest candidate."""

    def __init__(self, runs_dir: Path, name: str = "20261127-120000-circles") -> None:
        self.path = runs_dir / name
        self.path.mkdir(parents=True)
        self.folder = RunFolder(self.path)
        self.repository = Repository.create(self.folder.workspace)
        self.journal = Journal(run=name)
        self._tip: tuple[AttemptId, Commit] | None = None

    def _commit(self, attempt: AttemptId, text: str) -> Change:
        program = self.path / "program"
        program.mkdir(exist_ok=True)
        (program / "solution.py").write_text(text)
        tree = self.repository.write_tree(program)
        parents = [self._tip[1]] if self._tip else []
        commit = self.repository.commit(tree, parents, f"attempt {attempt}", 1_795_780_800.0)
        self.repository.name(attempt, commit)
        return Change(commit, tree, Mutation(f"value for {attempt}", "", Usage(0.25, 900, 0, 90, 1, "model")))

    def begin(self) -> MadeRun:
        change = self._commit(SEED, SOURCE.format(value=0))
        j = self.journal
        j.add(
            RunStarted(
                j.run, 7, "circle-packing", "d" * 64, j.objectives, _plan(), change.commit, change.tree, seeded=True
            )
        )
        j.add(SessionOpened(1, Limits(open_max=2, attempts_max=10), "elsewhere", 4242, "0.1.0"))
        j.add(AttemptOpened(SEED, Proposal()))
        self._evaluated(SEED, change, (0.96, 20.0))
        return self.save()

    def admit(self, values: tuple[float, float]) -> AttemptId:
        attempt, change = self._child()
        self._evaluated(attempt, change, values)
        self.save()
        return attempt

    def reject(self, feedback: str) -> AttemptId:
        attempt, change = self._child()
        self.journal.add(Mutated(attempt, change))
        verdict = Verdict(False, feedback, (Case("inside", True), Case("apart", False, feedback)))
        self.journal.add(Judged(attempt, "accuracy", verdict))
        self.journal.close(attempt, Outcome.REJECTED, f"accuracy: {feedback}")
        self.save()
        return attempt

    def save(self) -> MadeRun:
        self.journal.write(self.folder.journal)
        return self

    def _child(self) -> tuple[AttemptId, Change]:
        assert self._tip is not None
        proposal = Proposal((self._tip[0],), "tune", Brief("move one circle", lessons=("do not overlap",)))
        attempt = self.journal.open(proposal=proposal)
        return attempt, self._commit(attempt, SOURCE.format(value=attempt))

    def _evaluated(self, attempt: AttemptId, change: Change, values: tuple[float, float]) -> None:
        j = self.journal
        j.add(Mutated(attempt, change))
        j.add(Judged(attempt, "accuracy", Verdict(True, "", (Case("inside", True),))))
        measured = tuple(
            Measurement(axis.name, (value, value + 0.5, value - 0.5), axis.unit, axis.goal)
            for axis, value in zip(j.objectives, values, strict=True)
        )
        j.add(Measured(attempt, "benchmark", measured))
        parents = (self._tip[0],) if self._tip else ()
        mutator = "tune" if self._tip else "default"
        summary = change.mutation.summary
        candidate = Candidate(attempt, change.commit, change.tree, parents, measured, mutator, summary)
        j.add(AttemptClosed(attempt, Outcome.ADMITTED, "", candidate))
        self._tip = (attempt, change.commit)


def _plan():  # type: ignore[no-untyped-def]
    from journals import PLAN

    return PLAN
