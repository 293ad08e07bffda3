"""Checks of the options that a policy is built with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from raysearch.errors import ConfigError

WHOLE_MAX = 1_000_000_000


def check_whole(policy: str, option: str, value: object, least: int, most: int = WHOLE_MAX) -> None:
    """Raise ConfigError unless ``value`` is a whole number from ``least`` to ``most``."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        large = isinstance(value, int) and value > most
        span = f"from {least} to {most}" if large else f"{least} or more"
        raise ConfigError(f"policy {policy}: {option} must be a whole number, {span}; it is {value!r}.")


def check_number(policy: str, option: str, value: object, least: float, most: float = math.inf) -> None:
    """Raise ConfigError unless ``value`` is a finite number from ``least`` to ``most``."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and least <= number <= most):
        span = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
        raise ConfigError(f"policy {policy}: {option} must be a number, {span}; it is {value!r}.")


def check_flag(policy: str, option: str, value: object) -> None:
    """Raise ConfigError unless ``value`` is true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"policy {policy}: {option} must be true or false; it is {value!r}.")


def check_choice(policy: str, option: str, value: object, choices: Sequence[str]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(f"policy {policy}: {option} must be {' or '.join(map(repr, choices))}; it is {value!r}.")


def check_names(policy: str, option: str, names: object, least: int = 1) -> None:
    """Raise ConfigError unless ``names`` is a list of at least so many (0 or 1) names."""
    listed: Sequence[object] | None = names if isinstance(names, list | tuple) else None
    if listed is None or len(listed) < least or not all(isinstance(name, str) and name for name in listed):
        what = 'at least one name, such as ["default"]' if least else "names"
        raise ConfigError(f"policy {policy}: {option} must be a list of {what}; it is {names!r}.")


def check_values(policy: str, option: str, values: object) -> None:
    """Raise ConfigError unless ``values`` is a table of finite numbers by name."""
    table = values if isinstance(values, Mapping) else {"": None}
    for name, value in table.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (isinstance(name, str) and name and number):
            raise ConfigError(
                f"policy {policy}: {option} must be a table of numbers, such as {{ score = 42 }}; it is {values!r}."
            )
