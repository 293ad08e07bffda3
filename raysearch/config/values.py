"""Kinds of value that configuration and target files share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


class Table(BaseModel):
    """A table of a TOML file: closed (an unknown key is an error), typed strictly, and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def seconds(value: Any) -> Any:
    """Seconds from ``90``, ``"90s"``, ``"10m"`` or ``"1h30m"``; what is not text passes unchanged.

    Raises ValueError for other text.
    """
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "")
    if len(text) <= 40:
        if _NUMBER.fullmatch(text):
            return float(text)
        pieces = _PIECE.findall(text)
        if pieces and "".join(number + unit for number, unit in pieces) == text:
            return sum(float(number) * _UNIT_S[unit] for number, unit in pieces)
    raise ValueError("should be a duration such as 90, '90s', '10m' or '1h30m'")


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=1e9, allow_inf_nan=False)]
"""A duration above zero; text with units is understood."""
Patience = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=1e9, allow_inf_nan=False)]
"""A duration that may be zero."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
"""How much of a resource: zero or more."""
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
"""A list of strings."""
