"""A coding agent as a mutator: it is told the brief, edits the files, and says what it did."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from raysearch.agents.asking import Employer, Hired, servers_of
from raysearch.agents.interface import Call, Permission
from raysearch.agents.prompts import render
from raysearch.agents.prompts.briefing import capped, one_line, told
from raysearch.errors import ConfigError
from raysearch.kinds import Backend, Interface, Modality
from raysearch.protocols import Workspace
from raysearch.types import Brief, Mutation

SKILL = "SKILL.md"
SUMMARY_CHARS, MEMORY_CHARS = 300, 4_000
SESSION, SESSION_CHARS = "SESSION: ", 200
"""The line of a memory in which this mutator names the conversation."""
_LABEL = re.compile(r"^[\s>*_#`-]*(SUMMARY|MEMORY)[*_`]*[ \t]*:[*_`]*[ \t]*", re.MULTILINE)


class CodingAgent(Employer):
    """Asks an agent to improve the program.

    Options
        agent: an installed agent's name, or a reference to a class.
        agent_options: options of that agent's constructor.
        model, effort: the model, and how hard it should think, in the agent's own words; empty: its default.
        timeout_s: for the whole of one call.
        skills: Agent Skills folders, each with a SKILL.md, which the agent can discover.
        servers: MCP servers whose tools it gets: the name of each, with its command (a list of words) or its address.
        session: ``new``: each attempt is a conversation of its own; ``lineage``: it goes on with that of the attempt
            whose memory it is told, where the policy hands memories on.
        backend, modality, interface: what kind of program it is; each adds a paragraph to the prompt.
        judges, prices, no_price: what the run itself says about who judges and what models cost.
    """

    resources: ClassVar[Mapping[str, float]] = {"cpus": 0.25, "threads": 8}
    """It mostly waits for a model, so eight slots share a process."""

    def __init__(
        self,
        *,
        agent: str,
        agent_options: Mapping[str, object] | None = None,
        model: str = "",
        effort: str = "",
        timeout_s: float = 1800.0,
        skills: Sequence[Path] = (),
        servers: Mapping[str, str | Sequence[str]] | None = None,
        session: Literal["new", "lineage"] = "new",
        backend: Backend = "",
        modality: Modality = "",
        interface: Interface = "",
        judges: Sequence[str] = ("accuracy",),
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
    ) -> None:
        if not 1 <= timeout_s <= 1e6:
            raise ValueError(f"timeout_s must be from 1 to 1,000,000 seconds, not {timeout_s:g}")
        for folder in skills:
            if not (folder / SKILL).is_file():
                raise ConfigError(f"skills: {folder} is no skill: there is no {SKILL} in it")
        self._hired = Hired(agent, agent_options, model, effort, prices, no_price)
        self.employed = self._hired
        self._kind = {"backend": backend, "modality": modality, "interface": interface}
        self._goes_on = session == "lineage"
        self._servers = servers_of(servers or {})
        self._skills = tuple(folder.absolute() for folder in skills)
        self._timeout_s, self._judges = timeout_s, tuple(judges)

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:  # noqa: ARG002 - models draw
        """Whatever the agent left of the files is the mutation. Raises AgentFault."""
        memory, session = parted(brief.memory)
        prompt = render("implementer", told(workspace, replace(brief, memory=memory), self._judges), **self._kind)
        call: Call[Any] = Call(
            role="implementer",
            prompt=prompt.text,
            system=prompt.system,
            permission=Permission.EDIT,
            skills=self._skills,
            servers=self._servers,
            session=session if self._goes_on else "",
            keep=self._goes_on,
            timeout_s=self._timeout_s,
        )
        reply = self._hired.ask(workspace, prompt, call)
        summary, memory = account(reply.text)
        memory, _ = parted(memory)  # only this mutator names the session
        if self._goes_on and reply.session:
            memory = f"{memory}\n{SESSION}{one_line(reply.session, SESSION_CHARS)}".strip()
        return Mutation(summary, memory, reply.usage)


def parted(memory: str) -> tuple[str, str]:
    """A memory without the lines that name a session, and the session that the last of them names.

    >>> parted("the table is sorted\\nSESSION: 7f3a")
    ('the table is sorted', '7f3a')
    """
    lines = memory.splitlines()
    named = [line.removeprefix(SESSION).strip() for line in lines if line.startswith(SESSION)]
    if not named:
        return memory, ""
    rest = "\n".join(line for line in lines if not line.startswith(SESSION))
    return rest.strip("\n"), named[-1][:SESSION_CHARS]


def account(text: str) -> tuple[str, str]:
    """Summary and memory from the end of a reply; without the labels the reply's first line is the summary.

    >>> account("Done.\\nSUMMARY: a faster loop\\nMEMORY: the table is sorted")
    ('a faster loop', 'the table is sorted')
    """
    found = list(_LABEL.finditer(text))
    said = {"SUMMARY": "", "MEMORY": ""}
    for label, after in zip(found, [*found[1:], None], strict=False):
        said[label[1]] = text[label.end() : after.start() if after else len(text)].strip()
    summary = said["SUMMARY"] or next((line for line in text.splitlines() if line.strip() and not found), "")
    memory = "".join(c if c.isprintable() or c in "\n\t" else " " for c in said["MEMORY"])
    memory = "" if memory.strip(" .`*_").lower() in {"", "none", "nothing", "n/a"} else memory
    return one_line(summary, SUMMARY_CHARS), capped(memory, MEMORY_CHARS)
