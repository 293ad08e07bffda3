"""What the tool loop's model can do: look, search, run, and, where it may, write."""

from __future__ import annotations

import difflib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysearch.agents.api.messages import Tool, ToolCall, ToolResult, clean, printable
from raysearch.agents.api.program import Program, Refused
from raysearch.agents.api.searching import LINE_CHARS, MATCHES_MAX, SCRIPT
from raysearch.agents.api.servers import ToolServers
from raysearch.agents.api.transcript import shortened
from raysearch.agents.interface import Permission
from raysearch.protocols import Completed, Guest, Workspace
from raysearch.sandbox.public import HIDDEN
from raysearch.target import may_change

ROOTS = {"@reference": "{reference}", "@target": "{target}"}
SKILLS = "@skills"
SEARCH_S = 20.0
COMMAND_CHARS = 100_000
LINES = 400
_SHOW = 'if [ -d "$1" ]; then ls -1Ap -- "$1"; else head -c "$2" -- "$1"; fi'
_RUN = 'export REFERENCE="$1" TARGET="$2" SCRATCH="$3"; shift 3; command=$COMMAND; unset COMMAND; eval "$command"'


def _tool(name: str, description: str, required: Sequence[str], **parameters: tuple[str, str]) -> Tool:
    properties = {key: {"type": kind, "description": said} for key, (kind, said) in parameters.items()}
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return Tool(name, description, schema)


READ = _tool(
    "read_file",
    "Read a text file of the program, or list a folder (path '.' is the program's). Paths are relative to the "
    "program's folder; @reference/…, @target/… and @skills/… can be read, too, and never change.",
    ["path"],
    path=("string", "the file or folder"),
    first_line=("integer", "where to begin; 1 by default"),
    lines=("integer", f"how many lines; {LINES} by default"),
)
SEARCH = _tool(
    "search",
    "Find the lines that match a regular expression (Python's), in the program or in @reference or @target.",
    ["pattern"],
    pattern=("string", "the regular expression, matched against each line by itself"),
    glob=("string", "only files whose name or path matches this, as in *.py"),
    where=("string", "'.' (the program, by default), @reference or @target"),
)
WRITE = _tool(
    "write_file",
    "Write a whole file of the program: a new one, or all of an old one.",
    ["path", "content"],
    path=("string", "the file"),
    content=("string", "all that is to stand in it"),
)
EDIT = _tool(
    "edit_file",
    "Replace a piece of a file by another. The old piece must stand in the file exactly once, to the letter.",
    ["path", "old", "new"],
    path=("string", "the file"),
    old=("string", "the piece as it stands there, with enough around it to be the only one"),
    new=("string", "what is to stand there"),
)
RUN = _tool(
    "run_command",
    "Run a shell command (sh) in the program's folder, in a sandbox without network. $REFERENCE, $TARGET and $SCRATCH "
    "are folders; what should not become part of the program belongs into $SCRATCH.",
    ["command"],
    command=("string", "the command"),
    timeout_s=("number", "when to give up, in seconds"),
)


@dataclass(slots=True)
class Tools:
    """The tools of one call, and the account of what they left that must not be there."""

    workspace: Workspace
    program: Program
    permission: Permission
    skills: Mapping[str, Path]
    command_timeout_s: float
    output_chars: int
    left_s: Callable[[], float]
    """Seconds until the call's time is up."""
    servers: ToolServers | None = None
    _fixed: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)
    """Files that may not change: size and time of the last change (ns)."""
    _hides: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._fixed = self._not_editable()
        root = self.workspace.target.root
        self._hides = any(HIDDEN in (*names, *files) for _, names, files in os.walk(root))

    @property
    def offered(self) -> tuple[Tool, ...]:
        if self.permission is Permission.NONE:
            return ()
        own = (EDIT, READ, RUN, SEARCH, WRITE) if self.permission is Permission.EDIT else (READ, RUN, SEARCH)
        return (*own, *(self.servers.offered if self.servers else ()))

    def do(self, call: ToolCall) -> ToolResult:
        """Do what the model called for; what goes wrong by its own doing is told it. Raises SandboxFault."""
        does = {
            READ.name: self._read,
            SEARCH.name: self._search,
            WRITE.name: self._write,
            EDIT.name: self._edit,
            RUN.name: self._run,
        }
        known = [tool.name for tool in self.offered]
        try:
            if call.name not in known:
                raise Refused(f"there is no tool {call.name!r}; there are: {', '.join(known) or 'none'}")
            if call.arguments is None:
                raise Refused("the arguments are no JSON object (they may have been cut off): call again")
            if call.name in does:
                text = does[call.name](_Arguments(call.arguments))
            else:
                assert self.servers is not None
                text = self.servers.call(call.name, call.arguments)
        except Refused as reason:
            return ToolResult(call.id, call.name, shortened(clean(str(reason)), self.output_chars), failed=True)
        return ToolResult(call.id, call.name, shortened(clean(text), self.output_chars))

    def _read(self, given: _Arguments) -> str:
        path = given.text("path")
        first, count = max(1, given.whole("first_line", 1)), max(1, given.whole("lines", LINES))
        head, _, rest = path.partition("/")
        if head in ROOTS:
            text = self._shown(ROOTS[head], rest)
        elif head == SKILLS:
            text = self._skill(rest)
        elif path.strip("./") == "" or (self.program.exists(path) and (self.program.root / path).is_dir()):
            return "\n".join(self.program.listed(path)) or "(empty)"
        else:
            text = self.program.read(path)
        lines = text.split("\n")
        if first > len(lines):
            raise Refused(f"{path} has {len(lines)} lines only")
        last = min(len(lines), first + count - 1)
        note = f"[lines {first} to {last} of {len(lines)}]\n" if (first, last) != (1, len(lines)) else ""
        return note + "\n".join(lines[first - 1 : last])

    def _shown(self, root: str, path: str) -> str:
        """A file or a folder's list of what the target shows, read where nothing else can be."""
        if ".." in path.split("/"):
            raise Refused("a path must not hold ..")
        place = f"{root}/{path}" if path else root
        done = self._command(["sh", "-c", _SHOW, "sh", place, str(self.output_chars * 4)], SEARCH_S, {}, False)
        if done.status:
            raise Refused(f"{path or 'this'} cannot be read: {done.stderr.strip()[-300:]}")
        return done.stdout

    def _skill(self, path: str) -> str:
        name, _, rest = path.partition("/")
        if not name:
            return "\n".join(f"{skill}/" for skill in self.skills)
        if name not in self.skills:
            raise Refused(f"there is no skill {name!r}")
        folder = Program(self.skills[name], (), 0)
        if not rest or (folder.exists(rest) and (folder.root / rest).is_dir()):
            return "\n".join(folder.listed(rest))
        return folder.read(rest)

    def _search(self, given: _Arguments) -> str:
        where = given.text("where", ".").rstrip("/") or "."
        roots = {".": "={candidate}", **{name: f"{name}/={place}" for name, place in ROOTS.items()}}
        if where not in roots:
            raise Refused(f"where must be one of {', '.join(roots)}, not {where!r}")
        env = {"SEARCH_PATTERN": given.text("pattern"), "SEARCH_GLOB": given.text("glob", "")}
        words = ["python", "-I", "-c", SCRIPT, str(MATCHES_MAX), str(LINE_CHARS), roots[where]]
        done = self._command(words, min(SEARCH_S, self._patience()), env, False)
        if done.ended_by:
            raise Refused(f"the search was ended: {done.ended_by}; a simpler pattern may do")
        if done.status:
            raise Refused(done.stderr.strip()[-300:] or "the search failed")
        return printable(done.stdout)

    def _write(self, given: _Arguments) -> str:
        path, content = given.text("path"), given.text("content")
        self.program.write(path, content)
        return f"written: {path}, {len(content)} characters"

    def _edit(self, given: _Arguments) -> str:
        path, old, new = given.text("path"), given.text("old"), given.text("new")
        text = self.program.read(path)
        if "\r\n" in text and "\r\n" not in old:  # models are shown such lines, and write them without
            old, new = old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
        count = text.count(old) if old else 0
        if count != 1:
            raise Refused(_misplaced(path, text, old, count))
        self.program.write(path, text.replace(old, new))
        return f"replaced in {path}, line {text[: text.index(old)].count(chr(10)) + 1}"

    def _run(self, given: _Arguments) -> str:
        command = given.text("command")
        if len(command) > COMMAND_CHARS:
            raise Refused(f"a command has at most {COMMAND_CHARS} characters")
        timeout_s = min(given.number("timeout_s", self.command_timeout_s), self.command_timeout_s, self._patience())
        words = ["sh", "-c", _RUN, "sh", "{reference}", "{target}", "{scratch}"]
        writable = self.permission is Permission.EDIT
        done = self._command(words, max(1.0, timeout_s), {"COMMAND": command}, writable)
        parts = [f"[exit status {done.status}, {done.took_s:.1f} s]"]
        if done.ended_by:
            limit = f" of {timeout_s:.0f} s" if done.ended_by == "time" else ""
            parts[0] = f"[ended by the limit on {done.ended_by}{limit}, after {done.took_s:.1f} s]"
        for name, said in (("", done.stdout), ("[stderr]\n", done.stderr)):
            if said.strip():
                parts.append(name + shortened(printable(said).rstrip("\n"), self.output_chars // 2))
        if strays := self._strays():
            parts.append(f"[note: {strays}; only {', '.join(self.program.editable)} may change]")
        return "\n".join(parts)

    def _command(self, words: Sequence[str], timeout_s: float, env: Mapping[str, str], writable: bool) -> Completed:
        """A command in the sandbox, where what the target hides is not to be seen. Raises SandboxFault."""
        if any("\0" in word for word in (*words, *env.values())):
            raise Refused("there is a NUL character in it")
        env = {**{name: clean(value) for name, value in env.items()}, "PYTHONDONTWRITEBYTECODE": "1"}
        if not self._hides:
            return self.workspace.run([*map(clean, words)], timeout_s=timeout_s, writable=writable, env=env)
        first = sys.executable if words[0] == "python" else words[0]
        limits = self.workspace.target.limits
        with tempfile.TemporaryDirectory(prefix="raysearch-home-") as home:
            guest = Guest(
                (first, *map(clean, words[1:])),
                Path(home),
                env=env,
                writable=writable,
                memory_mb=limits.memory_mb,
                processes=limits.processes,
                output_kb=limits.output_kb,
            )
            return self.workspace.host(guest, timeout_s=timeout_s)

    def _patience(self) -> float:
        return max(1.0, self.left_s())

    def _strays(self) -> str:
        """What commands did to files that may not change, in words; empty if nothing."""
        now = self._not_editable()
        told = (
            ("new", sorted(now.keys() - self._fixed.keys())),
            ("gone", sorted(self._fixed.keys() - now.keys())),
            ("changed", sorted(path for path in now.keys() & self._fixed.keys() if now[path] != self._fixed[path])),
        )
        return "; ".join(
            f"{what}: {', '.join(paths[:5])}{', …' if len(paths) > 5 else ''}" for what, paths in told if paths
        )

    def _not_editable(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in self.program.all():
            if not may_change(path, self.program.editable):
                about = (self.program.root / path).lstat()
                found[path] = (about.st_size, about.st_mtime_ns)
        return found


class _Arguments:
    """What a model passed, taken with care."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def text(self, name: str, default: str | None = None) -> str:
        value = self._given.get(name, default)
        if not isinstance(value, str):
            raise Refused(f"{name} must be text" if name in self._given else f"{name} is missing")
        return value

    def whole(self, name: str, default: int) -> int:
        return int(self.number(name, default))

    def number(self, name: str, default: float) -> float:
        value = self._given.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:
            raise Refused(f"{name} must be a number")
        return value


def _misplaced(path: str, text: str, old: str, count: int) -> str:
    """Why a piece cannot be replaced."""
    if not old:
        return "old is empty: to write a whole file there is write_file"
    if count > 1:
        return f"old stands in {path} {count} times: give more of what is around it"
    first = next((line for line in old.split("\n") if line.strip()), "")
    lines = text.split("\n")
    close = difflib.get_close_matches(first, lines[:5000], n=1, cutoff=0.6)
    hint = f"; the nearest to its first line is line {lines.index(close[0]) + 1}: {close[0][:200]}" if close else ""
    return f"old does not stand in {path}{hint}"
