"""A test that cannot fail is worth nothing: each bug planted here must be noticed by the simulation.

The fold's own checks are switched off, so that what notices is the reader outside (`raysearch.testing.audit` and
the checks around it), and it must notice for the right reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import planted_in_attempts  # noqa: F401 # plants as it is imported
import planted_in_runs  # noqa: F401
import pytest
from planting import BUGS, Setting

from raysearch.testing.simulation import simulate

SEEDS = range(60)


def problems_of(setting: Setting) -> Iterator[tuple[int, list[str]]]:
    for seed in SEEDS:
        yield seed, simulate(seed, setting.policy, setting.options, parts=setting.parts).problems


@pytest.mark.parametrize("name", BUGS)
def test_planted_bug_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant, noticed_as = BUGS[name]
    monkeypatch.setattr("raysearch.state.require", lambda holds, message: None)
    setting = plant(monkeypatch, tmp_path)
    seen: list[str] = []
    for _, problems in problems_of(setting):
        if any(noticed_as in problem for problem in problems):
            return
        seen += problems
    pytest.fail(f"nobody noticed within {len(SEEDS)} seeds; other problems: {seen[:5]}")


@pytest.mark.parametrize("policy", ["evolve", "agent"])
def test_without_bugs_the_same_seeds_are_sound(policy: str) -> None:
    for seed in SEEDS:
        simulate(seed, policy).check()


def test_there_are_at_least_twelve() -> None:
    assert len(BUGS) >= 12
