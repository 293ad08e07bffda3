"""Consultants that are models: each is asked one typed question about one program, which it may read."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from raysearch.agents.asking import Employer, Hired
from raysearch.agents.interface import Call
from raysearch.agents.interface import Reply as AgentReply
from raysearch.agents.prompts import render
from raysearch.agents.prompts.briefing import consulted
from raysearch.agents.roles import ROLES, Lessons, ReplyForm, TaskForm, TriageForm
from raysearch.consultation import Decision, Reply, Task
from raysearch.errors import EvaluatorFault
from raysearch.kinds import Backend, Modality
from raysearch.protocols import Workspace
from raysearch.types import Brief

Form = TypeVar("Form", bound=ReplyForm)


class Asked(Employer):
    """An agent in one role.

    Options
        agent, agent_options, model, effort: as of the mutator `coding`.
        call_timeout_s: for the whole of one question.
        backend, modality: what kind of program it is; each adds a paragraph to the prompt.
        prices, no_price: what the run itself says about what models cost.
    """

    role: ClassVar[str]
    resources: ClassVar[Mapping[str, float]] = {"cpus": 0.25, "threads": 8}

    def __init__(
        self,
        *,
        agent: str,
        agent_options: Mapping[str, object] | None = None,
        model: str = "",
        effort: str = "",
        call_timeout_s: float = 900.0,
        backend: Backend = "",
        modality: Modality = "generic",
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
    ) -> None:
        if not 1 <= call_timeout_s <= 1e6:
            raise ValueError(f"call_timeout_s must be from 1 to 1,000,000 seconds, not {call_timeout_s:g}")
        self._hired = Hired(agent, agent_options, model, effort, prices, no_price)
        self.employed = self._hired
        self._kind = {"backend": backend, "modality": modality}
        self._timeout_s = call_timeout_s

    def ask(
        self, workspace: Workspace, brief: Brief, form: type[Form], **more: object
    ) -> tuple[Form, AgentReply[Form]]:
        """The reply, in its form. Raises AgentFault, and EvaluatorFault where it has none."""
        prompt = render(self.role, {**consulted(workspace, brief), **more}, **self._kind)
        call: Call[Form] = Call(
            role=self.role,
            prompt=prompt.text,
            system=prompt.system,
            permission=ROLES[self.role].permission,
            schema=form,
            timeout_s=self._timeout_s,
        )
        reply = self._hired.ask(workspace, prompt, call)
        if reply.value is None:
            raise EvaluatorFault(f"the {self.role} answered without a reply in the form asked for", reply.usage)
        return reply.value, reply


class Triage(Asked):
    """Is a profile worth its price now?"""

    role = "triage"

    def consult(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Reply:  # noqa: ARG002 - models draw
        said, reply = self.ask(workspace, brief, TriageForm)
        return Reply(decision=Decision(said.profile, said.focus, said.why), usage=reply.usage)


class Planner(Asked):
    """What is to be done next."""

    role = "planner"

    def consult(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Reply:  # noqa: ARG002 - models draw
        said, reply = self.ask(workspace, brief, TaskForm)
        return Reply(task=Task(**said.model_dump()), usage=reply.usage)


class LessonsWriter(Asked):
    """What do the failures teach, and where else could one look?"""

    role = "lessons_writer"

    def consult(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Reply:  # noqa: ARG002 - models draw
        said, reply = self.ask(workspace, brief, Lessons)
        return Reply(said.direction, lessons=said.lessons, usage=reply.usage)
