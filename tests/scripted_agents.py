"""Agents that ask nobody: what they do is their class, so that a run can name them by reference."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

from raysearch.agents.interface import AgentFault, Answered, Call, Permission, Reply
from raysearch.errors import SandboxFault
from raysearch.protocols import Workspace
from raysearch.types import Brief, Mutation, Usage

FILE = str(Path(__file__).resolve())
USED = Usage(tokens_in=10_000, tokens_cached=4_000, tokens_out=500, calls=1, model="claude-opus-5-5", turns=1)
WROTE = "SUMMARY: VALUE is nearer to 42\nMEMORY: larger was better\n"


class Writes:
    """Writes ``text`` into ``file`` and says so."""

    def __init__(
        self, file: str = "answer.py", text: str = "VALUE = 40\n", reply: str = WROTE, model: str = "", effort: str = ""
    ) -> None:
        self.file, self.text, self.reply, self.model, self.effort = file, text, reply, model, effort
        self.calls: list[Call[Any]] = []

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        self.calls.append(call)
        (workspace.path / self.file).write_text(self.text)
        (workspace.artifacts / "implementer.jsonl").write_text(json.dumps({"prompt": call.prompt}) + "\n")
        session = call.session or f"writes-{len(self.calls)}"
        return Reply(self.reply, usage=USED, session=session, transcript=workspace.artifacts / "implementer.jsonl")


class Learns:
    """Changes a file that it must not, until its prompt tells that this was refused."""

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        other = workspace.path / "other.txt"
        if "only x.txt may change" in call.prompt:
            other.unlink(missing_ok=True)
        else:
            other.write_text("mine\n")
        file = workspace.path / "x.txt"
        file.write_text(f"{float(file.read_text()) + 0.5:g}\n")
        return Reply("SUMMARY: half more", usage=USED)


class Blabs:
    """Writes the keys that it finds wherever it can: transcripts, its reply, its fault; into the program if told so."""

    def __init__(self, into_program: bool = False, fails: bool = False) -> None:
        self.into_program, self.fails = into_program, fails

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        from raysearch.agents.credentials import credential

        key, other = credential("ANTHROPIC_API_KEY"), credential("OPENAI_API_KEY")
        said = f"the keys are {key} and {other}"
        (workspace.artifacts / "logs").mkdir(exist_ok=True)
        (workspace.artifacts / "logs" / "raw.bin").write_bytes(b"\xff\x00" + said.encode() + b"\xfe")
        (workspace.artifacts / "turns.jsonl").write_text(json.dumps({"headers": {"x-api-key": key}, "said": said}))
        file = workspace.path / "x.txt"
        file.write_text(f"{float(file.read_text()) + 0.25:g}\n")
        if self.into_program:
            (workspace.path / "x.txt").write_text(f"{file.read_text()}# {other}\n")
        if self.fails:
            raise AgentFault(f"401: {said}", USED, cause="failed")
        return Reply(f"SUMMARY: {said}\nMEMORY: {said}", usage=USED)


class Breaks:
    """Raises what ``kind`` says."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        match self.kind:
            case "agent":
                raise AgentFault("the model declined", USED, cause="refused")
            case "limited":
                raise AgentFault("429", USED, cause="limited")
            case "sandbox":
                raise SandboxFault("no namespace")
            case _:
                raise KeyError("choices")


class Opens:
    """Counts how often it was entered and left."""

    log: list[str] = []  # noqa: RUF012 # what the test reads

    def __enter__(self) -> Opens:
        self.log.append("in")
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append("out")

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        (workspace.path / "answer.py").write_text("VALUE = 41\n")
        return Reply("done")


class Says:
    """Replies to a judge's call with a prepared object."""

    def __init__(self, passed: bool = True, reasons: tuple[str, ...] = (), evidence: tuple[Any, ...] = ()) -> None:
        self.said = {"passed": passed, "reasons": list(reasons), "evidence": list(evidence)}
        self.calls: list[Call[Any]] = []

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        self.calls.append(call)
        assert call.schema is not None
        assert call.permission is Permission.READ
        return Reply(json.dumps(self.said), value=call.schema.model_validate(self.said), usage=USED)


class Priced:
    """Reports its own cost, as some programs do."""

    reports_cost = True

    def __init__(self, model: str = "", cost_usd: float = 0.5) -> None:
        self.model, self.cost_usd = model, cost_usd

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        usage = Usage(self.cost_usd, 1_000_000, 0, 0, 1, self.model, 1)
        return Reply("SUMMARY: nothing", usage=usage)


class Looks:
    """Puts what it can see of this process's environment into the program: what a candidate would see is another."""

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        (workspace.path / "x.txt").write_text(f"{len(os.environ)}\n")
        return Reply("SUMMARY: looked")


class Negative:
    """A mutator whose programs no checker accepts."""

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        (workspace.path / "x.txt").write_text(f"{-1 - rng.random()}\n")
        return Mutation("below zero")
