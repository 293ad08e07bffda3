"""Everybody in an agent loop on the toy target, each playing a part that is written down: no model is asked."""

from __future__ import annotations

import random
import re

from raysearch.consultation import Decision, Reply, Task
from raysearch.errors import EvaluatorFault, MutatorFault
from raysearch.profile import Finding, Profile
from raysearch.protocols import Workspace
from raysearch.types import Brief, Mutation, Usage

PLANS = {
    1: Task("good", "write 6", "nearer is better", "x.txt holds 6", "near falls", "1 nearer", minimum_gain=0.1,
            pass_criteria=("x is a number",), invariants=("one file",), skills=("counting",), roadmap="1. nearer"),
    2: Task("bad, then mended", "write -1 | write 7", roadmap="1. nearer\n2. never below zero"),
    3: Task("lazy", "leave it", "perhaps nobody looks"),
    4: Task("cheating, then honest", "also other.txt | only 8", metric="near"),
    5: Task("back to what was small", "write 7.5", "from there another way", metric="small", revert_to_round=2),
    6: Task("crashing, then worse", "stumble 3"),
    7: Task("too little", "write 8.1", metric="near", minimum_gain=0.5),
    8: Task("from a round without a program", "write 9", revert_to_round=3),
}  # fmt: skip
"""By round. After " | ": what is done once it was refused."""
AGAIN = {8: Task("from where it stands", "write 9.5")}
"""What the planner says when it is asked a second time in a round."""
SPENT = Usage(cost_usd=0.01, calls=1)


def round_of(brief: Brief) -> int:
    found = re.search(r"[Rr]ound (\d+)", brief.task)
    assert found is not None, brief.task
    return int(found[1])


class Triage:
    def consult(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Reply:
        number = round_of(brief)
        if number == 3:
            raise EvaluatorFault("nothing to say", SPENT)
        return Reply(decision=Decision(number in (1, 4), "digits", f"because of round {number}"), usage=SPENT)


class Profiler:
    def consult(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Reply:
        held = (workspace.path / "x.txt").read_text().strip()
        found = (Finding("parsing", 0.75, "overhead", f"{held!r} is read"), Finding("the rest", 0.25))
        return Reply(f"{brief.task} of {held}", profile=Profile("counter", found, 2.0, 1.5))


class Planner:
    def consult(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Reply:
        number = round_of(brief)
        if number not in PLANS:
            raise EvaluatorFault("out of ideas", SPENT)
        again = "cannot be done" in brief.task
        return Reply(task=AGAIN[number] if again else PLANS[number], usage=SPENT)


class Implementer:
    """Does what it is told, to the letter."""

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        lines = [line for line in brief.task.splitlines() if re.match(r"(write|leave|also|stumble) ", line)]
        orders = lines[0].split(" | ") if lines else ["write 9.75"]
        order, _, what = orders[-1 if brief.feedback else 0].partition(" ")
        file = workspace.path / "x.txt"
        match order:
            case "also":
                file.write_text("10\n")
                (workspace.path / what).write_text("10\n")
            case "only":
                (workspace.path / "other.txt").unlink(missing_ok=True)
                file.write_text(f"{what}\n")
            case "stumble" if rng.random() < 0.6:
                raise MutatorFault("it fell", SPENT)
            case "write" | "stumble":
                file.write_text(f"{what}\n")
        return Mutation(f"{order} {what}", f"{order} was tried", SPENT)
