"""What a coding agent's model does next, by whatever tool the agent offers for it.

Claude Code, Codex, Gemini CLI, OpenCode and the agents built on a provider's SDK name their tools and the arguments of
them differently. Each function here finds the tool for a deed among those that a request offers, and its arguments in
the tool's own schema; a deed with no tool of its own is done with the shell.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from raysearch.testing.models.script import Request, ScriptError, Tool, ToolCall
from raysearch.testing.models.shapes import plainest

READ = ("Read", "read_file", "read", "view", "cat")
WRITE = ("Write", "write_file", "write", "create_file", "create")
EDIT = ("Edit", "replace", "edit_file", "edit", "str_replace")
RUN = ("Bash", "run_shell_command", "bash", "exec_command", "shell_command", "shell", "run_command", "run", "execute")
PATCH = ("apply_patch",)
STRUCTURED = ("StructuredOutput", "structured_output")

JAVASCRIPT = "exec"
"""Codex gives its newest models one tool that runs JavaScript, from which all others are called."""

_ARGUMENTS = {
    "path": ("file_path", "filePath", "path", "absolute_path", "filename", "file"),
    "contents": ("content", "contents", "file_text", "text"),
    "old": ("old_string", "oldString", "old_str", "old", "search"),
    "new": ("new_string", "newString", "new_str", "new", "replace", "replacement"),
    "command": ("command", "cmd", "script"),
    "patch": ("input", "patch"),
}
_FOLDER = re.compile(
    r"[Ww]orking directory:\s*(?P<plain>/[^\n<]*)|<cwd>(?P<tagged>/[^<]*)</cwd>"
    r"|Workspace Directories:\W*\n\s*-\s*(?P<listed>/[^\n]*)"
)
_ASIDE = re.compile(r"\byou are a title generator\b|\bgenerate a (short |brief |concise )?title\b", re.IGNORECASE)
_SWAP = "import sys; p, old, new = sys.argv[1:]; t = open(p).read(); open(p, 'w').write(t.replace(old, new, 1))"


def read(request: Request, path: str) -> ToolCall:
    """Look at a file."""
    if (tool := request.tool(*READ)) is not None:
        return _filled(request, tool, path=path)
    return run(request, f"cat {shlex.quote(path)}")


def write(request: Request, path: str, contents: str) -> ToolCall:
    """Give a file these contents, whether or not it exists."""
    if (tool := request.tool(*WRITE)) is not None:
        return _filled(request, tool, path=path, contents=contents)
    if (tool := request.tool(*PATCH)) is not None and contents.endswith("\n"):  # a patch knows whole lines only
        return _patched(request, tool, f"*** Add File: {path}\n{_lines('+', contents)}")
    folder = shlex.quote(str(PurePosixPath(path).parent))
    return run(request, f"mkdir -p {folder} && printf %s {shlex.quote(contents)} > {shlex.quote(path)}")


def edit(request: Request, path: str, old: str, new: str) -> ToolCall:
    """Replace the first ``old`` in a file by ``new``; whole lines, as some agents take nothing less."""
    if (tool := request.tool(*EDIT)) is not None:
        return _filled(request, tool, path=path, old=old, new=new)
    if (tool := request.tool(*PATCH)) is not None:
        return _patched(request, tool, f"*** Update File: {path}\n@@\n{_lines('-', old)}{_lines('+', new)}")
    return run(request, f"python3 -c {shlex.quote(_SWAP)} {shlex.join([path, old, new])}")


def run(request: Request, command: str) -> ToolCall:
    """Run a shell command."""
    if (tool := request.tool(*RUN)) is not None:
        return _filled(request, tool, command=command)
    if (tool := request.tool(JAVASCRIPT)) is not None and tool.free_form:
        program = f"text(await tools.exec_command({json.dumps({'cmd': command})}));"
        return ToolCall(tool.name, program, namespace=tool.namespace)
    offered = ", ".join(sorted(tool.name for tool in request.tools)) or "none at all"
    raise ScriptError(f"{request.model} is offered no tool to run {command!r}: {offered}")


def made(request: Request, call: ToolCall) -> bool:
    """Whether the model has called just that already, at any time in this conversation.

    Some agents hand a call back with arguments added that were left to their defaults.
    """
    done = (each.arguments for message in request.messages for each in message.calls if each.name == call.name)
    return any(arguments == call.arguments or _includes(arguments, call.arguments) for arguments in done)


def working_folder(request: Request) -> str:
    """Where the agent says that it works, as an absolute path; empty if it does not say."""
    told = (request.system, *(message.text for message in request.messages))
    found = next((found for text in told if (found := _FOLDER.search(text))), None)
    return next((part.strip() for part in found.groups() if part), "") if found else ""


def is_aside(request: Request) -> bool:
    """Whether this is no part of the work: an agent that asks for a title of the conversation."""
    return not request.tools and _ASIDE.search(f"{request.system}\n{request.prompt}") is not None


def _includes(more: Mapping[str, Any] | str, less: Mapping[str, Any] | str) -> bool:
    return isinstance(more, Mapping) and isinstance(less, Mapping) and {**more, **less} == {**more}


def _filled(request: Request, tool: Tool, **values: str) -> ToolCall:
    """A call of ``tool`` with ``values`` under the names that its schema has for them, and all else it requires."""
    properties: Mapping[str, Any] = tool.schema.get("properties") or {}
    arguments: dict[str, Any] = {}
    for what, value in values.items():
        name = next((name for name in _ARGUMENTS[what] if name in properties), None)
        if name is None:
            raise ScriptError(f"the tool {tool.name} has no argument for the {what}, only {sorted(properties)}")
        arguments[name] = _shaped(what, value, properties[name], request)
    for name in tool.schema.get("required") or ():
        arguments.setdefault(name, plainest(properties.get(name, {})))
    return ToolCall(tool.name, arguments, namespace=tool.namespace)


def _shaped(what: str, value: str, schema: Mapping[str, Any], request: Request) -> Any:
    """``value`` as the schema wants it: a command may be a list of words, a path absolute."""
    if what == "command" and str(schema.get("type", "")).lower() == "array":
        return ["bash", "-lc", value]
    if what == "path" and "absolute" in str(schema.get("description", "")).lower():
        return str(PurePosixPath(working_folder(request), value))
    return value


def _patched(request: Request, tool: Tool, change: str) -> ToolCall:
    patch = f"*** Begin Patch\n{change}*** End Patch"
    if tool.free_form:
        return ToolCall(tool.name, patch, namespace=tool.namespace)
    return _filled(request, tool, patch=patch)


def _lines(sign: str, text: str) -> str:
    return "".join(f"{sign}{line}\n" for line in text.removesuffix("\n").split("\n"))
