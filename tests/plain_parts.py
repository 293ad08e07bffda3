"""Those who work in a whole run of the plain loop: a changer of files that plays many parts, and an evaluator."""

from __future__ import annotations

import random

from raysearch.board import Action, Author, Filing, Kind
from raysearch.consultation import Level, Reply
from raysearch.protocols import Workspace
from raysearch.types import Brief, Measurement, Mutation

PARTS = ("good", "good", "bad", "lazy", "cheating", "crashing")


class Parts:
    """Its part is a matter of the issue and of how often that was tried."""

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        number = int(brief.task.removeprefix("Work on issue ").split(",")[0])
        part = PARTS[(number + bool(brief.feedback) + len(brief.lessons)) % len(PARTS)]
        file = workspace.path / "x.txt"
        match part:
            case "good":
                near = max(abs(float(file.read_text())), 1.0)
                file.write_text(f"{(near + 10) / 2 + rng.random() / 10:.6f}\n")
            case "bad":
                file.write_text(f"-{1 + rng.random():.6f}\n")
            case "cheating":
                (workspace.path / "checker.py").write_text("passed = True\n")
            case "crashing":
                raise RuntimeError("the agent broke")
            case _:
                pass
        return Mutation(summary=f"{part} work on issue {number}")


class Evaluator:
    """Files five issues at first, two the next time, and then none."""

    def consult(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Reply:
        value = float((workspace.path / "x.txt").read_text())
        times = brief.task.count("evaluation no.") + 1
        kinds = {1: (Kind.PERF, Kind.BUG, Kind.FEATURE, Kind.PERF, Kind.BUG), 2: (Kind.FEATURE, Kind.PERF)}
        author = Author("performance_evaluator")
        filings = tuple(
            Filing(Action.CREATE, author, kind=kind, title=f"{times}.{n}", evidence=f"x is {value:g}", name=f"new-{n}")
            for n, kind in enumerate(kinds.get(times, ()), start=1)
        )
        told = " ".join(["evaluation no."] * times)
        return Reply(told, levels=(Level("only", (Measurement("x", (value,)),)),), filings=filings)
