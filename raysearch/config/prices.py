"""What models cost, as tables of TOML: a row a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from raysearch.config.problems import sentences, together
from raysearch.config.toml import Keys, read
from raysearch.config.values import Amount, Count, Table
from raysearch.errors import ConfigError


class Rates(Table):
    """US dollars per million tokens."""

    input: Amount
    output: Amount
    """Thinking included."""
    cached: Amount | None = None
    """Input from the provider's cache; as ``input`` if not given."""
    written: Amount | None = None
    """Input that is written to the cache; as ``input`` if not given."""


class LongRates(Rates):
    """The rates of requests with more than ``above`` tokens of input, for all of their tokens."""

    above: Count


class PriceRow(Rates):
    """``[prices.NAME]``: what the model NAME costs."""

    long: LongRates | None = None
    dated: Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\d)?$")] = ""
    """A day on which the price stood at ``source``."""
    source: str = ""


class PriceFile(Table):
    """A file of prices."""

    prices: dict[str, PriceRow] = Field(default_factory=dict)


def read_prices(path: Path) -> Mapping[str, PriceRow]:
    """The rows of a file. Raises ConfigError, naming every problem with its place."""
    document = read(path, ConfigError)

    def place(keys: Keys) -> str:
        return document.where(keys)

    try:
        return PriceFile.model_validate(document.data).prices
    except ValidationError as error:
        raise ConfigError(together("the prices", sentences(error, PriceFile, place))) from None
