"""The real programs of coding agents, installed once for all tests: from Python packages that carry them, or by npm.

They lie in ``RAYSEARCH_TEST_CLIS``, or in the user's cache, a folder for each version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

INSTALL_S = 600


@dataclass(frozen=True)
class Package:
    """What to install, and the program's path in it."""

    name: str
    version: str
    program: str
    npm: bool = False

    def command(self, folder: Path) -> list[str]:
        pinned = f"{self.name}@{self.version}" if self.npm else f"{self.name}=={self.version}"
        if self.npm:
            return ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", pinned]
        quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
        return [sys.executable, "-m", "pip", "install", *quiet, "--target", str(folder), pinned]


PACKAGES = {
    "claude": Package("claude-agent-sdk", "0.2.189", "claude_agent_sdk/_bundled/claude"),
    "codex": Package("openai-codex-cli-bin", "0.163.0", "codex_cli_bin/bin/codex"),
    "gemini": Package("@google/gemini-cli", "0.61.0", "node_modules/.bin/gemini", npm=True),
    "opencode": Package("opencode-ai", "1.18.33", "node_modules/.bin/opencode", npm=True),
}


@cache
def installed(name: str) -> Path:
    """The program; where it cannot be had, the test is skipped and says why."""
    package = PACKAGES[name]
    given = os.environ.get("RAYSEARCH_TEST_CLIS")
    folder = Path(given) if given else Path.home() / ".cache" / "raysearch" / "agents"
    home = folder / f"{name}-{package.version}"
    if not (home / package.program).exists():
        folder.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=folder))
        try:
            _install(package, making)
            making.chmod(0o755)
            making.rename(home)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return home / package.program


def _install(package: Package, folder: Path) -> None:
    command = package.command(folder)
    if package.npm and shutil.which("node") is None:
        pytest.skip(f"{package.name} needs Node, which is not installed")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{package.name} cannot be installed: {error}")
    if done.returncode or not (folder / package.program).exists():
        told = (done.stderr.strip() or done.stdout.strip() or "without a word").splitlines()[-1]
        pytest.skip(f"{package.name} {package.version} cannot be installed: {told}")
