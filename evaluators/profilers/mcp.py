"""``raysearch-profile-mcp``: the profilers as tools of the Model Context Protocol, over stdin and stdout.

An agent that works on a program in its sandbox gets it by `server`; there the target's places are known from
``RAYSEARCH_TARGET`` and its like. People start it with ``--target FOLDER``. What it says is for orientation: nothing
that comes from here is ever a score.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from evaluators.profilers.known import ABOUT, PROFILERS, explained, table
from evaluators.profilers.running import Place
from evaluators.results import clean
from raysearch import __version__
from raysearch.agents.interface import McpServer
from raysearch.config.targets import load_target
from raysearch.errors import ConfigError, Fault, Refused, UserError, nearest
from raysearch.profile import Profile
from raysearch.repository import Repository
from raysearch.sandbox import open_sandbox
from raysearch.sandbox.bare import Bare
from raysearch.target import EvaluatorCommand, SandboxLimits, Target
from raysearch.types import Commit
from raysearch.workspace import Checkout

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
    """The tools. One profile is made at a time; the last are remembered for `explain`."""

    def __init__(self, given: argparse.Namespace, scratch: Path) -> None:
        self.given, self.scratch = given, scratch
        self.profiles: dict[str, Profile] = {}
        self.made = 0
        self.alone = threading.Lock()

    def listed(self, folder: str = "", target: str = "") -> str:
        """Which there are, and which work here, found out by trying."""
        with self.alone, self.place(folder, target) as place:
            found = {name: make().obstacle(place) for name, make in PROFILERS.items()}
        return "\n".join(
            f"{name}: {ABOUT[name]}. {f'NOT HERE: {reason}' if reason else 'Works here.'}"
            for name, reason in found.items()
        )

    def profiled(self, tool: str = "auto", focus: str = "", folder: str = "", target: str = "") -> str:
        if tool not in PROFILERS:
            raise ConfigError(f"no profiler is called {clean(tool, 60)!r}.{nearest(tool, PROFILERS)}")
        with self.alone, self.place(folder, target) as place:
            found = PROFILERS[tool]().examine(place, focus)
            self.made += 1
            name = f"p{self.made}"
            self.profiles[name] = found
            while len(self.profiles) > KEPT_MAX:
                del self.profiles[next(iter(self.profiles))]
        return f"Profile {name}. {table(found)}\nexplain_finding(profile={name!r}, finding='1') says more about a line."

    def explained(self, finding: str = "1", profile: str = "") -> str:
        name = profile or next(reversed(self.profiles), "")
        found = self.profiles.get(name)
        if found is None:
            known = nearest(name, self.profiles)
            raise ConfigError(f"there is no profile {clean(name, 60)!r}.{known} `profile` makes one.")
        numbers = [str(place) for place in range(1, len(found.findings) + 1)]
        hits = [item for place, item in zip(numbers, found.findings, strict=True) if finding in (place, item.component)]
        hits = hits or [item for item in found.findings if finding and finding in item.component]
        if not hits:
            raise ConfigError(
                f"no finding {clean(finding, 60)!r}: a number from 1 to {len(numbers)}, or part of a name"
            )
        return explained(found, hits[0])

    @contextmanager
    def place(self, folder: str, target: str) -> Iterator[Place]:
        """The program in a folder, ready to be run. Raises UserError."""
        program = Path(folder or self.given.folder).resolve()
        if not program.is_dir():
            raise ConfigError(f"there is no folder {program}")
        judged_by = self.target(target or self.given.target)
        with tempfile.TemporaryDirectory(dir=self.scratch) as work:
            Path(work).chmod(0o755)
            scratch = Path(work, "scratch")
            scratch.mkdir()
            repository = Repository.create(Path(work, "none"))
            # Within another sandbox there are no control groups to be had, and nothing of others' to sweep.
            sandbox = Bare() if self.given.sandbox == "none" else open_sandbox(self.given.sandbox)
            kept = Path(self.given.keep or Path(work, "kept"))
            yield Checkout(program, NO_COMMIT, scratch, judged_by, repository, sandbox, kept=kept, evaluating=False)

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
    told: dict[str, Any] = {"folder": ".", "timeout_s": 300.0, "memory_mb": 4096, "environment": {}}
    try:
        told |= json.loads(text)
        command, environment = told["command"], told["environment"]
        fits = isinstance(command, list) and command and isinstance(environment, dict)
        fits = fits and all(isinstance(word, str) for word in [*command, told["folder"], *environment.values()])
        fits = fits and float(told["timeout_s"]) > 0 and int(told["memory_mb"]) > 0
    except (ValueError, TypeError, KeyError):
        fits = False
    if not fits:
        example = '{"command": ["python", "bench.py"], "folder": "benchmark"}'
        raise ConfigError(f"--benchmark must be JSON, as in '{example}'")
    return told


Folder = Annotated[str, Field(description="The program's folder; empty: the one that is worked on.")]
TargetFolder = Annotated[str, Field(description="The target's folder; empty: the one that is known here.")]


def served(profiling: Profiling) -> MCPServer[None]:
    """The server; what goes wrong in a tool is said as that tool's error."""
    mcp = MCPServer("raysearch-profile", version=str(__version__), log_level="ERROR")

    @mcp.tool(structured_output=False)
    def list_profilers(folder: Folder = "", target: TargetFolder = "") -> str:
        """Which profilers there are, what each tells, and whether it works here (else why not)."""
        return _told(lambda: profiling.listed(folder, target))

    @mcp.tool(structured_output=False)
    def profile(
        tool: Annotated[str, Field(description=f"One of {', '.join(PROFILERS)}.")] = "auto",
        focus: Annotated[str, Field(description="Names (functions, files, kernels) to say more about.")] = "",
        folder: Folder = "",
        target: TargetFolder = "",
    ) -> str:
        """Run the target's benchmark on the program, plain and under a profiler, and say where the time goes:
        components, shares, what holds each back, evidence. Takes as long as the benchmark, twice. Never scored."""
        return _told(lambda: profiling.profiled(tool, focus, folder, target))

    @mcp.tool(structured_output=False)
    def explain_finding(
        finding: Annotated[str, Field(description="Its number, from 1, or part of its name.")] = "1",
        profile: Annotated[str, Field(description="As `profile` named it; empty: the last.")] = "",
    ) -> str:
        """More about one line of a profile: what its bound means, what usually helps, what could be won at most."""
        return _told(lambda: profiling.explained(finding, profile))

    return mcp


def _told(work: Callable[[], str]) -> str:
    try:
        return work()
    except Refused as refused:
        raise ToolError(f"The program cannot be profiled: {refused}") from None
    except (Fault, UserError) as error:
        raise ToolError(str(error)) from None
    except Exception as error:  # the tool breaks, its server goes on
        raise ToolError(f"{type(error).__name__}: {clean(str(error), 500)}") from None


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
        served(Profiling(given, Path(scratch))).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
