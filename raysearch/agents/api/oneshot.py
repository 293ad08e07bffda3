"""What the agents share that answer in one go: the files are shown, the answer holds what becomes of them."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from raysearch.agents import replies
from raysearch.agents.api.agent import ApiAgent, program_of, skill_text, skills_of
from raysearch.agents.api.dialogue import Dialogue
from raysearch.agents.api.messages import Turn, printable
from raysearch.agents.api.program import Program, Refused
from raysearch.agents.interface import Answered, Call, Permission, Reply
from raysearch.errors import ConfigError
from raysearch.protocols import Workspace


@dataclass(slots=True)
class Written:
    """What an answer makes of the files: new texts by path, None for those that go; and what is wrong with it."""

    changed: dict[str, str | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    prose: str = ""
    """The rest of the answer."""


class OneShot(ApiAgent):
    """Shows a model the files that may change, and takes its answer; one repair turn if that does not fit.

    Options beside those of `ApiAgent`
        program_kb_max: most that the files shown may hold together; a larger program needs an agent with tools.
    """

    def __init__(
        self,
        model: str = "",
        *,
        effort: str = "",
        provider: str = "",
        base_url: str = "",
        key_from: str = "",
        project: str = "",
        region: str = "",
        window_tokens: int = 0,
        output_tokens_max: int = 16_384,
        retries_max: int = 5,
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        no_price: bool = False,
        server: str = "",
        server_file: str = "",
        program_kb_max: float = 256.0,
    ) -> None:
        if program_kb_max <= 0:
            raise ConfigError(f"program_kb_max must be more than 0, not {program_kb_max:g}")
        super().__init__(
            model,
            effort=effort,
            provider=provider,
            base_url=base_url,
            key_from=key_from,
            project=project,
            region=region,
            window_tokens=window_tokens,
            output_tokens_max=output_tokens_max,
            retries_max=retries_max,
            prices=prices,
            no_price=no_price,
            server=server,
            server_file=server_file,
        )
        self.program_kb_max = program_kb_max

    @property
    @abstractmethod
    def manner(self) -> str:
        """What to tell a model of how to write its answer."""

    @abstractmethod
    def written(self, text: str, files: Mapping[str, str], program: Program) -> Written:
        """What an answer makes of ``files``. Raises nothing."""

    def _answer(self, dialogue: Dialogue, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        program = program_of(workspace)
        files = program.texts() if call.permission is not Permission.NONE else {}
        edits = call.permission is Permission.EDIT
        self._prepare(dialogue, call, edits)
        turn = dialogue.say("\n\n".join(part for part in (call.prompt, self._shown(files, program, call)) if part))
        reply, problems = self._taken(turn, files, program, call)
        if problems:
            dialogue.note("note", text="a repair turn: " + "; ".join(problems))
            turn = dialogue.say(_mend(problems, call, edits))
            reply, problems = self._taken(turn, files, program, call)
        if problems or reply is None:
            dialogue.fail(f"no usable answer, even after a repair turn: {'; '.join(problems)[:2000]}", "unreadable")
        return reply

    def _prepare(self, dialogue: Dialogue, call: Call[Any], edits: bool) -> None:
        parts = [dialogue.conversation.system, self.manner if edits else ""]
        parts += [f"Skill {name}:\n{skill_text(folder)}" for name, folder in sorted(skills_of(call).items())]
        native = None
        if call.schema is not None:
            parts.append(replies.wanted(call.schema))
            if not edits and dialogue.provider.keeps_schema(False):
                native = replies.portable(call.schema.model_json_schema())
        system = "\n\n".join(part for part in parts if part)
        dialogue.conversation = replace(dialogue.conversation, system=system, schema=native, key=call.role)

    def _taken(
        self, turn: Turn, files: Mapping[str, str], program: Program, call: Call[Answered]
    ) -> tuple[Reply[Answered] | None, list[str]]:
        """The reply, its changes made, if all of the answer is as it must be; else what is wrong, and no change."""
        text, problems, changed = turn.text, list[str](), dict[str, str | None]()
        if turn.stop in {"length", "window"}:
            problems.append("the answer was cut off at its greatest length: give a shorter one")
        if call.permission is Permission.EDIT:
            written = self.written(text, files, program)
            problems += written.problems
            changed = written.changed
            if not changed and not problems:
                problems.append("there is no change in it")
            text = written.prose
        value: Answered | None = None
        if call.schema is not None:
            try:
                value = replies.read(call.schema, text)
            except replies.Unreadable as problem:
                problems.append(f"of the JSON object: {problem}")
        if not problems:
            problems += _make(changed, files, program)
        if problems:
            return None, problems
        return Reply(printable(text or turn.text).strip(), value), []

    def _shown(self, files: Mapping[str, str], program: Program, call: Call[Any]) -> str:
        """The files, each in a fence that nothing in it ends. Raises Refused."""
        if call.permission is Permission.NONE:
            return ""
        size = sum(len(text) for text in files.values())
        if size > self.program_kb_max * 1024:
            raise Refused(
                f"the files that may change hold {size / 1024:.0f} kB, more than program_kb_max = "
                f"{self.program_kb_max:g}: raise that, or take an agent with tools"
            )
        parts = [f"{path}\n{_fenced(text)}" for path, text in files.items()]
        others = [path for path in program.all() if path not in files]
        said = f"There are other files, too, which are not shown: {', '.join(others[:100])}" if others else ""
        shown = "\n\n".join(parts) or "(There is none yet.)"
        patterns = ", ".join(program.editable)
        return "\n\n".join(part for part in (f"The files that may change ({patterns}):\n\n{shown}", said) if part)


def _make(changed: Mapping[str, str | None], files: Mapping[str, str], program: Program) -> list[str]:
    """Write what differs; what is wrong otherwise, and then all is as it was."""
    done = []
    for path, text in changed.items():
        try:
            program.writable(path)
            done.append(path)
            _put(path, text, program)
        except Refused as reason:
            for each in done:
                _put(each, files.get(each), program)
            return [str(reason)]
    return []


def _put(path: str, text: str | None, program: Program) -> None:
    if text is not None:
        program.write(path, text)
    elif program.exists(path):
        program.remove(path)


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{fence}"


def _mend(problems: list[str], call: Call[Any], edits: bool) -> str:
    listed = "\n".join(f"- {problem}" for problem in problems[:20])
    nothing = " Nothing was changed." if edits else ""
    form = f"\n{replies.wanted(call.schema)}" if call.schema is not None else ""
    return f"Your answer does not fit:\n{listed}\n{nothing} Give all of your answer again, mended.{form}".replace(
        "\n ", "\n"
    )
