"""Command lines drawn from a seed: valid ones, with a few words changed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cli_runs import MadeRun
from fuzz import ODD_TEXTS, PLACES, TOML_VERBATIM, document, furnished, misspelt, toml
from toys import make_target

RUN = "20261127-120000-circles"
PLUGINS = """
from raysearch import Measurement, Mutation, Verdict
class Step:
    def __init__(self, sleep_s: float = 0.0): pass
    def mutate(self, workspace, brief, rng): return Mutation()
class Yes:
    def judge(self, workspace, brief, rng): return Verdict(True)
class One:
    def measure(self, workspace, rng): return [Measurement("one", (1.0,))]
class Mute: pass
"""
CONFIGURATION: Mapping[str, Any] = {
    "run": {
        "outer_loop": "evolve",
        "mutators": ["genetic", "mine"],
        "seed": 3,
        "lanes": 2,
        "pool": "inline",
        "address": "local",
        "sandbox": "none",
        "exp_name": "night",
        "runs_dir": "runs",
        "objectives": ["near:max", "small:min"],
        "push_to": "",
    },
    "limits": {
        "max_candidates": 3,
        "children_per_generation": 2,
        "budget_time_s": "10m",
        "budget_usd": 1.5,
        "drain_s": 5,
        "failed_in_row_max": 10,
        "retries_max": 1,
        "mutate_timeout_s": "1m30s",
        "budget_tokens": 1_000_000,
        "candidate_usd": 0.5,
    },
    "agents": {"backend": "", "provider": "", "model": "", "effort": "", "prices": "", "no_price": False},
    "prices": {
        "some-model": {"input": 3.0, "output": 15, "cached": 0.3, "long": {"input": 6.0, "output": 22, "above": 9}}
    },
    "policy": {"frontier_bias": 0.5, "islands": 2},
    "mutator": {"mine": {"use": "plugins.py:Step", "sleep_s": 0.5}, "genetic": {"edits_max": 4}},
    "judge": {"twice": {"use": "plugins.py:Yes", "timeout_s": 5}},
    "benchmark": {"one": {"use": "plugins.py:One", "timeout_s": "5s"}},
    "roles": {"mutate": {"slots": 2, "cpus": 0.5, "gpus": 0, "threads": 2, "memory_mb": 10, "resources": {"apple": 0}}},
}
NUMBERS = (
    *(
        "0",
        "-1",
        "1",
        "2",
        "7",
        "10000",
        "1000000000",
        "9" * 30,
        "9" * 5_000,
        "0.5",
        "1e3",
        "1e400",
        "-1e400",
        "1e-300",
    ),
    *("nan", "inf", "-inf", "0x10", "1_0", "٣", "1h30m", "90s", "1.5.5", "5 m", "-5s", "1e308", "0.0", "99999d", "1ms"),
)
NAMES = (
    *("true", "max", "auto", "latest", "best", "seed", "#1", "#", "1#", "circles", RUN, "near:max", "near:mxa", "tune"),
    *(
        "claude",
        "codex",
        "api",
        "cli",
        "gpt-6",
        "genetic",
        "evolve",
        "plain",
        "best-of-n",
        "plugins.py:Step",
        "plugins.py:Yes",
        "plugins.py:Mute",
        "plugins.py",
    ),
    *("plugins.py:Stepp", "./plugins.py:Step", "ray", "inline", "landlock", "2026", "20261127", "http://127.0.0.1:1"),
    *("127.0.0.1:1", "nobody@127.0.0.1:x", "file:///no/such/place", "-u", "ext::false"),
)
SETTINGS = (
    *("run.lanes=2", "run.lanes", "=", "run.lanez=3", ".=1", "run=1", "policy.x=1", "a.b.c.d=[", "limits={}"),
    *("mutator.x.use=1", "run.lanes=" + "9" * 5_000, "run.seed=nan", 'run.exp_name="""', "a." * 3_000 + "b=1"),
    *("policy=[]", "policy.islands=0", "policy.islands=1e9", "policy.islands=true", "limits.budget_usd=-0.0"),
    *("run.mutators=[]", "run.mutators=['tune', 'tune']", "roles.mutate.slots=0", "roles.mutate.gpus=0.5"),
    *("roles.mutate.resources={'' = 1}", "roles.judge.resources.CPU=1e300", "mutator.genetic.edits_max=nan", "\n=1"),
    *("agents.backend=api", "agents.backend=cli", "agents.provider=codx", "agents.prices=/dev/zero", "agents=1"),
    *("agents.prices=folder", "prices.x={input = nan, output = 1}", "prices.x.input=1", "prices.x.long.above=0"),
    *("run.lanes = 2", "run . lanes=2", "'run'.lanes=2", "run.address='a b'", "run.runs_dir='~nobody-of-that-name'"),
)
WORDS = (NUMBERS, NUMBERS, NAMES, SETTINGS, ODD_TEXTS, PLACES)
"""Words for places where something else is due."""
VALID: Mapping[str, Sequence[Sequence[str]]] = {
    "run": (
        ("toy", "--show-config"),
        (
            "--ref",
            "toy/reference",
            "--acc-checker",
            "toy/accuracy_checker",
            "--bench",
            "toy/benchmark",
            "--show-config",
        ),
        ("toy", "--show-config", "--json", "--mutator", "tune", "--seed", "1", "--lanes", "2", "--exp-name", "x"),
        ("toy", "--show-config", "--set", "run.lanes=2", "--budget-time", "15m", "--frontier-bias", "0.3"),
        (
            "toy",
            "--mutator",
            "plugins.py:Step",
            "--pool",
            "inline",
            "--sandbox",
            "none",
            "--max-candidates",
            "1",
            "--runs-dir",
            "file",
        ),
        ("toy", "--mutator", "plugins.py:Mute", "--pool", "inline", "--sandbox", "none", "--max-candidates", "1"),
        ("folder", "--mutator", "plugins.py:Step", "--pool", "inline", "--sandbox", "none", "--max-candidates", "1"),
    ),
    "rehearse": (
        ("toy", "--mutator", "plugins.py:Step", "--max-candidates", "4", "--mutate-s", "60", "--judge-s", "5"),
        ("toy", "--mutator", "plugins.py:Step", "--budget-time", "1h", "--lanes", "2", "--spread", "0.2", "--json"),
        ("toy", "--mutator", "plugins.py:Step", "--max-rounds", "3", "--outer-loop", "plain", "--pool", "inline"),
        ("toy", "--mutator", "plugins.py:Step", "--like", RUN, "--runs-dir", "runs", "--max-candidates", "4"),
        ("toy", "--mutator", "plugins.py:Step", "--max-candidates", "4", "--admitted", "0.5", "--mutate-usd", "0.1"),
    ),
    "show": (("--runs-dir", "runs"), (RUN, "1", "--runs-dir", "runs"), ("best", "--runs-dir", "runs", "--json")),
    "frontier": ((RUN, "--runs-dir", "runs"), ("latest", "--runs-dir", "runs", "--json")),
    "diff": (("0", "1", "--runs-dir", "runs"), (RUN, "seed", "best", "--runs-dir", "runs", "--stat", "--json")),
    "brief": (("1", "--runs-dir", "runs"), (RUN, "best", "--runs-dir", "runs", "--json")),
    "replay": (("--speed", "max", "--runs-dir", "runs"), (RUN, "--speed", "max", "--runs-dir", "runs", "--json")),
    "export": ((RUN, "out/a", "--runs-dir", "runs"), ("latest", "out/b", "--candidate", "1", "--runs-dir", "runs")),
    "resume": ((RUN, "--runs-dir", "runs", "--max-candidates", "12"),),
    "init": (("new/one",), ("--here", "--editable", "**", "--test-command", "true", "--bench-command", "true")),
    "fetch": (("remote", "runs"), ("nowhere.git", "out/c", "--run", "x")),
    "check": (("folder", "--sandbox", "none", "--repeats", "1", "--seed", "1"), ("--ref", "toy/reference")),
    "completion": (("bash",), ("zsh", "--json")),
    "doctor": (("toy", "--pool", "inline", "--sandbox", "none", "--runs-dir", "runs", "--set", "run.lanes=2"),),
}
"""By verb. Those that would take long are wrong already."""
_FLAGS = (
    "--set",
    "--set",
    "--config",
    "--runs-dir",
    "--mutator",
    "--objective",
    "--outer-loop",
    "--push-to",
    "--address",
)
_AGENTS = ("--agent-backend", "--cli-provider", "--model", "--effort")
FLAGS: Mapping[str, Sequence[str]] = {
    "run": (*_FLAGS, *_AGENTS, "--max-generations", "--children-per-generation", "--resume", "--exp-name"),
    "rehearse": (
        *_FLAGS,
        *_AGENTS,
        "--mutate-s",
        "--benchmark-s",
        "--spread",
        "--admitted",
        "--mutate-usd",
        "--budget-time",
    ),
    "resume": ("--set", "--lanes", "--push-to", "--runs-dir", "--address", "--sandbox"),
    "doctor": ("--set", "--config", "--address", "--runs-dir", "--sandbox"),
    "fetch": ("--run", "--from-job", "--runs-dir"),
    "init": ("--objective", "--bench-json", "--test-expect", "--editable"),
}
"""Flags to add, by verb."""
ENVIRONMENTS: Sequence[Mapping[str, str]] = (
    {},
    {},
    {},
    {"COLUMNS": "x", "LINES": "-3"},
    {"COLUMNS": "1", "TERM": "nonsense"},
    {"HOME": "/no/such/home"},
    {"TMPDIR": "/no/such/place"},
    {"TZ": "No/Where", "LANG": "xx_YY", "LC_ALL": "nonsense"},
    {"RAY_ADDRESS": "nonsense", "RAY_JOB_CONFIG_JSON_ENV_VAR": "{"},
    {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", "RAY_ADDRESS": "x:1", "RAY_JOB_STOP_WAIT_TIME_S": "soon"},
    {"RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper": "perhaps"},
    {"GIT_DIR": "/no/such/repository", "GIT_CONFIG_GLOBAL": "/dev/zero"},
    {"FORCE_COLOR": "x", "NO_COLOR": ""},
)


@dataclass(frozen=True)
class CommandLine:
    """Words after ``raysearch``, variables of the environment, and what was done to the configuration."""

    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    told: str = ""

    def __str__(self) -> str:
        words = " ".join(
            repr(word) if len(word) < 100 else f"{word[:40]!r}… ({len(word)} letters)" for word in self.words
        )
        return f"raysearch {words}  {dict(self.env) or ''}  {self.told}"


def ground(root: Path) -> Path:
    """A working directory with a target, plug-ins, a run, and `PLACES`."""
    furnished(root)
    make_target(root / "toy")
    (root / "plugins.py").write_text(PLUGINS)
    run = MadeRun(root / "runs", RUN).begin()
    run.admit((2.0, 15.0))
    run.reject("too small")
    run.admit((2.5, 18.0))
    run.journal.entries = [replace(entry, run_s=round(entry.run_s / 100, 3)) for entry in run.journal.entries]
    run.save()  # a run that is quickly watched again
    make_target(run.folder.target)
    return root


def configured(rng: random.Random, root: Path) -> CommandLine:
    """``rehearse`` with a configuration that is not quite right."""
    told, content = document(rng, CONFIGURATION, toml, TOML_VERBATIM)
    (root / "run.toml").write_bytes(content)
    words = [
        "toy",
        "--config",
        "run.toml",
        "--mutate-s",
        "60",
        *rng.choice([[], ["--json"], ["--max-candidates", "2"]]),
    ]
    return CommandLine(("rehearse", *words), rng.choice(ENVIRONMENTS), told)


def commanded(rng: random.Random) -> CommandLine:
    """A command line with a few of its values changed; now and then with a word too many, too few or misspelt."""
    verb = rng.choice(list(VALID))
    words = [verb, *rng.choice(VALID[verb])]
    for _ in range(rng.choice([1, 1, 2])):
        value = rng.choice(rng.choice(WORDS))
        at = rng.choice([i for i, word in enumerate(words) if i and not word.startswith("--")] or [0])
        match rng.randrange(12):
            case 0:
                at = rng.randrange(len(words))
                words[at] = misspelt(rng, words[at])
            case 1:
                del words[at]
            case 2:
                words.insert(at, value)
            case 3 | 4:
                words += [rng.choice(FLAGS.get(verb, ("--runs-dir",))), value]
            case _:
                words[at] = value
    return CommandLine(tuple(word.replace("\0", "") for word in words), rng.choice(ENVIRONMENTS))
