"""Where bugs are planted: each is a function that plants one, with the words by which it must be noticed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from raysearch.engine import Engine
from raysearch.protocols import Policy
from raysearch.testing.simulation import Parts


@dataclass(frozen=True)
class Setting:
    """What to simulate with."""

    parts: Parts = Parts()
    policy: str | Callable[[], Policy] = "evolve"
    options: Mapping[str, object] = field(default_factory=dict)


Plant = Callable[[pytest.MonkeyPatch, Path], Setting]
BUGS: dict[str, tuple[Plant, str]] = {}


def bug(noticed_as: str) -> Callable[[Plant], Plant]:
    """Register a planted bug with the words by which it must be noticed."""

    def register(plant: Plant) -> Plant:
        BUGS[plant.__name__] = (plant, noticed_as)
        return plant

    return register


def with_engine(engine: type[Engine]) -> Setting:
    return Setting(Parts(engine=engine))
