"""What a call of a model costs, from a table that says where its prices come from and when they stood there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from raysearch.config.prices import PriceRow, Rates, read_prices
from raysearch.errors import ConfigError, nearest
from raysearch.types import Usage

Prices = Mapping[str, PriceRow]
"""A model's name to what it costs."""
_SUFFIX = re.compile(r"(\[[^\]]*\]|[-@]\d{8}|[-@]\d{4}-\d\d-\d\d|-latest)$")


@cache
def shipped() -> Prices:
    """The list prices that come with raysearch (``configs/prices.toml``)."""
    return read_prices(Path(__file__).with_name("prices.toml"))


def prices_of(rows: Mapping[str, Mapping[str, Any]]) -> Prices:
    """Rows that came as plain data. Raises ValueError (pydantic's)."""
    return {name: PriceRow.model_validate(dict(row)) for name, row in rows.items()}


def row_of(model: str, prices: Prices | None = None) -> PriceRow | None:
    """The row of ``model`` in ``prices`` (`shipped`): of its whole name, or without provider, date and suffix."""
    known = shipped() if prices is None else prices
    name = model.strip()
    while name not in known:
        bare = _SUFFIX.sub("", name) if _SUFFIX.search(name) else name.partition("/")[2]
        if not bare:
            return None
        name = bare
    return known[name]


def price(model: str, usage: Usage, prices: Prices | None = None, *, tokens_written: int = 0) -> float | None:
    """What ``usage`` of ``model`` costs in US dollars; None if nobody knows (`row_of`).

    ``tokens_written`` of the input went to the provider's cache. Where a price depends on a prompt's length, that is
    taken for the average of the usage's turns; so price each request by itself where you can.
    """
    row = row_of(model, prices)
    if row is None:
        return None
    long = row.long is not None and usage.tokens_in / max(1, usage.turns) > row.long.above
    rates: Rates = row.long if long and row.long is not None else row
    cached = min(usage.tokens_cached, usage.tokens_in)
    written = min(tokens_written, usage.tokens_in - cached)
    parts = (
        (cached, rates.cached),
        (written, rates.written),
        (usage.tokens_in - cached - written, rates.input),
        (usage.tokens_out, rates.output),
    )
    return sum(tokens * (rates.input if rate is None else rate) for tokens, rate in parts) / 1e6


def priced(usage: Usage, own: Prices) -> Usage:
    """``usage`` with its cost: by a price of the user's ``own``, else as it was reported, else by list price."""
    mine = price(usage.model, usage, own)
    if mine is None and not usage.cost_usd:
        mine = price(usage.model, usage)
    return usage if mine is None else replace(usage, cost_usd=mine)


def require_price(model: str, own: Prices, where: str) -> None:
    """Raise ConfigError if nobody knows what ``model`` costs; ``where`` says who wants it."""
    if row_of(model, own) is None and row_of(model) is None:
        raise ConfigError(
            f"{where}: nothing says what the model {model!r} costs, so no budget could hold."
            f"{nearest(model, {*shipped(), *own})} Give its price, as in"
            f' [prices."{model}"] input = 1.0, output = 5.0 (dollars per million tokens), or say --no-price.'
        )
