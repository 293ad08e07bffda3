"""Choose a sandbox that works here, or say what is in the way."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from raysearch.errors import ConfigError, SandboxFault, nearest
from raysearch.process.environment import STANDARD_PATH
from raysearch.sandbox import cgroups
from raysearch.sandbox.bare import Bare
from raysearch.sandbox.bubblewrap import Bubblewrap
from raysearch.sandbox.interface import Mount, Sandbox
from raysearch.sandbox.landlock import Landlock
from raysearch.sandbox.owners import sweep_private
from raysearch.target import SandboxLimits

KINDS = ("auto", "bubblewrap", "landlock", "none")
ALOUD = "Or say `--sandbox none`: candidates then run with your own rights, on your own files and network."


def open_sandbox(kind: str = "auto", *, run: str = "") -> Sandbox:
    """The sandbox of that kind, proved to work by running a command in it.

    ``auto`` is bubblewrap, or landlock where that does not work, never ``none``. ``run`` names the run in the
    environment of every command, for `raysearch.process.sweep`. What dead processes of raysearch left, control
    groups and private folders, is removed. Raises ConfigError, which says what to do.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown sandbox {kind!r}.{nearest(kind, KINDS)}")
    cgroups.sweep()
    sweep_private()
    home = cgroups.find()
    if kind == "none":
        return Bare(run=run, home=home)
    reasons = []
    for name, opened in (("bubblewrap", _bubblewrap), ("landlock", _landlock)):
        if kind in (name, "auto"):
            try:
                return opened(run, home)
            except ConfigError as error:
                reasons.append(str(error))
    raise ConfigError("\n".join([*reasons, ALOUD]))


def _bubblewrap(run: str, home: cgroups.Home | None) -> Sandbox:
    executable = shutil.which("bwrap") or shutil.which("bwrap", path=STANDARD_PATH)
    if executable is None:
        raise ConfigError(_absent())
    sandbox = Bubblewrap(executable, run=run, home=home)
    try:
        _prove(sandbox)
    except SandboxFault as fault:
        raise ConfigError(_forbidden(executable, str(fault))) from fault
    return sandbox


def _landlock(run: str, home: cgroups.Home | None) -> Sandbox:
    try:
        sandbox = Landlock(run=run, home=home)
        _prove(sandbox)
    except SandboxFault as fault:
        raise ConfigError(f"the sandbox `landlock` does not work here: {fault}.") from fault
    return sandbox


def _prove(sandbox: Sandbox) -> None:
    """Run a command that does nothing. Raises SandboxFault."""
    place = Mount(Path("/usr"), "/usr")
    answer = sandbox.run(
        [sys.executable, "-I", "-S", "-c", ""],
        cwd=place,
        readable=[place],
        env={},
        limits=SandboxLimits(),
        timeout_s=60.0,
    )
    if answer.status or answer.ended_by:
        raise SandboxFault(f"status {answer.status} {answer.ended_by} {answer.stderr.strip()}")


def _absent() -> str:
    if not sys.platform.startswith("linux"):
        return f"the sandbox `bubblewrap` needs Linux; this is {sys.platform}."
    return (
        "the sandbox `bubblewrap`: there is no `bwrap` on the PATH. Install it: `apt install bubblewrap` "
        "(Debian, Ubuntu), `dnf install bubblewrap` (Fedora, RHEL), `apk add bubblewrap` (Alpine)."
    )


def _forbidden(executable: str, reason: str) -> str:
    return (
        f"{executable} is installed but cannot make a sandbox here: {reason}. "
        "In a container, start that with --privileged, or with --security-opt seccomp=unconfined and "
        "--security-opt apparmor=unconfined; elsewhere allow user namespaces: "
        "`sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu), "
        "`sysctl user.max_user_namespaces=10000`."
    )
