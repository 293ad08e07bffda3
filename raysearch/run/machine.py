"""What this machine has: programs, devices, disk, and settings that are known to be traps."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from raysearch.errors import ConfigError
from raysearch.run.findings import Finding, fail, note, ok, warn
from raysearch.sandbox import cgroups, open_sandbox
from raysearch.sandbox.opening import KINDS

AGENTS = ("claude", "codex", "gemini", "opencode")
"""Coding agents' commands."""
KEYS = (
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "OPENROUTER_API_KEY",
    "DEEPSEEK_API_KEY",
    "MISTRAL_API_KEY",
    "AZURE_OPENAI_API_KEY",
)
"""Variables that hold keys of model providers. Only whether they are set is ever looked at."""
GIT_MIN = (2, 30)
DISK_FAIL_MB, DISK_WARN_MB = 50, 2000
TMP_LENGTH_MAX = 32
"""Characters of the temporary folder's path: below it lie sockets, whose paths end at 107 bytes."""
ASK_S = 20.0
MEMORY_SHARE = 0.7
"""Of the machine's memory, what Ray hands out."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What workers could get here, in Ray's names, as a private Ray would offer it."""

    cores: int
    gpus: int
    memory_mb: int

    @classmethod
    def here(cls) -> Machine:
        return cls(cores=os.cpu_count() or 1, gpus=len(gpus()[0]), memory_mb=_memory_mb())

    def node(self, cpus_wanted: float) -> Mapping[str, float]:
        """The resources of the node; a private Ray always has as many CPUs as its workers ask for."""
        cpus = max(float(self.cores), cpus_wanted)
        return {"CPU": cpus, "memory": MEMORY_SHARE * self.memory_mb * 1e6, **({"GPU": self.gpus} if self.gpus else {})}


def software() -> Iterator[Finding]:
    """Python, raysearch, git."""
    yield ok("python", f"{platform.python_version()}, {sys.executable}")
    yield ok("raysearch", f"{version('raysearch')}, {Path(__file__).resolve().parents[1]}")
    yield _git()


def _git() -> Finding:
    said = _asked("git", "--version")
    mend = "apt install git, dnf install git, or xcode-select --install"
    if said is None:
        return warn("git", "not on the PATH: runs work, but `merge` and `recipes` need it, as do people", mend)
    number = tuple(int(part) for part in said.split()[2].split(".")[:2] if part.isdecimal())
    if number < GIT_MIN:
        return warn("git", f"{said.strip()}; {'.'.join(map(str, GIT_MIN))} or later is expected", mend)
    return ok("git", said.removeprefix("git version").strip())


def sandboxes(wanted: str) -> Iterator[Finding]:
    """Which sandboxes work, and whether the one that is wanted does; control groups."""
    works, reasons = [], {}
    for kind in KINDS:
        if kind not in ("auto", "none"):
            try:
                works.append(open_sandbox(kind).name)
            except ConfigError as error:
                reasons[kind] = str(error)
    for kind, reason in reasons.items():
        missed = kind == wanted or (wanted == "auto" and not works)
        yield (fail if missed else note)(f"sandbox {kind}", reason)
    if wanted == "none":
        yield warn("sandbox", "none, as configured: candidates run with your rights, on your files and network")
    elif wanted in works or (wanted == "auto" and works):
        chosen = works[0] if wanted == "auto" else wanted
        others = ", ".join(name for name in works if name != chosen)
        yield ok("sandbox", f"{chosen} works{f'; so does {others}' if others else ''}")
    home = cgroups.find()
    if home is None:
        told = "not writable here: memory is limited by process and address space instead of for the whole tree"
        yield note("control groups", told, "run as root, or delegate a group (systemd-run --user --scope)")
    else:
        yield ok(
            "control groups", f"version {2 if home.unified else 1}: memory and processes are limited for whole trees"
        )


def devices() -> Iterator[Finding]:
    """Cores and load, memory, GPUs."""
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    told = f"{cores}, load {load:.1f}; {_memory_mb() / 1000:.0f} GB of memory"
    if load > max(0.5, cores / 2):
        yield warn("cores", told, "measurements disturb and are disturbed: measure while the machine is quiet")
    else:
        yield ok("cores", told)
    found, told = gpus()
    yield ok("gpus", "; ".join(found)) if found else note("gpus", told)


def gpus() -> tuple[list[str], str]:
    """Names of the GPUs; or none, and why."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return ["Apple"], ""
    if shutil.which("nvidia-smi") is None:
        return [], "none: there is no nvidia-smi on the PATH"
    said = _asked("nvidia-smi", "-L")
    lines = [line.partition(" (UUID")[0].strip() for line in (said or "").splitlines() if line.startswith("GPU ")]
    return lines, "" if lines else "none: nvidia-smi lists no device; is the driver loaded?"


def agents(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Coding agents and keys; searching needs none of them."""
    found = {name: place for name in AGENTS if (place := shutil.which(name, path=environment.get("PATH")))}
    if found:
        yield ok("coding agents", ", ".join(f"{name} ({place})" for name, place in found.items()))
    else:
        told = f"none of {', '.join(AGENTS)} on the PATH: mutators that need no model are there all the same"
        yield note("coding agents", told)
    keys = [name for name in KEYS if environment.get(name)]
    yield ok("keys", f"{', '.join(keys)} set") if keys else note("keys", "none of the usual variables is set")


def disks(runs_dir: Path) -> Iterator[Finding]:
    """Room for runs, and for what workers need for a moment."""
    place = runs_dir.absolute()
    while not place.exists():
        place = place.parent
    for name, folder in (("disk of runs", place), ("disk of scratch", Path(tempfile.gettempdir()))):
        free_mb = shutil.disk_usage(folder).free / 1e6
        told = f"{free_mb / 1000:.1f} GB free in {folder}"
        if not os.access(folder, os.W_OK):
            yield fail(name, f"{folder} cannot be written to", "choose another --runs-dir or TMPDIR")
        elif free_mb < DISK_FAIL_MB:
            yield fail(name, told, "make room")
        else:
            yield warn(name, told, "make room") if free_mb < DISK_WARN_MB else ok(name, told)
    tmp = tempfile.gettempdir()
    if len(tmp) > TMP_LENGTH_MAX:
        yield warn("scratch path", f"{tmp} is long; a private Ray puts sockets below it", "set TMPDIR=/tmp")


def settings(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Variables of Ray that make runs fail in ways that are hard to see."""
    subreaper = "RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper"
    if environment.get(subreaper, "0").lower() not in ("0", "false", ""):
        yield fail(subreaper, "set: Ray then ends the guards that end candidates, which are left behind", "unset it")
    if environment.get("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0").lower() not in ("0", "false", ""):
        told = "set: under `uv run` Ray uploads the working folder and builds an environment for each worker"
        yield warn("RAY_ENABLE_UV_RUN_RUNTIME_ENV", told, "unset it, or set it to 0")
    if environment.get("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1") == "0":
        told = "0: workers that ask for no GPU see all of them"
        yield warn("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", told, "unset it, or set it to 1")
    if (Path.home() / ".ray" / "auth_token").exists() and not environment.get("RAY_AUTH_MODE"):
        told = "unset, while ~/.ray/auth_token exists: `ray start` then wants tokens that `ray job submit` withholds"
        yield note("RAY_AUTH_MODE", told, "export RAY_AUTH_MODE=token (or disabled) for both")
    if environment.get("RAY_ADDRESS"):
        told = (
            f"{environment['RAY_ADDRESS']}: used by --address auto, and by Ray's own commands; not by --address local"
        )
        yield note("RAY_ADDRESS", told)
    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in environment
    if in_job and not _at_least(environment.get("RAY_JOB_STOP_WAIT_TIME_S", "3"), 15.0):
        told = "below 15: `ray job stop` kills the driver before it has let go in order (the run stays resumable)"
        yield warn("RAY_JOB_STOP_WAIT_TIME_S", told, "set it to 30 in the job's runtime_env env_vars")


def _at_least(text: str, least: float) -> bool:
    try:
        return float(text) >= least
    except ValueError:
        return False


def _memory_mb() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 10**6
    except (ValueError, OSError):
        return 0


def _asked(*command: str) -> str | None:
    """What a command prints, or None if it is not there, fails or takes long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
