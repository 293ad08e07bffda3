"""``raysearch-profile-mcp``: the profilers as tools of the Model Context Protocol, over stdin and stdout.

An agent that works on a program in its sandbox gets it by `server`; there the target's places are known from
``RAYSEARCH_TARGET`` and its like. People start it with ``--target FOLDER``. What it says is for orientation: nothing
that comes from here is ever a score.

Method names and messages: https://modelcontextprotocol.io/specification/2025-06-18 (a line of JSON a message).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from evaluators.profilers.known import ABOUT, PROFILERS, explained, table
from evaluators.profilers.running import Place
from evaluators.results import clean
from raysearch import __version__
from raysearch.agents.interface import McpServer
from raysearch.config.targets import load_target
from raysearch.errors import ConfigError, Fault, RaysearchError, Refused, UserError, nearest
from raysearch.repository import Repository
from raysearch.sandbox import open_sandbox
from raysearch.target import EvaluatorCommand, SandboxLimits, Target
from raysearch.types import Commit, Profile
from raysearch.workspace import Checkout

PROTOCOL = "2025-06-18"
LINE_BYTES_MAX = 1_000_000
KEPT_MAX = 20
NO_COMMIT = Commit("0" * 40)


def server(target: Target, name: str = "profile") -> McpServer:
    """For `raysearch.agents.interface.Call.servers`: profiles of the program that the agent works on.

    It runs in the agent's own sandbox, without one more, and sees of the target what the agent may see.
    """
    benchmark = target.benchmark
    folder = benchmark.folder.relative_to(target.root) if benchmark.folder.is_relative_to(target.root) else Path()
    told = {
        "command": [*benchmark.command],
        "folder": folder.as_posix(),
        "timeout_s": benchmark.timeout_s,
        "memory_mb": target.limits.memory_mb,
        "environment": dict(target.environment),
    }
    words = ("--sandbox", "none", "--benchmark", json.dumps(told))
    return McpServer(name, (sys.executable, "-I", "-m", "evaluators.profilers.mcp", *words))


class Profiling:
    """Answers the protocol's messages, one at a time; remembers the last profiles for `explain_finding`."""

    def __init__(self, given: argparse.Namespace, scratch: Path) -> None:
        self.given, self.scratch = given, scratch
        self.profiles: dict[str, Profile] = {}
        self.made = 0

    def answer(self, asked: Any) -> Mapping[str, Any] | None:
        """The response to a message; None to a notification. Raises nothing."""
        if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
            return _error(asked.get("id") if isinstance(asked, dict) else None, -32600, "not a request")
        if "id" not in asked:
            return None
        parameters = asked.get("params")
        parameters = parameters if isinstance(parameters, dict) else {}
        match asked["method"]:
            case "initialize":
                about = {"name": "raysearch-profile", "version": __version__}
                version = str(parameters.get("protocolVersion", PROTOCOL))
                result: Any = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
            case "ping":
                result = {}
            case "tools/list":
                result = {"tools": TOOLS}
            case "tools/call":
                result = self.called(str(parameters.get("name")), parameters.get("arguments") or {})
            case method:
                return _error(asked["id"], -32601, f"no method {clean(method, 100)!r}")
        return {"jsonrpc": "2.0", "id": asked["id"], "result": result}

    def called(self, name: str, arguments: Any) -> Mapping[str, Any]:
        """What the tool ``name`` says; what goes wrong is said too, as an error of the tool."""
        tools = {"list_profilers": self.list, "profile": self.profile, "explain_finding": self.explain}
        try:
            if name not in tools:
                raise ConfigError(f"no tool is called {clean(name, 60)!r}.{nearest(name, tools)}")
            if not isinstance(arguments, dict):
                raise ConfigError("arguments must be an object")
            text, data = tools[name](arguments)
        except Refused as refused:
            return _said(f"The program cannot be profiled: {refused}", wrong=True)
        except (Fault, UserError) as error:
            return _said(str(error), wrong=True)
        except (RaysearchError, OSError, ValueError) as error:
            return _said(f"{name} failed: {type(error).__name__}: {clean(str(error), 500)}", wrong=True)
        return {**_said(text), "structuredContent": data}

    def list(self, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        with self.place(arguments) as place:
            found = {name: make().obstacle(place) for name, make in PROFILERS.items()}
        lines = [
            f"{name}: {ABOUT[name]}. " + (f"NOT HERE: {reason}" if reason else "available")
            for name, reason in found.items()
        ]
        listed = [
            {"name": n, "about": ABOUT[n], "available": not reason, "reason": reason} for n, reason in found.items()
        ]
        return "\n".join(lines), {"profilers": listed}

    def profile(self, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        tool, focus = _text(arguments, "tool", "auto"), _text(arguments, "focus", "")
        if tool not in PROFILERS:
            raise ConfigError(f"no profiler is called {clean(tool, 60)!r}.{nearest(tool, PROFILERS)}")
        with self.place(arguments) as place:
            found = PROFILERS[tool]().examine(place, focus)
        self.made += 1
        name = f"p{self.made}"
        self.profiles[name] = found
        while len(self.profiles) > KEPT_MAX:
            del self.profiles[next(iter(self.profiles))]
        text = (
            f"Profile {name}. {table(found)}\nSay explain_finding(profile={name!r}, finding=1) for more about a line."
        )
        return text, {"profile": name, **_plain(found)}

    def explain(self, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        name = _text(arguments, "profile", next(reversed(self.profiles), ""))
        if name not in self.profiles:
            raise ConfigError(
                f"there is no profile {clean(name, 60)!r}.{nearest(name, self.profiles)} Call profile first."
            )
        found = self.profiles[name]
        wanted = arguments.get("finding", 1)
        if isinstance(wanted, str) and not wanted.isdigit():
            hits = [place for place, finding in enumerate(found.findings, 1) if wanted in finding.component]
            wanted = hits[0] if hits else 0
        if isinstance(wanted, bool) or not isinstance(wanted, int | str) or not 1 <= int(wanted) <= len(found.findings):
            raise ConfigError(
                f"finding must be a number from 1 to {len(found.findings)}, or part of a component's name"
            )
        finding = found.findings[int(wanted) - 1]
        return explained(found, finding), {"profile": name, "finding": asdict(finding)}

    @contextmanager
    def place(self, arguments: Mapping[str, Any]) -> Iterator[Place]:
        """The program in a folder, ready to be run."""
        folder = Path(_text(arguments, "folder", self.given.folder)).resolve()
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}")
        target = self.target(_text(arguments, "target", self.given.target))
        with tempfile.TemporaryDirectory(dir=self.scratch) as work:
            Path(work).chmod(0o755)
            scratch = Path(work, "scratch")
            scratch.mkdir()
            repository = Repository.create(Path(work, "none"))
            sandbox = open_sandbox(self.given.sandbox)
            kept = Path(self.given.keep) if self.given.keep else None
            yield Checkout(folder, NO_COMMIT, scratch, target, repository, sandbox, kept=kept, evaluating=False)

    def target(self, name: str) -> Target:
        """Raises UserError."""
        root = Path(name).resolve()
        if not self.given.benchmark:
            return load_target(root)
        told = _benchmark(self.given.benchmark)
        if not root.is_dir():
            raise ConfigError(f"there is no target folder {root}: set RAYSEARCH_TARGET, or give `target`")
        benchmark = EvaluatorCommand(tuple(told["command"]), root / told["folder"], told["timeout_s"])
        limits = SandboxLimits(memory_mb=told["memory_mb"])
        named = Path(os.environ.get("RAYSEARCH_REFERENCE", ""))
        reference = named if named.is_relative_to(root) else root / "reference"
        environment = told["environment"]
        return Target(root.name, root, "", (), reference, benchmark, benchmark, environment=environment, limits=limits)


def _benchmark(text: str) -> Mapping[str, Any]:
    """What `server` wrote about a benchmark, or a person. Raises ConfigError."""
    defaults = {"folder": ".", "timeout_s": 300.0, "memory_mb": 4096, "environment": {}}
    try:
        found = json.loads(text)
        told = {**defaults, **found}
        command, environment = told["command"], told["environment"]
        fits = isinstance(command, list) and command and isinstance(environment, dict)
        fits = fits and all(isinstance(word, str) for word in [*command, told["folder"], *environment.values()])
        fits = fits and float(told["timeout_s"]) > 0 and int(told["memory_mb"]) > 0
    except (ValueError, TypeError, KeyError):
        fits = False
    if not fits:
        raise ConfigError(
            '--benchmark must be JSON, as in \'{"command": ["python", "bench.py"], "folder": "benchmark"}\''
        )
    return told


def _text(arguments: Mapping[str, Any], key: str, default: str) -> str:
    value = arguments.get(key, default)
    if not isinstance(value, str) or "\0" in value:
        raise ConfigError(f"{key} must be text")
    return value or default


def _plain(profile: Profile) -> Mapping[str, Any]:
    return asdict(replace(profile, conditions=dict(profile.conditions)))


def _said(text: str, *, wrong: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": wrong}


def _error(number: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}


def _tool(name: str, about: str, properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": name, "description": about, "inputSchema": {"type": "object", "properties": properties}}


_FOLDERS = {
    "folder": {"type": "string", "description": "The program's folder; by default the one that is worked on."},
    "target": {"type": "string", "description": "The target's folder; by default the one that is known here."},
}
TOOLS = [
    _tool(
        "list_profilers",
        "Which profilers there are, what each tells, and whether it works here (else why not).",
        _FOLDERS,
    ),
    _tool(
        "profile",
        "Run the target's benchmark on the program under a profiler, and plain to know how much that slows it down. "
        "Says where the time goes: components, shares, what holds each back, evidence. Takes as long as the benchmark, "
        "twice.",
        {
            "tool": {"type": "string", "enum": list(PROFILERS), "description": "By default auto."},
            "focus": {"type": "string", "description": "Names (functions, files, kernels) to say more about."},
            **_FOLDERS,
        },
    ),
    _tool(
        "explain_finding",
        "More about one line of a profile: what its bound means, what usually helps, what could be won at most.",
        {
            "profile": {"type": "string", "description": "As named by `profile`; by default the last."},
            "finding": {"type": ["integer", "string"], "description": "Its number, from 1, or part of its name."},
        },
    ),
]


def serve(profiling: Profiling, asked: IO[bytes], answers: IO[bytes]) -> None:
    """Answer line by line until there are no more."""
    while line := asked.readline(LINE_BYTES_MAX + 1):
        if len(line) > LINE_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = asked.readline(LINE_BYTES_MAX)
            said: Mapping[str, Any] | None = _error(None, -32600, f"longer than {LINE_BYTES_MAX} bytes")
        elif not line.strip():
            continue
        else:
            try:
                said = profiling.answer(json.loads(line))
            except (ValueError, RecursionError) as error:
                said = _error(None, -32700, f"not JSON: {clean(str(error), 100)}")
        if said is not None:
            answers.write(json.dumps(said).encode() + b"\n")
            answers.flush()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="raysearch-profile-mcp", description="Profilers as MCP tools over stdio.")
    parser.add_argument("--folder", default=os.environ.get("RAYSEARCH_CANDIDATE") or ".", help="the program's folder")
    parser.add_argument("--target", default=os.environ.get("RAYSEARCH_TARGET") or "/target", help="the target's folder")
    parser.add_argument("--sandbox", default="auto", help="auto, bubblewrap, landlock or none (inside another sandbox)")
    parser.add_argument("--keep", default="", help="a folder for the captures; by default they are thrown away")
    parser.add_argument("--benchmark", default="", help="instead of the target's files: JSON, see docs/profilers.md")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="raysearch-profile-") as scratch:
        Path(scratch).chmod(0o755)
        serve(Profiling(given, Path(scratch)), sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
