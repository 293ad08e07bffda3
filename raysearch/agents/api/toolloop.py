"""The agent with tools: it looks, edits and tries until it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

from raysearch.agents import replies
from raysearch.agents.api.agent import ApiAgent, described, program_of, skill_text, skills_of
from raysearch.agents.api.dialogue import Dialogue
from raysearch.agents.api.messages import Message, Tool, ToolCall, ToolResult, Turn, printable
from raysearch.agents.api.servers import ToolServers
from raysearch.agents.api.tools import RUN, WRITE, Tools
from raysearch.agents.interface import Answered, Call, Permission, Reply
from raysearch.errors import ConfigError
from raysearch.protocols import Workspace
from raysearch.target import may_change

ANSWER = "answer"
PATHS_MAX = 200
CALLS_MAX = 64
"""Calls of tools in one answer that are heeded."""


class ToolLoop(ApiAgent):
    """Lets a model use tools in a loop until it answers without any.

    Options beside those of `ApiAgent`
        turns_max: most answers of the model in one call; then it must answer without tools.
        command_timeout_s: longest that one command may run.
        output_kb: most that one tool tells the model; more is cut in the middle.
        readable: more files and folders of this machine that MCP servers may read.
    """

    takes_servers = True

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
        turns_max: int = 60,
        command_timeout_s: float = 300.0,
        output_kb: float = 24.0,
        readable: Sequence[Path] = (),
    ) -> None:
        if turns_max < 1:
            raise ConfigError(f"turns_max must be 1 or more, not {turns_max}")
        if not 1 <= command_timeout_s <= 1e6:
            raise ConfigError(f"command_timeout_s must be from 1 to 1,000,000, not {command_timeout_s:g}")
        if not 0.5 <= output_kb <= 1024:
            raise ConfigError(f"output_kb must be from 0.5 to 1024, not {output_kb:g}")
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
        self.turns_max = turns_max
        self.command_timeout_s = command_timeout_s
        self.output_chars = int(output_kb * 1024)
        self.readable = tuple(Path(place).expanduser().absolute() for place in readable)

    def _answer(self, dialogue: Dialogue, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        with self._tools(workspace, call, lambda: dialogue.left_s) as tools:
            _prepare(dialogue, tools, call)
            return _Loop(dialogue, tools, call, self.turns_max).run()

    @contextmanager
    def _tools(self, workspace: Workspace, call: Call[Any], left_s: Callable[[], float]) -> Iterator[Tools]:
        """What the model can do in one call. Raises AgentFault where an MCP server does not start."""
        servers = ToolServers(
            workspace,
            () if call.permission is Permission.NONE else call.servers,
            writable=call.permission is Permission.EDIT,
            left_s=left_s,
            tool_timeout_s=self.command_timeout_s,
            readable=self.readable,
        )
        with servers:
            yield Tools(
                workspace=workspace,
                program=program_of(workspace),
                permission=call.permission,
                skills=skills_of(call),
                command_timeout_s=self.command_timeout_s,
                output_chars=self.output_chars,
                left_s=left_s,
                servers=servers,
            )


class _Loop(Generic[Answered]):
    """Turns, until the reply is there."""

    def __init__(self, dialogue: Dialogue, tools: Tools, call: Call[Answered], turns_max: int) -> None:
        self.dialogue = dialogue
        self.tools = tools
        self.call = call
        self.turns_left = turns_max
        self.mended_at: int | None = None
        """At which count of ``turns_left`` the model was told, once, that its reply is not of its form."""

    def run(self) -> Reply[Answered]:
        turn = self.dialogue.say(self.call.prompt)
        while True:
            self.turns_left -= 1
            if turn.calls:
                answer, results = self._used(turn)
                if answer is not None:
                    self.dialogue.conversation = self.dialogue.conversation.plus(Message("user", results=results))
                    return answer
                turn = self.dialogue.hand(results, self._last_words())
            elif turn.stop in {"length", "window"} and self.turns_left > 0:
                turn = self.dialogue.say("Your answer was cut off at its greatest length. Go on in smaller steps.")
            else:
                reply, problem = self._read(turn)
                if reply is not None:
                    return reply
                turn = self._mend(problem)

    def _used(self, turn: Turn) -> tuple[Reply[Answered] | None, tuple[ToolResult, ...]]:
        """Do what the model called for; the reply, if it called for that, once all else is done."""
        reply: Reply[Answered] | None = None
        results: dict[int, ToolResult] = {}
        form = self.call.schema
        answers = [index for index, each in enumerate(turn.calls) if each.name == ANSWER and form is not None]
        if self.turns_left <= 0 and not self.dialogue.conversation.tools_allowed and not answers:
            self.dialogue.fail("the model goes on calling tools, though it was to answer", "failed", again=False)
        for index, each in enumerate(turn.calls):
            if index in answers:
                continue
            if index >= CALLS_MAX or self.turns_left <= 0:
                why = "there are no turns left" if self.turns_left <= 0 else f"more than {CALLS_MAX} calls at once"
                results[index] = ToolResult(each.id, each.name, f"not done: {why}", failed=True)
            else:
                results[index] = self._done(each)
        for index in answers:
            each = turn.calls[index]
            answer = self._given(each, turn, alone=len(answers) == 1)
            reply = reply or (answer if isinstance(answer, Reply) else None)
            taken = ToolResult(each.id, each.name, "taken")
            results[index] = taken if isinstance(answer, Reply) else answer
        return reply, tuple(results[index] for index in sorted(results))

    def _last_words(self) -> str:
        """What to say when there are no turns left."""
        if self.turns_left > 0:
            return ""
        self.dialogue.forbid_tools()
        form = f" {replies.wanted(self.call.schema)}" if self.call.schema is not None else ""
        return f"That was the last turn with tools. Give your answer now, without any.{form}"

    def _done(self, each: ToolCall) -> ToolResult:
        if self.dialogue.left_s <= 0:
            self.dialogue.fail("the call's time is up", "time")
        result = self.tools.do(each)
        self.dialogue.note("tool", id=each.id, name=each.name, failed=result.failed, text=result.text)
        return result

    def _given(self, each: ToolCall, turn: Turn, *, alone: bool) -> ToolResult | Reply[Answered]:
        """The reply in a call of the tool ``answer``, or what is wrong with it."""
        assert self.call.schema is not None
        try:
            if not alone:
                raise replies.Unreadable("it was called more than once")
            value = replies.valid(self.call.schema, each.arguments)
        except replies.Unreadable as problem:
            self._once(str(problem))
            return ToolResult(each.id, each.name, f"{problem}; call {ANSWER} again, with all of it", failed=True)
        return Reply(printable(turn.text.strip()) or value.model_dump_json(), value)

    def _read(self, turn: Turn) -> tuple[Reply[Answered] | None, str]:
        """The reply in the text of an answer, or what is wrong with it."""
        text = printable(turn.text).strip()
        if self.call.schema is None:
            return (Reply(text), "") if text else (None, "it is empty")
        try:
            return Reply(text, replies.read(self.call.schema, turn.text)), ""
        except replies.Unreadable as problem:
            return None, str(problem)

    def _mend(self, problem: str) -> Turn:
        """Tell the model once what is wrong with its reply."""
        self._once(problem)
        if self.call.schema is None:
            return self.dialogue.say("Your answer was empty. Say in a few words what you did, or what you found.")
        return self.dialogue.say(replies.mend(self.call.schema, problem))

    def _once(self, problem: str) -> None:
        """One repair turn is all there is; what is wrong with one answer is mended together."""
        if self.mended_at not in {None, self.turns_left}:
            self.dialogue.fail(f"no usable reply, even after a repair turn: {problem}", "unreadable")
        self.mended_at = self.turns_left


def _prepare(dialogue: Dialogue, tools: Tools, call: Call[Any]) -> None:
    """Tell the model of its tools, of the files, and of the form of its reply."""
    offered = list(tools.offered)
    parts = [dialogue.conversation.system]
    if offered:
        parts.append(_surroundings(tools))
    native = None
    if call.schema is not None:
        if dialogue.provider.keeps_schema(bool(offered)):
            native = replies.portable(call.schema.model_json_schema())
        if native is None and offered:
            offered.append(Tool(ANSWER, "Give your answer; this ends the task.", call.schema.model_json_schema()))
            parts.append(f"When you are done, call the tool `{ANSWER}`: nothing else counts as your answer.")
        else:
            parts.append(replies.wanted(call.schema))
    system = "\n\n".join(part for part in parts if part)
    offered.sort(key=lambda tool: tool.name)  # always the same beginning, for the provider's cache
    dialogue.conversation = replace(dialogue.conversation, system=system, tools=tuple(offered), schema=native)


def _surroundings(tools: Tools) -> str:
    """How to work here, and what there is."""
    program = tools.program
    paths = program.all()
    shown = "\n".join(
        f"- {path}" + ("" if may_change(path, program.editable) else " (may not change)") for path in paths[:PATHS_MAX]
    )
    more = f"\n- … and {len(paths) - PATHS_MAX} more" if len(paths) > PATHS_MAX else ""
    told = ["Files of the program:\n" + (shown or "(none yet)") + more]
    if tools.permission is Permission.EDIT:
        told.append(
            f"Only {', '.join(program.editable)} may change: a program with any other change is thrown away. "
            f"Change files with {WRITE.name} and edit_file, or with {RUN.name}. You can call several tools at once. "
            "The program is taken as you leave it when you answer without calling a tool."
        )
    else:
        told.append("Nothing of the program may change: you only look. You can call several tools at once.")
    if tools.skills:
        listed = "\n".join(
            f"- {name}: {described(skill_text(folder))}" for name, folder in sorted(tools.skills.items())
        )
        told.append(f"Skills (read @skills/NAME/SKILL.md before you do what one is about):\n{listed}")
    return "\n\n".join(told)
