"""The loops' own flags: whose they are, what help shows of them, and where they lead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from toys import make_target

from raysearch.cli.commands import root
from raysearch.cli.options import configuration_of, overrides_of
from raysearch.cli.sections import SECTIONS, named_loop
from raysearch.config.layers import FLAGS, configure, flag_override
from raysearch.config.targets import load_target
from raysearch.errors import ConfigError, UserError
from raysearch.loads import LoadLevel
from raysearch.plugins import find, load
from raysearch.run.loops import LOOP_FLAGS, belongs, options_of, owners_of, require_own
from raysearch.run.start import resolve, target_of

MINE = '''
class Base:
    """What all have.

    Options
        patience: how long to wait
            for news: a while.
    """

    def __init__(self, *, patience: float = 1.5) -> None: ...


class Mine(Base):
    """A policy of one's own.

    More words.

    Options
        judge_every: rounds between reviews.
        left, right: hands; ``both``: as well.

    No option: this.
    """

    def __init__(
        self, *, judge_every: int, left: bool = True, right: str = "", patience: float = 2.0, mutators: tuple = ()
    ) -> None: ...

    def ask(self, view, slots, rng): return []

    def tell(self, fact): ...

    def best(self, view): return []


class Rounds(Mine):
    def __init__(self, *, max_rounds: int = 7, load_levels: tuple = (), mutators: tuple[str, ...] = ()) -> None: ...


class Anything(Mine):
    def __init__(self, **options) -> None: ...
'''
Show = Callable[..., Result]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(root, list(arguments), terminal_width=80)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    """What a configuration made of these flags says against its loop."""
    with root.commands["run"].make_context("run", list(arguments), resilient_parsing=False) as ctx:  # type: ignore[attr-defined]
        flags = dict(ctx.params)
    configuration = configure(overrides=overrides_of(flags))
    loop = configuration.settings.run.outer_loop
    with pytest.raises(ConfigError) as caught:
        require_own(configuration, loop.rpartition(":")[2], find("policies", loop))
    return str(caught.value)


def test_options_are_read_from_constructor_and_docstrings(mine: Path) -> None:
    options = options_of(find("policies", f"{mine}:Mine"))
    assert [(o.name, o.told, o.flag) for o in options] == [
        ("judge_every", "rounds between reviews.", "--judge-every"),
        ("left", "hands; ``both``: as well.", ""),
        ("right", "hands; ``both``: as well.", ""),
        ("patience", "how long to wait for news: a while.", ""),
    ]


@pytest.mark.parametrize(
    ("loop", "flag", "whose"),
    [
        ("evolve", "--frontier-bias", True),
        ("evolve", "--max-generations", True),
        ("evolve", "--max-rounds", False),
        ("agent", "--max-rounds", True),
        ("agent", "--max-generations", False),
        ("agent", "--children-per-generation", False),
        ("agent", "--frontier-bias", False),
        ("agent", "--max-retries-per-round", True),
        ("agent", "--judge-every", True),
        ("agent", "--official-eval-every", True),
        ("agent", "--inner-loop", True),
        ("agent", "--no-skills", True),
        ("plain", "--judge-every", False),
        ("plain", "--inner-loop", False),
        ("evolve", "--no-skills", False),
        ("chain", "--max-generations", True),
        ("chain", "--judge-every", False),
    ],
)
def test_a_flag_belongs_to_loops_with_its_option(loop: str, flag: str, whose: bool) -> None:
    assert belongs(flag, find("policies", loop)) is whose
    assert (loop in owners_of(flag)) is whose


def test_a_constructor_that_takes_anything_takes_every_flag(mine: Path) -> None:
    loop = find("policies", f"{mine}:Anything")
    assert all(belongs(flag, loop) for flag in LOOP_FLAGS)


def test_a_flag_of_another_loop_is_refused_with_the_one_that_it_belongs_to(mine: Path) -> None:
    message = refused("x", "--outer-loop", "agent", "--frontier-bias", "0.2")
    assert message.startswith(
        "--frontier-bias belongs to the loops 'evolve' and 'portfolio', and the loop of this run is 'agent'"
    )
    assert "raysearch run --outer-loop agent --help" in message
    assert "'agent', 'plain' and 'portfolio'" in refused("x", "--max-rounds", "3")
    assert "the loop of this run is 'Rounds'" in refused("--outer-loop", f"{mine}:Rounds", "--k-top-inspirations", "1")


def test_a_limit_of_a_file_is_refused_with_its_line(mine: Path) -> None:
    file = mine.with_name("run.toml")
    file.write_text("[limits]\nmax_rounds = 3\n")
    says = r"^run.toml:2: limits.max_rounds belongs to the loops 'agent', 'plain' and 'portfolio'"
    with pytest.raises(ConfigError, match=says):
        require_own(configure(file), "evolve", find("policies", "evolve"))


def loop_of(mine: Path, **given: object) -> Any:
    """The loop of a run that is configured so."""
    target = load_target(make_target(mine.with_name("target")))
    flags = {"--mutator": ("tune",), "--seed": 1} | {f"--{name.replace('_', '-')}": v for name, v in given.items()}
    search = resolve(configure(overrides=[flag_override(flag, value) for flag, value in flags.items()]), target)
    return load("policies", search.policy.reference, search.policy.options, offers=search.offers)


def test_rounds_without_gates_are_refused(mine: Path) -> None:
    with pytest.raises(ConfigError, match=r"judge_every can only be 1; it is 3: every program must pass every gate"):
        loop_of(mine, outer_loop="agent", judge_every=3)


def test_flags_of_the_agent_loop_reach_it(mine: Path) -> None:
    loop = loop_of(mine, outer_loop="agent", max_rounds=7, inner_loop="single-agent", no_skills=True, judge_every=1)
    assert (loop.max_rounds, loop.inner_loop, loop.skills) == (7, "single-agent", False)
    assert loop_of(mine.with_name("x"), outer_loop="agent").max_rounds == 24


def test_flags_lead_to_options_of_the_policy(mine: Path) -> None:
    given: dict[str, object] = {
        "--selection-temperature": 0.1,
        "--k-top-inspirations": 4,
        "--k-random-inspirations": 0,
        "--bootstrap-max-attempts": 9,
        "--no-skills": True,
        "--inner-loop": "single-agent",
    }
    policy = configure(overrides=[flag_override(flag, value) for flag, value in given.items()]).settings.policy
    assert policy == {
        "temperature": 0.1,
        "k_top": 4,
        "k_random": 0,
        "bootstrap_max_attempts": 9,
        "skills": False,
        "inner_loop": "single-agent",
    }


def test_help_shows_common_flags_and_where_a_loops_are(mine: Path) -> None:
    page = shown("run", "--help")
    for title in ("The target", "The search", "Coding agents", "Where it works", "The run"):
        assert f"{title}:" in page
    assert "Each loop (agent, best-of-n, chain, evolve, plain" in page
    assert "run --outer-loop KIND --help" in page
    assert not [flag for flag in LOOP_FLAGS if f"  {flag} " in page]
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.parametrize("order", [("--outer-loop", "evolve", "--help"), ("--help", "--outer-loop=evolve")])
def test_help_shows_the_flags_of_the_loop_that_is_named(mine: Path, order: tuple[str, ...]) -> None:
    page = shown("run", *order)
    common, own = page.split("The loop evolve:\n")
    assert "--exp-name" in common
    assert "--frontier-bias" in own
    assert "[default: 0.5]" in own
    assert "--judge-every" not in page
    assert "Options of evolve without a flag (--set policy.NAME=VALUE):" in own
    assert "islands" in own
    assert "`" not in own
    assert max(map(len, page.splitlines())) <= 80


def test_help_shows_the_options_of_ones_own_policy(mine: Path) -> None:
    page = shown("run", "--outer-loop", f"{mine}:Mine", "--help")
    own = " ".join(page.split("The loop Mine:\n")[1].split())
    assert "--judge-every INTEGER Rounds from one review to the next. [required]" in own
    assert "left Hands; both: as well. [default: true]" in own
    assert "patience How long to wait for news: a while. [default: 2.0]" in own


def test_help_of_a_loop_that_there_is_not_names_the_nearest(mine: Path) -> None:
    error = CliRunner().invoke(root, ["run", "--outer-loop", "evolv", "--help"]).exception
    assert isinstance(error, UserError)
    assert "Did you mean 'evolve'?" in str(error)


def test_the_loop_that_is_named_last_counts() -> None:
    assert named_loop(["x", "--outer-loop", "agent", "--outer-loop=plain"]) == "plain"
    assert named_loop(["--outer-loop"]) == ""


@pytest.mark.parametrize("verb", ["run", "rehearse"])
def test_every_flag_has_a_section(verb: str) -> None:
    sorted_in = {name for names in SECTIONS.values() for name in names.split()}
    for param in root.commands[verb].params:
        flags = set(param.opts)
        if param.param_type_name == "option" and not flags & set(LOOP_FLAGS) and not getattr(param, "hidden", False):
            assert param.name in sorted_in | {"as_json"}, param.name


def test_choices_of_flags_are_those_of_the_configuration() -> None:
    from raysearch.cli.commands import root
    from raysearch.kinds import Backend, Modality

    choices = {param.name: param.type for param in root.commands["run"].params}
    for name, literal in (("modality", Modality), ("backend", Backend)):
        assert set(choices[name].choices) == set(literal.__args__) - {""}


def test_docker_is_answered_with_what_to_do_instead(mine: Path) -> None:
    error = CliRunner().invoke(root, ["run", "x", "--docker"]).exception
    assert isinstance(error, UserError)
    assert "start raysearch within it: docker run" in str(error)


def test_constraints_are_part_of_the_objective_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root_ = make_target(tmp_path / "target")
    plain = load_target(root_)
    rules = ("No threads.", "Two\r\nlines. ")
    configuration = configuration_of(str(root_), None, {"constraint": rules})
    told = target_of(configuration.settings)
    assert told.objective == plain.objective.rstrip() + (
        "\n\n# Constraints\n\nBeside what is said above, every program of this run must keep to this:\n\n"
        "- No threads.\n- Two\n  lines.\n"
    )
    assert (told.digest != plain.digest, told.checker.digest) == (True, plain.checker.digest)
    with pytest.raises(ConfigError, match=r"--constraint: run.constraints should hold texts"):
        configuration_of(str(root_), None, {"constraint": (" ",)})


def test_load_levels_reach_search_and_policy(mine: Path) -> None:
    root_ = make_target(mine.with_name("target"))
    file = mine.with_name("levels.toml")
    file.write_text(
        f'[run]\nouter_loop = "{mine}:Rounds"\nmutators = ["tune"]\nseed = 1\n'
        '[[perf_eval.load_levels]]\nrate = 2\nduration = "1m"\n[[perf_eval.load_levels]]\nrate = 0.5\nmax_tokens = 9\n'
    )
    search = resolve(configure(file), load_target(root_))
    assert search.load_levels == (LoadLevel(2.0, 60.0, 128), LoadLevel(0.5, 20.0, 9))
    assert search.offers["load_levels"] == search.load_levels
    assert search.consultants["performance_evaluator"].options["load_levels"] == search.load_levels
    usual = configure(overrides=[flag_override("--seed", 1), flag_override("--mutator", ("tune",))])
    assert [level.rate_per_s for level in resolve(usual, load_target(root_)).load_levels] == [1.0, 4.0, 8.0]


def test_every_loop_flag_stands_for_a_key() -> None:
    assert set(LOOP_FLAGS) <= set(FLAGS)
