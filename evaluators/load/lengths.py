"""How long prompts and answers are: distributions over whole numbers, with their bounds stated."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Protocol

from evaluators.load.given import not_negative, positive, whole
from raysearch.errors import TargetError


class Length(Protocol):
    """Draws whole numbers."""

    def draw(self, rng: random.Random) -> int: ...
    @property
    def least(self) -> int:
        """The smallest number that it draws."""
        ...

    def describe(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always ``count``."""

    count: int

    def __post_init__(self) -> None:
        whole("count", self.count)

    @property
    def least(self) -> int:
        return self.count

    def draw(self, rng: random.Random) -> int:  # noqa: ARG002
        return self.count

    def describe(self) -> str:
        return f"{self.count}"


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every whole number from ``low`` to ``high``, both included, with equal chance."""

    low: int
    high: int

    def __post_init__(self) -> None:
        whole("low", self.low)
        if whole("high", self.high) < self.low:
            raise TargetError(f"high is {self.high}, below low, {self.low}")

    @property
    def least(self) -> int:
        return self.low

    def draw(self, rng: random.Random) -> int:
        return rng.randint(self.low, self.high)

    def describe(self) -> str:
        return f"uniform {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Log-normal with this ``median`` and ``sigma`` (of the logarithm), rounded; beyond the bounds, the bound."""

    median: float
    sigma: float
    low: int
    high: int

    def __post_init__(self) -> None:
        positive("median", self.median)
        not_negative("sigma", self.sigma)
        whole("low", self.low)
        if whole("high", self.high) < self.low:
            raise TargetError(f"high is {self.high}, below low, {self.low}")

    @property
    def least(self) -> int:
        return self.low

    def draw(self, rng: random.Random) -> int:
        return min(self.high, max(self.low, round(rng.lognormvariate(math.log(self.median), self.sigma))))

    def describe(self) -> str:
        return f"log-normal, median {self.median:g}, sigma {self.sigma:g}, {self.low} to {self.high}"


def as_length(length: Length | int) -> Length:
    """A plain number is `Fixed`."""
    return Fixed(length) if isinstance(length, int) else length
