"""A run's configuration: layers, origins, refusals, and the way back from run.toml."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysearch.config import choices
from raysearch.config.layers import (
    FLAGS,
    Configuration,
    Override,
    configure,
    effective_configuration,
    flag_override,
    set_override,
    target_override,
)
from raysearch.config.settings import Settings
from raysearch.config.targets import load_target
from raysearch.config.toml import written, written_key
from raysearch.config.values import seconds
from raysearch.errors import ConfigError
from raysearch.plugins import known_names

ROOT = Path(__file__).parents[1]
KNOWN = {
    "policies": ("evolve", "plain", "chain"),
    "mutators": ("tune", "scripted"),
    "judges": ("accuracy",),
    "benchmarks": ("benchmark",),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written_to(folder: Path, text: str, name: str = "run.toml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refused(file: Path | None = None, *overrides: Override) -> str:
    with pytest.raises(ConfigError) as caught:
        configure(file, overrides, known=KNOWN)
    message = str(caught.value)
    assert "pydantic" not in message
    return message


def test_defaults(folder: Path) -> None:
    configuration = configure(known=KNOWN)
    run, limits = configuration.settings.run, configuration.settings.limits
    assert (run.outer_loop, run.mutators, run.seed, run.lanes) == ("evolve", ("auto",), None, 1)
    assert (run.pool, run.address, run.sandbox) == ("ray", "local", "auto")
    assert run.runs_dir == str(folder / "exp_env")
    assert (limits.max_candidates, limits.budget_time_s, limits.budget_usd) == (None, None, None)
    assert (limits.drain_s, limits.failed_in_row_max, limits.retries_max) == (60.0, 25, 2)
    assert configuration.origins == {}
    assert configuration.origin("run", "seed") == "default"


def test_layers_and_origins(folder: Path) -> None:
    file = written_to(
        folder,
        "[run]\nseed = 3\nlanes = 2\n\n[limits]\nmax_candidates = 10\nbudget_time_s = '1h30m'\n[policy]\nislands = 4\n",
    )
    configuration = configure(
        file,
        [
            set_override("run.lanes=5"),
            set_override("limits.max_candidates = 20"),
            set_override("policy.frontier_bias=0.9"),
            flag_override("--max-candidates", 30),
            flag_override("--mutator", ("tune", "scripted")),
            target_override("examples/x"),
        ],
        known=KNOWN,
    )
    settings = configuration.settings
    assert (settings.run.seed, settings.run.lanes, settings.limits.max_candidates) == (3, 5, 30)
    assert settings.limits.budget_time_s == 5400.0
    assert settings.policy == {"islands": 4, "frontier_bias": 0.9}
    assert settings.run.target == str(folder / "examples/x")
    assert settings.run.mutators == ("tune", "scripted")
    origins = {
        ("run", "seed"): "run.toml:2",
        ("run", "lanes"): "--set",
        ("run", "target"): "TARGET",
        ("run", "mutators"): "--mutator",
        ("run", "pool"): "default",
        ("limits", "max_candidates"): "--max-candidates",
        ("limits", "budget_time_s"): "run.toml:7",
        ("policy", "islands"): "run.toml:9",
        ("policy", "frontier_bias"): "--set",
    }
    assert {keys: configuration.origin(*keys) for keys in origins} == origins
    assert configuration.option_origins("policy") == {"islands": "run.toml:9", "frontier_bias": "--set"}


def test_the_effective_configuration_names_every_origin(folder: Path) -> None:
    file = written_to(folder, "[limits]\nmax_candidates = 10\n")
    text = effective_configuration(configure(file, [set_override("run.pool=inline")]))
    assert "max_candidates = 10  # run.toml:2\n" in text
    assert 'pool = "inline"  # --set\n' in text
    assert "# seed: none  # default\n" in text
    assert "# budget_usd: none  # default\n" in text


def test_paths_are_seen_from_where_they_are_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written_to(
        folder,
        """\
[run]
target = "../targets/one"
outer_loop = "policies.py:Mine"
mutators = ["tune", "moves.py:Move", "package.module:Move2", "bold"]
runs_dir = "runs"
[mutator.bold]
use = "deeper/moves.py:Bold"
[judge.audit]
use = "package.module:Audit"
""",
        "configs/mine.toml",
    )
    configuration = configure(file, [set_override("benchmark.extra.use=bench.py:Extra")], known=KNOWN)
    settings = configuration.settings
    here = folder / "configs"
    assert settings.run.target == str(folder / "targets/one")
    assert settings.run.outer_loop == f"{here}/policies.py:Mine"
    assert settings.run.mutators == ("tune", f"{here}/moves.py:Move", "package.module:Move2", "bold")
    assert settings.run.runs_dir == str(here / "runs")
    assert settings.mutator["bold"].use == f"{here}/deeper/moves.py:Bold"
    assert settings.judge["audit"].use == "package.module:Audit"
    assert settings.benchmark["extra"].use == f"{folder}/bench.py:Extra"
    assert configuration.origin("run", "target") == "configs/mine.toml:2"


def test_chosen_plugins(folder: Path) -> None:
    file = written_to(
        folder,
        """\
[run]
outer_loop = "plain"
mutators = ["tune", "pkg.moves:Move", "bold"]
[policy]
patience = 3
[mutator.tune]
rate = 0.5
[mutator.Move]
step = 0.1
[mutator.bold]
use = "pkg.moves:Bold"
[mutator.unused]
use = "pkg.moves:Unused"
[judge.panel]
use = "pkg.judges:Panel"
strict = true
timeout_s = "5m"
[benchmark.benchmark]
[benchmark.energy]
use = "pkg.bench:Energy"
""",
    )
    chosen = configure(file, known=KNOWN).settings
    assert choices.policy(chosen) == choices.Choice("policies", "plain", "plain", {"patience": 3}, None, ("policy",))
    assert [(c.name, c.reference, dict(c.options)) for c in choices.mutators(chosen)] == [
        ("tune", "tune", {"rate": 0.5}),
        ("Move", "pkg.moves:Move", {"step": 0.1}),
        ("bold", "pkg.moves:Bold", {}),
    ]
    assert [(c.name, c.reference, dict(c.options), c.timeout_s) for c in choices.judges(chosen)] == [
        ("accuracy", "accuracy", {}, None),
        ("panel", "pkg.judges:Panel", {"strict": True}, 300.0),
    ]
    assert [(c.name, c.reference, c.timeout_s) for c in choices.benchmarks(chosen)] == [
        ("benchmark", "benchmark", None),
        ("energy", "pkg.bench:Energy", 3600.0),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[rnu]\nseed = 1", "run.toml:1: unknown section 'rnu'. Did you mean 'run'?"),
        ("seed = 1", "run.toml:1: unknown key 'seed'."),
        ("[run]\nsede = 1", "run.toml:2: unknown key 'sede' in [run]. Did you mean 'seed'?"),
        ("[run]\nseed = 'x'", "run.toml:2: run.seed should be a whole number, not 'x'."),
        ("[run]\nseed = -1", "run.toml:2: run.seed should be greater than or equal to 0"),
        ("[run]\nseed = true", "run.toml:2: run.seed"),
        ("[run]\nlanes = 0", "run.toml:2: run.lanes"),
        ("[run]\npool = 'raay'", "run.toml:2: run.pool must be \"ray\" or \"inline\", not 'raay'. Did you mean 'ray'?"),
        ("[run]\nsandbox = false", 'run.sandbox must be "auto", "bubblewrap", "landlock" or "none", not False.'),
        ("[run]\nmutators = 'tune'", "run.toml:2: run.mutators should be a list, not 'tune'."),
        ("[run]\nmutators = []", "run.toml:2: run.mutators should not be empty."),
        ("[run]\nmutators = ['tune', 3]", "run.toml:2: run.mutators.#2 should be a string, not 3."),
        ("[run]\nmutators = ['tnue']", "run.toml:2: no mutator is called 'tnue'. Did you mean 'tune'?"),
        ("[run]\nmutators = ['tune', 'tune']", "two mutators are called 'tune'"),
        ("[run]\nmutators = ['a:Move', 'b:Move']", "two mutators are called 'Move'"),
        ("[run]\nouter_loop = 'evlove'", "run.toml:2: no policy is called 'evlove'. Did you mean 'evolve'?"),
        ("[run]\nobjectives = ['speed']", "NAME:max or NAME:min, which 'speed' is not"),
        ("[run]\nexp_name = 'a/b'", "run.toml:2: run.exp_name"),
        ("[run]\ntarget = 'x'\nref = 'y'", "run.toml:3: `target` is given already"),
        ("[run]\nref = 'y'", "run.toml:2: acc_checker, bench must be given too"),
        ("[run]\nrun = 1979-05-27", "unknown key 'run'"),
        ("run = 3", "run.toml:1: run should be a table"),
        ("[limits]\nbudget_time_s = 'long'", "run.toml:2: limits.budget_time_s should be a duration such as 90"),
        ("[limits]\nbudget_time_s = 0", "run.toml:2: limits.budget_time_s should be greater than 0"),
        ("[limits]\nbudget_usd = inf", "run.toml:2: limits.budget_usd"),
        ("[limits]\nmax_candidates = 1.5", "run.toml:2: limits.max_candidates should be a whole number"),
        ("[limits]\nmax_candidate = 1", "Did you mean 'max_candidates'?"),
        ("[policy]\nwhen = 1979-05-27", "run.toml:2: policy.when should be text, a number"),
        ("[policy]\nwhen = [{a = 1979-05-27}]", "run.toml:2: policy.when should be text, a number"),
        ("[mutator.tnue]\nrate = 1", "run.toml:1: no mutator is called 'tnue'. Did you mean 'tune'?"),
        ("[mutator]\ntune = 3", "run.toml:2: mutator.tune should be a table"),
        ("[mutator.x]\nuse = 3", "run.toml:2: mutator.x.use should be a string"),
        ("[judge.audit]\nstrict = true", "run.toml:1: no judge is called 'audit'."),
        ("[judge.audit]\nuse = 'a:B'\ntimeout_s = 'x'", "run.toml:3: judge.audit.timeout_s"),
        ("[judge.audit]\nuse = 'a:B'\nwhen = 1979-05-27", "run.toml:3: judge.audit.when"),
        ("[roles.jugde]\nslots = 1", "run.toml:1: unknown key 'jugde' in [roles]. Did you mean 'judge'?"),
        ("[roles.judge]\nslot = 1", "run.toml:2: unknown key 'slot' in [roles.judge]. Did you mean 'slots'?"),
        ("[roles.benchmark]\ngpus = 0.5", "run.toml:2: roles.benchmark.gpus should be whole"),
        ("[roles.benchmark.resources]\nquiet = 'x'", "run.toml:2: roles.benchmark.resources.quiet should be a number"),
        ("[run\nseed = 1", "run.toml:1:5: not valid TOML"),
        ("[run]\nseed = 1\nseed = 2", "run.toml:3:"),
    ],
)
def test_bad_files(folder: Path, text: str, expected: str) -> None:
    assert expected in refused(written_to(folder, text))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("rnu.seed=1", "--set: unknown section 'rnu'. Did you mean 'run'?"),
        ("run.sede=1", "--set: unknown key 'sede' in [run]. Did you mean 'seed'?"),
        ("run.seed=x", "--set: run.seed should be a whole number, not 'x'."),
        ("run=1", "--set: run should be a table, not 1."),
        ("run.seed.deeper=1", "--set: run.seed should be a whole number"),
        ("limits.budget_time_s=1 fortnight", "--set: limits.budget_time_s"),
        ("run.seed=1\nlanes=2", "--set: run.seed should be a whole number, not '1\\nlanes=2'."),
        ("run.seed", "--set 'run.seed': write --set section.key=value"),
        ("=1", "write --set section.key=value"),
        ("run..seed=1", "write --set section.key=value"),
    ],
)
def test_bad_overrides(folder: Path, override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(overrides=[set_override(override)], known=KNOWN)
    assert expected in str(caught.value)


def test_bad_flags_are_named(folder: Path) -> None:
    assert refused(None, flag_override("--lanes", 0)).startswith("--lanes: run.lanes should be greater")
    assert refused(None, flag_override("--outer-loop", "chian")).startswith(
        "--outer-loop: no policy is called 'chian'."
    )


def test_an_override_below_a_value_of_the_file(folder: Path) -> None:
    file = written_to(folder, "[run]\nseed = 1\n")
    assert refused(file, set_override("run.seed.x=1")) == "--set: run.seed is not a table."


def test_all_problems_come_at_once(folder: Path) -> None:
    file = written_to(folder, "[run]\nlanes = 0\n[limits]\nmax_candidate = 3\n")
    message = refused(file, set_override("run.pool=x"))
    assert message.startswith("the configuration has 3 problems:\n")
    for phrase in ("run.toml:2: run.lanes", "run.toml:4: unknown key", "--set: run.pool"):
        assert phrase in message


def test_a_missing_file(folder: Path) -> None:
    assert refused(folder / "none.toml") == "none.toml: cannot be read: No such file or directory."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ('"3"', "3"),
        ("[1, 2]", [1, 2]),
        ("{a = 1}", {"a": 1}),
        ("word", "word"),
        ("10m", "10m"),
        ("two words", "two words"),
        ("", ""),
        ("path/to/file.py:Class", "path/to/file.py:Class"),
        ("a=b", "a=b"),
    ],
)
def test_values_of_set(text: str, value: object) -> None:
    assert set_override(f"policy.x={text}") == Override(("policy", "x"), value, "--set")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("1d", 86_400),
    ],
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "m", "10x", "-5s", "1e3", "5 m x", "nan", "inf", "1h-2m", "٣s", "9" * 50])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


def test_drain_may_be_zero(folder: Path) -> None:
    assert configure(overrides=[set_override("limits.drain_s=0")]).settings.limits.drain_s == 0.0


def test_every_flag_stands_for_a_key() -> None:
    for flag, path in FLAGS.items():
        section, key = path.split(".")
        known = Settings.model_fields[section].annotation
        assert section == "policy" or key in getattr(known, "model_fields", {}), flag


STORIES = sorted(path for path in (ROOT / "configs").glob("*.toml") if path.name != "prices.toml")


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.name)
def test_the_shipped_configurations_are_accepted(path: Path) -> None:
    settings = configure(path, known=known_names()).settings
    assert settings.roles.benchmark.slots


def test_the_documentation_names_every_key() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for section, values in Settings().tables().items():
        for key in values:
            assert f"`{key}`" in text, f"{section}: {key}"
    for flag in FLAGS:
        assert f"`{flag}`" in text, flag


def test_the_documented_target_is_accepted(tmp_path: Path) -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for name in ("objectives.toml", "target.toml"):
        (tmp_path / name).write_text(text.split(f"```toml\n# {name}\n")[1].split("```")[0])
    (tmp_path / "OBJECTIVE.md").write_text("x")
    for place in ("reference/x", "accuracy_checker/checker.py", "benchmark/benchmark.py", "baselines/library/x"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("")
    target = load_target(tmp_path)
    assert (target.name, target.benchmark.timeout_s) == ("my-target", 300.0)
    assert [(o.name, o.noise, o.primary) for o in target.objectives] == [
        ("throughput", 0.02, True),
        ("latency_ms", 0.03, False),
    ]


def again(folder: Path, configuration: Configuration) -> Settings:
    return configure(written_to(folder, effective_configuration(configuration), "exp_env/run/run.toml")).settings


def test_the_way_back(folder: Path) -> None:
    file = written_to(
        folder,
        """\
[run]
target = "t"
objectives = ["a:max", "b.c:min"]
mutators = ["tune", "m.py:Move"]
[limits]
budget_time_s = "90s"
budget_usd = 0.1
[policy]
words = ["a \\" quote", "line\\nbreak", "\\u007f"]
deep = { "odd key" = [1, 2.5, true, { x = {} }], empty = {} }
big = 12345678901234567890
small = 1e-300
endless = inf
[mutator."odd name"]
use = "a:B"
[judge.audit]
use = "judges.py:Audit"
[roles.judge]
cpus = 0.5
resources = { "odd name" = 2 }
""",
    )
    configuration = configure(file, known=KNOWN)
    assert again(folder, configuration) == configuration.settings


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
OPTIONS = st.recursive(
    st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(TEXT, OPTIONS, max_size=4))
def test_values_are_written_as_toml(values: dict[str, Any]) -> None:
    text = "\n".join(f"{written_key(key)} = {written(value)}" for key, value in values.items())
    assert tomllib.loads(text) == values


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(TEXT, OPTIONS, max_size=3),
    st.dictionaries(TEXT.filter(lambda name: name not in {"use", "timeout_s"}), OPTIONS, max_size=3),
    st.floats(1e-3, 1e9),
)
def test_every_configuration_finds_the_way_back(
    folder: Path, policy: dict[str, Any], options: dict[str, Any], budget_s: float
) -> None:
    overrides = [
        *(Override(("policy", key), value, "--set") for key, value in policy.items()),
        *(Override(("mutator", "a b", key), value, "--set") for key, value in options.items()),
        Override(("mutator", "a b", "use"), "x:Y", "--set"),
        Override(("limits", "budget_time_s"), budget_s, "--budget-time"),
    ]
    configuration = configure(overrides=overrides)
    assert configuration.settings.policy == policy
    assert configuration.settings.mutator["a b"].options == options
    assert again(folder, configuration) == configuration.settings


SAID = st.sampled_from(
    ["1", "-3", "1e400", "nan", "true", '"x"', '"10m"', "[]", '["tune"]', "{}", "{x = 1}", "1979-05-27"]
)
NAMES = st.sampled_from(
    ["run", "limits", "policy", "mutator", "judge", "roles", "seed", "use", "slots", "mutators", "x"]
)
LINES = st.one_of(
    st.tuples(NAMES, SAID).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    NAMES.map(lambda key: f"[{key}]"),
    NAMES.map(lambda key: f"[[{key}]]"),
    st.tuples(NAMES, NAMES).map(lambda pair: f"[{pair[0]}.{pair[1]}]"),
    st.text(max_size=12),
)
SETS = st.tuples(st.lists(NAMES, min_size=1, max_size=3), SAID | st.text(max_size=6)).map(
    lambda pair: f"{'.'.join(pair[0])}={pair[1]}"
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=8).map("\n".join), st.lists(SETS | st.text(max_size=12), max_size=2))
def test_nothing_makes_anything_but_a_configuration_or_an_error(folder: Path, text: str, sets: list[str]) -> None:
    file = folder / "any.toml"
    file.write_text(text, encoding="utf-8", errors="replace")
    with suppress(ConfigError):
        configuration = configure(file, [set_override(said) for said in sets], known=KNOWN)
        assert again(folder, configuration) == configuration.settings
