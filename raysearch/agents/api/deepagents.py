"""The agent that lets the package deepagents do the work: its subagents and its summaries, within our walls.

The package is an extra (``pip install 'raysearch[deepagents]'``), and loaded when something is first asked. Its file
tools see the program's folder and nothing else, its commands run in the sandbox, and every answer of a model, whether
of the agent, a subagent or a summary, goes through `Watch`, which keeps the account, the time and the transcript.
"""

from __future__ import annotations

import importlib
import re
import secrets
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NoReturn

from raysearch.agents import credentials, replies
from raysearch.agents.api.langchain import Stop, Watch, connected, failed, of_servers, watching
from raysearch.agents.api.messages import Conversation, Message, ProviderError, Tool, ToolCall, clean, printable
from raysearch.agents.api.program import Refused
from raysearch.agents.api.providers import Address
from raysearch.agents.api.searching import LINE_CHARS
from raysearch.agents.api.toolloop import PATHS_MAX, ToolLoop
from raysearch.agents.api.tools import EDIT, READ, ROOTS, RUN, SEARCH, SKILLS, WRITE, Tools
from raysearch.agents.api.transcript import Transcript
from raysearch.agents.interface import AgentFault, Answered, Call, Cause, Permission, Reply
from raysearch.errors import Fault
from raysearch.protocols import Workspace
from raysearch.target import may_change

if TYPE_CHECKING:
    from deepagents.backends import protocol
    from deepagents.middleware.filesystem import FsToolName

KEPT = "/@kept"
"""Where the package puts long results and old conversation: in its own memory, never among the program's files."""
LOOKING: list[FsToolName] = ["ls", "read_file", "glob", "grep", "execute"]
"""Its tools that need no right to change files."""
STEPS_A_TURN = 10
"""Steps of its graph for one answer of the model are fewer: the count of answers is what ends a call."""
LOOK_S = 0.5
_WHOLE = 10**9


class DeepAgent(ToolLoop):
    """Lets deepagents work on the program until it answers. Options as `ToolLoop`'s; Vertex AI cannot be asked.

    A call ends as a fault when it is not done after ``turns_max`` answers, those to subagents included.
    """

    def lacking(self, sandbox: str) -> str:
        """See `ApiAgent.lacking`."""
        try:
            _require()
        except AgentFault as fault:
            return str(fault)
        return super().lacking(sandbox)

    def ask(self, workspace: Workspace, call: Call[Answered]) -> Reply[Answered]:
        """See `ApiAgent.ask`."""
        began = self.pace.monotonic()
        hidden = (*credentials.secrets(), *filter(None, [credentials.credential(self.address.key_from or "-")]))
        spending = self._spending(workspace)
        transcript = Transcript(workspace.artifacts, call.role, hidden)

        def note(kind: str, /, **fields: object) -> None:
            transcript.write(kind, self.pace.monotonic() - began, **fields)

        ended = "broke off"
        try:
            with self._attributed(spending, transcript.path, hidden):
                session = call.session or f"{call.role}-{secrets.token_hex(8)}"
                note("call", role=call.role, session=session, provider=self.address.provider, model=spending.model)
                if call.session and session not in self._sessions:
                    note("note", text=f"session {session} is not known here: a new one begins")
                _require()
                watch = watching(spending, note, self.pace, began + call.timeout_s, self.turns_max, self.output_max)
                reply = self._worked(watch, workspace, call, session)
            ended = "answered"
            usage = replace(spending.usage, session=session)
            return replace(reply, usage=usage, session=session, transcript=transcript.path)
        except AgentFault as fault:
            ended = f"{fault.cause}: {fault}"
            raise
        finally:
            note("ended", how=ended, usage=asdict(spending.usage))
            transcript.close()

    def _worked(self, watch: Watch, workspace: Workspace, call: Call[Answered], session: str) -> Reply[Answered]:
        """The agent's reply, mended once where it is not of its form."""
        with ExitStack() as stack:
            tools = stack.enter_context(self._tools(workspace, call, lambda: watch.left_s))
            system = "\n\n".join(part for part in (call.system, _surroundings(tools)) if part)
            if call.schema is not None:
                system += f"\n\n{replies.wanted(call.schema)}"
            where = self._where(watch)
            model = connected(where, watch, self.retries, self.rng, self.effort, stack)
            watch.note("asked", model=watch.spending.model, system=system)
            run = _graph(model, tools, system, watch)
            before = self._sessions.get(session)
            messages: Any = before.messages[0].wire if before is not None else []
            said, problem = call.prompt, ""
            for _ in range(2):
                watch.note("asked", text=said)
                messages, text = run([*messages, ("user", said)])
                self._keep(session, Conversation((Message("assistant", wire=messages),)))  # as LangChain has them
                try:
                    if call.schema is not None:
                        return Reply(text, replies.read(call.schema, text))
                    if text:
                        return Reply(text)
                    problem, said = "it is empty", "Your answer was empty. Say in a few words what you did, or found."
                except replies.Unreadable as reason:
                    assert call.schema is not None
                    problem, said = str(reason), replies.mend(call.schema, str(reason))
        raise AgentFault(f"no usable reply, even after a repair turn: {problem}", cause="unreadable")

    def _where(self, watch: Watch) -> Address:
        """Where the model is asked. A server of the run is waited for."""
        where = replace(self.address, model=watch.spending.model)
        if self.place is None:
            return where
        while True:
            try:
                found = self.place.look()
            except ProviderError as error:
                raise AgentFault(str(error), cause="unavailable") from None
            if found.urls:
                window = where.window_tokens or found.window_tokens
                return replace(where, base_url=f"{self.rng.choice(found.urls)}/v1", window_tokens=window)
            if not found.coming or watch.left_s <= 0:
                cause: Cause = "time" if found.coming else "unavailable"
                raise AgentFault(f"the model server {self.place.name!r} is not there: {found.why}", cause=cause)
            self.pace.sleep(min(LOOK_S, max(0.0, watch.left_s)))


class _Files:
    """The program's folder, and what a target shows and skills say, as deepagents asks for files; all paths begin at
    ``/``. What it takes and gives is described in ``deepagents.backends.protocol``.
    """

    def __init__(self, tools: Tools) -> None:
        super().__init__()
        self._tools = tools
        self._program = tools.program

    @property
    def id(self) -> str:
        return "program"

    def execute(self, command: str, *, timeout: int | None = None) -> protocol.ExecuteResponse:
        from deepagents.backends.protocol import ExecuteResponse

        given = {"command": command, **({"timeout_s": timeout} if timeout else {})}
        return ExecuteResponse(self._done(RUN, **given)[0])

    def ls(self, path: str) -> protocol.LsResult:
        from deepagents.backends.protocol import LsResult

        inner = path.strip("/")
        try:
            found = self._text(inner).split("\n") if _aside(inner) else self._program.listed(inner)
        except Refused as reason:
            return LsResult(error=str(reason))
        if not inner:
            found += [f"{root}/" for root in (*ROOTS, *([SKILLS] if self._tools.skills else []))]
        folder = f"/{inner}" if inner else ""
        return LsResult(entries=[{"path": f"{folder}/{name}", "is_dir": name.endswith("/")} for name in found if name])

    def read(self, file_path: str, offset: int = 0, limit: int = 2000) -> protocol.ReadResult:
        from deepagents.backends.protocol import ReadResult
        from deepagents.backends.utils import slice_read_response

        try:
            text = self._text(file_path.strip("/"))
        except Refused as reason:
            return ReadResult(error=str(reason))
        return slice_read_response({"content": text, "encoding": "utf-8"}, offset, limit)

    def download_files(self, paths: list[str]) -> list[protocol.FileDownloadResponse]:
        from deepagents.backends.protocol import FileDownloadResponse

        found = []
        for path in paths:
            try:
                found.append(FileDownloadResponse(path, self._text(path.strip("/")).encode()))
            except Refused:
                found.append(FileDownloadResponse(path, error="file_not_found"))
        return found

    def write(self, file_path: str, content: str) -> protocol.WriteResult:
        from deepagents.backends.protocol import WriteResult

        text, failed = self._done(WRITE, path=file_path.strip("/"), content=content)
        return WriteResult(error=text) if failed else WriteResult(path=file_path)

    def edit(self, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> protocol.EditResult:
        from deepagents.backends.protocol import EditResult

        path, count, text = file_path.strip("/"), 1, ""
        if replace_all:
            with suppress(Refused):
                text = self._program.read(path)
            count = text.count(old_string) if old_string else 1
        if count > 1:
            told, failed = self._done(WRITE, path=path, content=text.replace(old_string, new_string))
        else:
            told, failed = self._done(EDIT, path=path, old=old_string, new=new_string)
        return EditResult(error=told) if failed else EditResult(path=file_path, occurrences=count)

    def delete(self, file_path: str) -> protocol.DeleteResult:
        from deepagents.backends.protocol import DeleteResult

        path = file_path.strip("/")
        try:
            if self._tools.permission is not Permission.EDIT:
                raise Refused("nothing of the program may change")
            doomed = self._below(path)
            if not doomed:
                raise Refused(f"there is no file {path}")
            for each in doomed:
                self._program.writable(each)
            for each in doomed:
                self._program.remove(each)
        except Refused as reason:
            return DeleteResult(error=str(reason))
        return DeleteResult(path=file_path)

    def glob(self, pattern: str, path: str | None = None) -> protocol.GlobResult:
        from deepagents.backends.protocol import GlobResult

        try:
            found = self._chosen(pattern, (path or "").strip("/"))
        except Refused as reason:
            return GlobResult(error=str(reason))
        return GlobResult(matches=[{"path": f"/{each}", "is_dir": False} for each in found])

    def grep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> protocol.GrepResult:
        from deepagents.backends.protocol import GrepMatch, GrepResult

        inner, matches = (path or "").strip("/"), list[GrepMatch]()
        if inner.partition("/")[0] in ROOTS:
            given = {"pattern": re.escape(pattern), "where": inner.partition("/")[0], "glob": glob or ""}
            text, failed = self._done(SEARCH, **given)
            if failed:
                return GrepResult(error=text)
            for found in re.finditer(r"^(.+?):(\d+): (.*)$", text, re.MULTILINE):
                if f"{found[1]}/".startswith(f"{inner}/"):
                    matches.append({"path": f"/{found[1]}", "line": int(found[2]), "text": found[3]})
            return GrepResult(matches=matches[:max_count], truncated=len(matches) > len(matches[:max_count]))
        try:
            chosen = self._chosen(glob, inner) if glob else self._below(inner)
        except Refused as reason:
            return GrepResult(error=str(reason))
        for each in chosen:
            with suppress(Refused):
                for number, line in enumerate(self._program.read(each).split("\n"), 1):
                    if pattern in line:
                        matches.append({"path": f"/{each}", "line": number, "text": line[:LINE_CHARS]})
        return GrepResult(matches=matches[:max_count], truncated=len(matches) > len(matches[:max_count]))

    def _chosen(self, pattern: str, folder: str) -> list[str]:
        """Files of the program below a folder that a pattern picks. Raises Refused."""
        from deepagents.backends.utils import compile_grep_include_glob

        try:
            picked = compile_grep_include_glob(pattern)
        except ValueError as error:
            raise Refused(str(error)) from None
        return [path for path in self._below(folder) if picked(path.removeprefix(f"{folder}/" if folder else ""))]

    def _below(self, folder: str) -> list[str]:
        """The file of that path, or those in the folder."""
        return [path for path in self._program.all() if not folder or f"{path}/".startswith(f"{folder}/")]

    def _text(self, path: str) -> str:
        """Raises Refused."""
        if not _aside(path):
            return self._program.read(path)
        text, failed = self._done(READ, path=path, lines=_WHOLE)
        if failed:
            raise Refused(text)
        return text

    def _done(self, tool: Tool, **given: object) -> tuple[str, bool]:
        """What one of our own tools said, and whether it failed."""
        done = self._tools.do(ToolCall("", tool.name, given))
        return done.text, done.failed


Run = Callable[[list[Any]], tuple[list[Any], str]]
"""Takes the conversation so far, and gives all of it and the text at its end."""


def _graph(model: Any, tools: Tools, system: str, watch: Watch) -> Run:
    """The agent itself, ready to run."""
    from deepagents import create_deep_agent
    from deepagents.backends import CompositeBackend, StateBackend
    from deepagents.backends.protocol import SandboxBackendProtocol
    from deepagents.middleware.filesystem import FilesystemMiddleware
    from langchain.agents import create_agent
    from langgraph.errors import GraphRecursionError
    from langsmith import tracing_context

    class Backend(_Files, SandboxBackendProtocol):
        """Known to deepagents as one that can run commands."""

    graph: Any
    if tools.permission is Permission.NONE:
        graph = create_agent(model, system_prompt=system)
    else:
        backend = CompositeBackend(Backend(tools), {f"{KEPT}/": StateBackend()}, artifacts_root=KEPT)
        offered = None if tools.permission is Permission.EDIT else LOOKING
        files = FilesystemMiddleware(backend=backend, tools=offered)
        skills = [f"/{SKILLS}/"] if tools.skills else None
        graph = create_deep_agent(
            model, of_servers(tools), system_prompt=system, backend=backend, middleware=[files], skills=skills
        )

    def run(messages: list[Any]) -> tuple[list[Any], str]:
        # One thing at a time: nothing else may change the program while a tool looks at where a path leads.
        config = {"callbacks": [watch], "max_concurrency": 1, "recursion_limit": STEPS_A_TURN * watch.turns_max}
        try:
            with tracing_context(enabled=False):
                messages = graph.invoke({"messages": messages}, config)["messages"]
        except Stop:
            assert watch.fault is not None
            raise watch.fault from None
        except Fault:
            raise
        except GraphRecursionError as error:
            watch.fail(f"it went round in circles: {error}", "failed", again=False)
        except Exception as error:
            _give_up(watch, failed(error))
        return messages, printable(clean(str(messages[-1].text))).strip()

    return run


def _give_up(watch: Watch, error: ProviderError) -> NoReturn:
    causes: dict[str, Cause] = {"limited": "limited", "unavailable": "unavailable"}
    if watch.left_s <= 0:  # else it was silent for too long, with time left
        causes["time"] = "time"
    again = False if error.kind in {"rejected", "window"} else None
    watch.fail(f"{watch.spending.model}: {error}", causes.get(error.kind, "failed"), again=again)


def _require() -> None:
    """Raises AgentFault (``unavailable``) where the extra is not installed."""
    try:
        importlib.import_module("deepagents")
    except ImportError as error:
        raise AgentFault(
            f"the agent deepagents needs a package that is missing ({error}): pip install 'raysearch[deepagents]'",
            cause="unavailable",
        ) from None


def _aside(path: str) -> bool:
    """Whether a path leads to what a target shows or a skill says, and not into the program."""
    return path.partition("/")[0] in {*ROOTS, SKILLS}


def _surroundings(tools: Tools) -> str:
    """How to work here, and what there is."""
    if tools.permission is Permission.NONE:
        return ""
    program = tools.program
    paths = program.all()
    shown = [f"- /{path}" + ("" if may_change(path, program.editable) else " (may not change)") for path in paths]
    if len(shown) > PATHS_MAX:
        shown[PATHS_MAX:] = [f"- … and {len(paths) - PATHS_MAX} more"]
    told = ["Files of the program:\n" + ("\n".join(shown) or "(none yet)")]
    told.append(
        "For the tools that take a path, / is the program's folder; /@reference and /@target can be read, too, and "
        "never change. Commands run in the program's folder, in a sandbox without network: there /a.py is a.py. "
        "$REFERENCE, $TARGET and $SCRATCH are folders; what is not to become part of the program belongs into $SCRATCH."
    )
    if tools.permission is Permission.EDIT:
        told.append(
            f"Only {', '.join(program.editable)} may change: a program with any other change is thrown away. "
            "The program is taken as you leave it when you answer without calling a tool."
        )
    else:
        told.append("Nothing of the program may change: you only look.")
    return "\n\n".join(told)
